"""Which schemas are taken: those that can be held against an answer to the letter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from flask_llm.errors import InvalidRequestError

TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}

_UNKNOWN = (
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
"""Keywords that narrow what fits, and that nothing here holds an answer against."""

_ONE = ("additionalProperties", "items", "not")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "patternProperties", "properties")


def check(schema: Mapping[str, Any], *, param: str = "schema") -> None:
    """See that a schema is one that is understood whole.

    :raises InvalidRequestError: naming the keyword that is not.
    """
    try:
        json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong(f"it is sent as JSON and cannot be: {error}", param) from None
    for node in _nodes(schema):
        problem = _problem(node, schema)
        if problem:
            raise _wrong(problem, param)


def resolve(root: Any, node: Any) -> Any:
    """Follow references until something else stands there.

    :raises LookupError: where one leads nowhere or in a circle.
    """
    seen = []
    while isinstance(node, Mapping) and "$ref" in node and node["$ref"] not in seen:
        seen.append(node["$ref"])
        node = _target(root, node["$ref"])
    if isinstance(node, Mapping) and "$ref" in node:
        raise LookupError(node["$ref"])
    return node


def _target(root: Any, reference: object) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise LookupError(reference)
    node = root
    for step in unquote(reference).removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        node = node[int(name)] if isinstance(node, list) else node[name]
    return node


def accepts_null(schema: Any, root: Any) -> bool:
    """Whether null fits a schema by its types and choices."""
    if not isinstance(schema, Mapping):
        return schema is True
    if "$ref" in schema:
        return accepts_null(resolve(root, schema), root)
    kinds = schema.get("type", "null")
    if "null" not in (kinds if isinstance(kinds, list) else [kinds]):
        return False
    if None not in schema.get("enum", [None]) or schema.get("const") is not None:
        return False
    branches = schema.get("anyOf") or schema.get("oneOf") or [True]
    return any(accepts_null(branch, root) for branch in branches) and all(
        accepts_null(part, root) for part in schema.get("allOf", ())
    )


def _nodes(schema: Any) -> Iterator[Any]:
    """Walk over a schema and all that it is made of, names of properties aside."""
    yield schema
    if not isinstance(schema, Mapping):
        return
    for keyword in _ONE:
        if keyword in schema:
            yield from _nodes(schema[keyword])
    for keyword in _SEVERAL:
        inner = schema.get(keyword, ())
        for part in inner if isinstance(inner, (list, tuple)) else (inner,):
            yield from _nodes(part)
    for keyword in _NAMED:
        inner = schema.get(keyword, {})
        for part in inner.values() if isinstance(inner, Mapping) else (inner,):
            yield from _nodes(part)


def _problem(node: Any, root: Mapping[str, Any]) -> str | None:
    if isinstance(node, bool):
        return None
    if not isinstance(node, Mapping):
        return f"a schema is a dict, not {type(node).__name__}"
    unknown = [keyword for keyword in _UNKNOWN if keyword in node]
    if unknown:
        return f"{unknown[0]!r} is not understood here; leave it out"
    if "$ref" in node:
        return _bad_reference(node, root)
    return _bad_type(node) or _bad_pattern(node) or _bad_count(node)


def _bad_reference(node: Mapping[str, Any], root: Mapping[str, Any]) -> str | None:
    try:
        resolve(root, node)
    except (LookupError, TypeError, ValueError):
        return f"$ref {node['$ref']!r} leads nowhere within the schema"
    return None


def _bad_type(node: Mapping[str, Any]) -> str | None:
    kinds = node.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in TYPES:
            return f"type {kind!r} is none of {', '.join(sorted(TYPES))}"
    for keyword in ("enum", "required"):
        if not isinstance(node.get(keyword, []), list):
            return f"{keyword!r} is a list"
    if not all(isinstance(name, str) for name in node.get("required", [])):
        return "'required' is a list of names"
    return None


def _bad_pattern(node: Mapping[str, Any]) -> str | None:
    for pattern in (node.get("pattern", ""), *node.get("patternProperties", ())):
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            return f"the pattern {pattern!r} cannot be read: {error}"
    return None


_COUNTS = ("Length", "Items", "Properties")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


def _bad_count(node: Mapping[str, Any]) -> str | None:
    numbers = [f"{end}{what}" for end in ("min", "max") for what in _COUNTS]
    for keyword in (*numbers, *_BOUNDS):
        value = node.get(keyword, 1)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{keyword!r} is a number"
    return "'multipleOf' is above 0" if node.get("multipleOf", 1) <= 0 else None


def _wrong(problem: str, param: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The schema cannot be used: {problem}.", param=param, code="invalid_schema"
    )
