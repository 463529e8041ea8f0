"""Tools: functions that a model may ask for, and how they are run."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from flask_llm.errors import InvalidRequestError
from flask_llm.schema import arguments_for, parameters_of, summary

Build = Callable[[Callable[..., Any], Mapping[str, Any]], dict[str, Any]]


def _as_they_are(_: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(values)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )
    """JSON schema of the arguments."""
    strict: bool = False
    """Hold the model to the schema to the letter, where the provider can."""
    function: Callable[..., Any] | None = field(default=None, repr=False, compare=False)
    """What :func:`flask_llm.run_tools` calls with the arguments, by name."""
    build: Build = field(default=_as_they_are, repr=False, compare=False)
    """Makes the arguments of JSON values; leaves them as they are by default."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidRequestError(
                "A tool needs a 'name', and 'parameters'.", param="tools"
            )
        if not _is_json(self.parameters):
            raise InvalidRequestError(
                f"The parameters of the tool {self.name!r} are no JSON schema.",
                param="tools",
            )

    @classmethod
    def from_dict(cls, tool: Mapping[str, Any]) -> Self:
        """Read a dict of a tool's fields, bare or under the key ``function``."""
        inner = tool.get("function")
        body = inner if isinstance(inner, Mapping) else tool
        known = {"name", "description", "parameters", "strict"}
        return cls(**{"name": "", **{key: body[key] for key in body if key in known}})

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        strict: bool = False,
    ) -> Self:
        """Make a tool of a function, its type hints and its docstring.

        What the docstring says above its fields is the tool's description, and each
        ``:param x:`` that of a parameter; ``Annotated[str, "…"]`` describes one, too.
        A parameter with a default may be left out. What ``functools.partial`` has
        filled in, no model sees.

        :param name: that of the function by default.
        :param strict: hold the model to the schema to the letter; it then gives every
            argument.
        :raises InvalidRequestError: where a parameter has a type that JSON schema has
            no word for.
        """
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise InvalidRequestError(
                f"A tool is a function that is no coroutine, not {function!r}.",
                param="tools",
            )
        return cls(
            _checked_name(name or str(getattr(function, "__name__", ""))),
            summary(function) if description is None else description,
            parameters_of(function),
            strict,
            function,
            arguments_for,
        )

    def run(self, values: Mapping[str, Any]) -> Any:
        """Call the function with JSON values that fit the schema.

        :raises ValueError: where a type of the function does not take its value.
        """
        if self.function is None:
            raise InvalidRequestError(
                f"The tool {self.name!r} has no function to run.", param="tools"
            )
        return self.function(**self.build(self.function, values))


def _checked_name(name: str) -> str:
    """See that a name is one that every provider takes."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name):
        raise InvalidRequestError(
            f"{name!r} is no name for a tool: say "
            "Tool.from_function(function, name='…') with letters, digits and _.",
            param="tools",
        )
    return name


ToolLike = Tool | Mapping[str, Any] | Callable[..., Any]
"""What can be given as a tool."""


def read_tools(tools: Sequence[ToolLike] | None) -> tuple[Tool, ...]:
    """Turn functions, ``Tool`` values and plain dicts into tools."""
    read = tuple(_tool(tool) for tool in tools or ())
    names = [tool.name for tool in read]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidRequestError(
            f"Two tools have the name {twice[0]!r}.", param="tools"
        )
    return read


def _tool(tool: object) -> Tool:
    match tool:
        case Tool():
            return tool
        case Mapping():
            return Tool.from_dict(tool)
    if callable(tool):
        return Tool.from_function(tool)
    raise InvalidRequestError(
        f"A tool is a function, a Tool or a dict {{'name': …, 'parameters': …}}, "
        f"not {type(tool).__name__}.",
        param="tools",
    )


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(value, Mapping)
