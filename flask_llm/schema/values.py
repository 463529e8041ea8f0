"""From JSON values to what Python types hold; the values fit the types' schemas."""

from __future__ import annotations

import enum
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask_llm.schema.fields import Field, fields_of, is_record
from flask_llm.schema.types import DICTS, LISTS, UNIONS, Writer, bare
from flask_llm.schema.validate import problems

_SCALARS: dict[Any, Callable[[Any], Any]] = {
    int: int,
    float: float,
    Decimal: lambda value: Decimal(str(value)),
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    UUID: UUID,
}

_SETS = {set: set, frozenset: frozenset, abc.Set: frozenset}


def build(hint: Any, value: Any) -> Any:
    """Make what a type holds of a JSON value that fits the type's schema.

    :raises ValueError: where the type itself does not take it: a date that is none, or
        a dataclass that checks its values.
    """
    hint = bare(hint)
    return _plain(hint, value) if isinstance(hint, type) else _generic(hint, value)


def _plain(hint: Any, value: Any) -> Any:
    if hint in _SCALARS:
        return _SCALARS[hint](value)
    if is_record(hint):
        return hint(**build_fields(fields_of(hint), value))
    if issubclass(hint, enum.Enum):
        return hint(_same(value, [member.value for member in hint]))
    return _list(hint, (), value) if isinstance(value, list) else value


def _generic(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return _same(value, list(arguments))
    if origin in UNIONS:
        return build(_member(arguments, value), value)
    if isinstance(value, list):
        return _list(origin, arguments, value)
    if isinstance(value, dict) and origin in DICTS and arguments:
        return {name: build(arguments[1], item) for name, item in value.items()}
    return value


def build_fields(fields: list[Field], values: Mapping[str, Any]) -> dict[str, Any]:
    """Make the keyword arguments that a dataclass or function takes."""
    return {
        field.name: build(field.hint, values[field.name])
        for field in fields
        if field.name in values
    }


def _same(value: Any, choices: list[Any]) -> Any:
    """Return the choice that a value stands for; JSON knows no 1 apart from 1.0."""
    for choice in choices:
        held = choice.value if isinstance(choice, enum.Enum) else choice
        if held == value and isinstance(held, bool) is isinstance(value, bool):
            return choice
    raise ValueError(f"none of {choices!r}")


def _list(origin: Any, arguments: tuple[Any, ...], value: list[Any]) -> Any:
    if origin is tuple:
        many = not arguments or arguments[1:] == (...,)
        hints = [arguments[0] if arguments else Any] * len(value) if many else arguments
        return tuple(build(hint, item) for hint, item in zip(hints, value, strict=True))
    if origin not in LISTS:
        return value
    (item,) = arguments or (Any,)
    return _SETS.get(origin, list)(build(item, each) for each in value)


def _member(members: tuple[Any, ...], value: Any) -> Any:
    """Return the first type of a union whose schema a value fits."""
    if value is None and types.NoneType in members:
        return types.NoneType
    fitting = (member for member in members if not problems(value, _schema(member)))
    return next(fitting, Any)


def _schema(hint: Any) -> dict[str, Any]:
    return Writer().root(hint)
