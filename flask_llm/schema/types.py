"""From Python types to JSON schemas."""

from __future__ import annotations

import enum
import types
import typing
from collections import abc
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask_llm.errors import InvalidRequestError
from flask_llm.schema.fields import Field, about, fields_of, is_record

SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    types.NoneType: {"type": "null"},
    Decimal: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    UUID: {"type": "string", "format": "uuid"},
}

LISTS = {list, set, frozenset, abc.Sequence, abc.Iterable, abc.Collection, abc.Set}
DICTS = {dict, abc.Mapping, abc.MutableMapping}
UNIONS = {typing.Union, types.UnionType}


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of a type.

    :raises InvalidRequestError: where the type has none.
    """
    return Writer().root(hint)


class Writer:
    """Writes schemas; a class that holds itself becomes a definition."""

    def __init__(self) -> None:
        self._open: list[type] = []
        self._named: dict[type, str] = {}
        self._definitions: dict[str, Any] = {}

    def root(self, hint: Any) -> dict[str, Any]:
        """Write a schema that is whole in itself."""
        return self.whole(self.write(hint))

    def whole(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Add the definitions; the root itself is no mere reference to one."""
        if not self._definitions:
            return schema
        name = schema.get("$ref", "").removeprefix("#/$defs/")
        return {**self._definitions.get(name, schema), "$defs": self._definitions}

    def write(self, hint: Any) -> dict[str, Any]:
        """Write the schema of a type."""
        hint = bare(hint)
        if hint is Any or hint is object:
            return {}
        if isinstance(hint, type) and hint in SCALARS:
            return dict(SCALARS[hint])
        if is_record(hint):
            return self._record(hint)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return choice([member.value for member in hint])
        return self._generic(hint)

    def fields(self, fields: list[Field], description: str = "") -> dict[str, Any]:
        """Write the schema of an object with these fields."""
        schema: dict[str, Any] = {"type": "object"}
        if description:
            schema["description"] = description
        schema["properties"] = {field.name: self._field(field) for field in fields}
        schema["required"] = [field.name for field in fields if field.required]
        return schema | {"additionalProperties": False}

    def _field(self, field: Field) -> dict[str, Any]:
        schema = self.write(field.hint)
        description = field.description or said_of(field.hint)
        if description:
            schema = {**schema, "description": description}
        shown = shown_default(field.default)
        return schema if shown is None else {**schema, "default": shown}

    def _record(self, record: type) -> dict[str, Any]:
        if record in self._open:
            self._named.setdefault(record, self._name(record))
        if record in self._named:
            return {"$ref": f"#/$defs/{self._named[record]}"}
        self._open.append(record)
        schema = self.fields(fields_of(record), about(record))
        self._open.pop()
        if record not in self._named:
            return schema
        self._definitions[self._named[record]] = schema
        return {"$ref": f"#/$defs/{self._named[record]}"}

    def _name(self, record: type) -> str:
        taken = record.__name__ in self._named.values()
        return f"{record.__name__}{len(self._named)}" if taken else record.__name__

    def _generic(self, hint: Any) -> dict[str, Any]:
        origin = typing.get_origin(hint) or hint
        arguments = typing.get_args(hint)
        if origin is typing.Literal:
            return choice(list(arguments))
        if origin in UNIONS:
            return {"anyOf": [self.write(member) for member in arguments]}
        if origin in LISTS:
            (item,) = arguments or (Any,)
            return {"type": "array", "items": self.write(item)}
        if origin in DICTS:
            return self._mapping(hint, *arguments)
        if origin is tuple:
            return self._tuple(arguments)
        raise InvalidRequestError(
            f"The type {hint!r} has no JSON schema: use str, int, float, bool, None, "
            "list, dict, tuple, Literal, an Enum, a dataclass or a TypedDict.",
            param="schema",
        )

    def _mapping(self, hint: Any, key: Any = str, value: Any = Any) -> dict[str, Any]:
        if bare(key) is not str:
            raise InvalidRequestError(
                f"The type {hint!r} has no JSON schema: keys are strings.",
                param="schema",
            )
        schema = self.write(value)
        return {"type": "object", "additionalProperties": schema or True}

    def _tuple(self, members: tuple[Any, ...]) -> dict[str, Any]:
        if not members or members[1:] == (...,):
            return {
                "type": "array",
                "items": self.write(members[0] if members else Any),
            }
        size = len(members)
        return {
            "type": "array",
            "prefixItems": [self.write(member) for member in members],
            "items": False,
            "minItems": size,
            "maxItems": size,
        }


def bare(hint: Any) -> Any:
    """Take off what stands around a type: Annotated, NewType, an alias."""
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint = hint.__origin__
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return types.NoneType if hint is None else hint


def said_of(hint: Any) -> str:
    """Return the description in ``Annotated[type, "description"]``."""
    notes = getattr(hint, "__metadata__", ())
    said = (getattr(note, "description", note) for note in notes)
    return next((text for text in said if isinstance(text, str)), "")


def choice(values: list[Any]) -> dict[str, Any]:
    """Write the schema of one of some values."""
    values = [
        value.value if isinstance(value, enum.Enum) else value for value in values
    ]
    kinds = list(dict.fromkeys(_KINDS.get(type(value), "") for value in values))
    if "" in kinds:
        raise InvalidRequestError(
            f"The values {values!r} are not all strings, numbers, booleans or None.",
            param="schema",
        )
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}


_KINDS = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}


def shown_default(value: object) -> str | int | float | bool | None:
    """Return a default that a model may be told."""
    if isinstance(value, enum.Enum):
        value = value.value
    return value if isinstance(value, (str, int, float, bool)) else None
