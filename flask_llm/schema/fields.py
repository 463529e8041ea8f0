"""The named values that make up a dataclass, a TypedDict, or a call of a function."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flask_llm.errors import InvalidRequestError
from flask_llm.schema.docstrings import read_docstring


class Field(NamedTuple):
    """One of them."""

    name: str
    hint: Any
    required: bool = True
    default: Any = None
    description: str = ""


def is_record(hint: object) -> bool:
    """Whether a type has fields: a dataclass or a TypedDict."""
    return isinstance(hint, type) and (
        dataclasses.is_dataclass(hint) or typing.is_typeddict(hint)
    )


def fields_of(record: type) -> list[Field]:
    """Return the fields that an object is made with."""
    hints = hints_of(record)
    notes = read_docstring(record).parameters
    if typing.is_typeddict(record):
        return list(_keys(record, hints, notes))
    return [
        Field(
            name=entry.name,
            hint=hints[entry.name],
            required=entry.default is dataclasses.MISSING
            and entry.default_factory is dataclasses.MISSING,
            default=None if entry.default is dataclasses.MISSING else entry.default,
            description=entry.metadata.get("description") or notes.get(entry.name, ""),
        )
        for entry in dataclasses.fields(record)
        if entry.init
    ]


def _keys(
    record: type, hints: Mapping[str, Any], notes: Mapping[str, str]
) -> Iterator[Field]:
    needed: frozenset[str] = record.__required_keys__  # type: ignore[attr-defined]
    for name, hint in hints.items():
        # Where annotations are strings, Python does not see these words in them.
        says = typing.get_origin(hint)
        bare = (
            typing.get_args(hint)[0]
            if says in {typing.Required, typing.NotRequired}
            else hint
        )
        required = name in needed and says is not typing.NotRequired
        yield Field(name, bare, required, description=notes.get(name, ""))


def about(record: type) -> str:
    """Return what a class says of itself; a dataclass's own signature says nothing."""
    text = read_docstring(record).text if record.__doc__ else ""
    return "" if text.startswith(f"{record.__name__}(") else text


def hints_of(annotated: Any) -> dict[str, Any]:
    """Return the annotations of a class or function, read where they were written.

    :raises InvalidRequestError: where one names what cannot be found.
    """
    try:
        return typing.get_type_hints(annotated, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        name = getattr(annotated, "__qualname__", type(annotated).__name__)
        raise InvalidRequestError(
            f"The annotations of {name} cannot be read: {error}. Types that they name "
            "must stand at the top of their module.",
            param="schema",
        ) from error
