"""Functions as tools: the schema of their parameters, and arguments for a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flask_llm.errors import InvalidRequestError
from flask_llm.schema.docstrings import read_docstring
from flask_llm.schema.fields import Field, hints_of
from flask_llm.schema.types import Writer
from flask_llm.schema.values import build_fields

_UNNAMED = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL}


def summary(function: Callable[..., Any]) -> str:
    """Return what a function's docstring says above its parameters."""
    return read_docstring(_written(function)).text


def parameters_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON schema of a function's parameters.

    :raises InvalidRequestError: where one has a type without a schema or no name.
    """
    writer = Writer()
    return writer.whole(writer.fields(_fields(function)))


def arguments_for(
    function: Callable[..., Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the keyword arguments of a call of JSON values that fit the schema.

    :raises ValueError: where a parameter's type does not take its value.
    """
    return build_fields(_fields(function), values)


def _fields(function: Callable[..., Any]) -> list[Field]:
    written = _written(function)
    hints, notes = hints_of(written), read_docstring(written).parameters
    fields = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in _UNNAMED:
            raise InvalidRequestError(
                f"A tool is called by name, and {name!r} of {function!r} has none.",
                param="tools",
            )
        if parameter.kind is parameter.VAR_KEYWORD or name in _bound(function):
            continue
        needed = parameter.default is parameter.empty
        default = None if needed else parameter.default
        hint = hints.get(name, Any)
        fields.append(Field(name, hint, needed, default, notes.get(name, "")))
    return fields


def _written(function: Callable[..., Any]) -> Any:
    """Return the function as it was written, below partials and decorators."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    return function if inspect.isroutine(function) else type(function).__call__


def _bound(function: Callable[..., Any]) -> set[str]:
    """Return the parameters that a partial has filled in."""
    names: set[str] = set()
    while isinstance(function, functools.partial):
        names |= function.keywords.keys()
        function = function.func
    return names
