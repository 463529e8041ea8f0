"""Statements of every call, whose SQL is made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Connection, CursorResult, Dialect
from sqlalchemy.sql.expression import UpdateBase
from sqlalchemy.sql.selectable import Select

Statement = UpdateBase | Select[Any]

Processor = Callable[[Any], Any]


class _Written(NamedTuple):
    """A statement in the words of one dialect."""

    sql: str
    names: tuple[str, ...]
    """Its parameters, in order."""
    fixed: Mapping[str, Any]
    """Those that have a value of their own."""
    processors: Mapping[str, Processor]
    """How values are handed to the driver that it does not take as they are."""
    is_positional: bool


class Prepared:
    """A statement for parameters by name, whose results are whole numbers and texts.

    To find what it compiled before, SQLAlchemy compares all parts of a statement at
    each execution; that takes longer than the database needs to do what they say.

    :param build: makes the statement for a dialect.
    """

    def __init__(self, build: Callable[[Dialect], Statement]) -> None:
        self._build = build
        self._written: WeakKeyDictionary[Dialect, _Written] = WeakKeyDictionary()

    def execute(
        self, connection: Connection, values: Mapping[str, Any]
    ) -> CursorResult[Any]:
        """Execute it.

        :raises SQLAlchemyError: as ``connection.execute`` does.
        """
        written = self._written.get(connection.dialect)
        if written is None:
            written = _write(self._build(connection.dialect), connection.dialect)
            self._written[connection.dialect] = written
        found = {**written.fixed, **values}
        for name, process in written.processors.items():
            found[name] = process(found[name])
        if written.is_positional:
            ordered = tuple([found[name] for name in written.names])
            return connection.exec_driver_sql(written.sql, ordered)
        return connection.exec_driver_sql(written.sql, found)


def _write(statement: Statement, dialect: Dialect) -> _Written:
    compiled = statement.compile(dialect=dialect)
    names = compiled.positiontup or list(compiled.binds)
    processors = {name: _processor(compiled.binds[name], dialect) for name in names}
    return _Written(
        sql=str(compiled),
        names=tuple(names),
        fixed={
            name: compiled.binds[name].value
            for name in names
            if not compiled.binds[name].required
        },
        processors={name: one for name, one in processors.items() if one},
        is_positional=compiled.positiontup is not None,
    )


def _processor(bind: BindParameter[Any], dialect: Dialect) -> Processor | None:
    return bind.type.dialect_impl(dialect).bind_processor(dialect)
