"""A schema as a caller gives it: a dict, a dataclass, or a pydantic model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import partial
from typing import Any

from flask_llm.errors import InvalidRequestError
from flask_llm.schema.relax import relaxed
from flask_llm.schema.rules import check, resolve
from flask_llm.schema.types import schema_of
from flask_llm.schema.validate import problems
from flask_llm.schema.values import build


class MisfitError(ValueError):
    """A text that does not fit its schema.

    :param problems: what is wrong, place by place, for the model to read.
    :param private: whether they may quote the text.
    """

    def __init__(self, problems: list[str], *, private: bool = False) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
        self.private = private


@dataclass(frozen=True, slots=True)
class Schema:
    """What an answer has to look like, and what is made of one that does."""

    name: str
    json: Mapping[str, Any]
    """The JSON schema, as the caller means it."""
    build: Callable[[Any], Any] = field(repr=False, compare=False)
    """Makes the object of a JSON value.

    :raises MisfitError: where the value does not fit.
    """

    def read(self, text: str) -> Any:
        """Make the object of an answer's text.

        :raises MisfitError: where it does not fit.
        """
        try:
            value = json.loads(_unfenced(text), parse_constant=_refuse)
            value = relaxed(value, self.json)
        except (ValueError, RecursionError):
            raise MisfitError(["$: the answer is no JSON"]) from None
        return self.build(value)


def read_schema(given: object) -> Schema:
    """Read what a caller gave as schema.

    A model class of pydantic is known by its methods, so that nothing imports pydantic
    for those who do not use it.

    :raises InvalidRequestError: where it is none, or one that cannot be checked.
    """
    if isinstance(given, Schema):
        return given
    if isinstance(given, Mapping):
        check(given)
        return _schema(str(given.get("title") or "answer"), given, _fitting)
    if isinstance(given, type) and is_dataclass(given):
        return _schema(given.__name__, schema_of(given), partial(_record, given))
    if isinstance(given, type) and _is_model(given):
        written = given.model_json_schema()  # type: ignore[attr-defined]
        return _schema(given.__name__, written, partial(_validated, given))
    raise InvalidRequestError(
        "schema is a JSON schema as a dict, a dataclass or a pydantic model, given as "
        f"the class and not as one of its objects, not {type(given).__name__}.",
        param="schema",
        code="invalid_schema",
    )


def _schema(
    name: str, written: Mapping[str, Any], make: Callable[[Any, Any], Any]
) -> Schema:
    root = _rooted(written)
    if root.get("type") != "object":
        raise InvalidRequestError(
            "The root of a schema is of type 'object': providers take no other. Put "
            "the list, or whatever it is, into a property.",
            param="schema",
            code="invalid_schema",
        )
    fits = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64]
    return Schema(fits or "answer", root, partial(make, root))


def _rooted(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the definition in the place of a root that only refers to it."""
    if "$ref" not in schema:
        return schema
    rest = {name: value for name, value in schema.items() if name != "$ref"}
    return {**rest, **resolve(schema, schema)}


def _is_model(given: type) -> bool:
    return all(
        callable(getattr(given, name, None))
        for name in ("model_json_schema", "model_validate")
    )


def _fitting(schema: Mapping[str, Any], value: Any) -> Any:
    found = problems(value, schema)
    if found:
        raise MisfitError(found)
    return value


def _record(record: type, schema: Mapping[str, Any], value: Any) -> Any:
    try:
        return build(record, _fitting(schema, value))
    except MisfitError:
        raise
    except (ValueError, TypeError, ArithmeticError) as error:
        raise MisfitError([f"$: {error}"], private=True) from error


def _validated(model: Any, _: Mapping[str, Any], value: Any) -> Any:
    try:
        return model.model_validate(value)
    except ValueError as error:
        raise MisfitError(_complaints(error), private=True) from error


def _complaints(error: Any) -> list[str]:
    """Read what a validator of pydantic complains of, place by place."""
    if not callable(getattr(error, "errors", None)):
        return [f"$: {error}"]
    return [
        f"{'.'.join(['$', *map(str, problem['loc'])])}: {problem['msg']}"
        for problem in error.errors()
    ]


def _unfenced(text: str) -> str:
    """Take off the fence that models like to put around JSON."""
    found = re.fullmatch(r"\s*```\w*\n(.*?)\n?```\s*", text, re.DOTALL)
    return found[1] if found else text


def _refuse(constant: str) -> None:
    raise ValueError(constant)
