"""Answers of strict models, brought back to the schema that was meant.

Where every property has to be there, one that may be left out is given as null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_llm.schema.rules import accepts_null, resolve
from flask_llm.schema.validate import problems


def relaxed(value: Any, schema: Any, root: Any = None) -> Any:
    """Leave out nulls that stand for properties which the schema does not require.

    A null that the schema takes stays.
    """
    root = schema if root is None else root
    schema = resolve(root, schema)
    if not isinstance(schema, Mapping):
        return value
    for part in schema.get("allOf", ()):
        value = relaxed(value, part, root)
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    for branch in branches:
        found = relaxed(value, branch, root)
        if not problems(found, branch, root=root):
            value = found
            break
    if isinstance(value, dict):
        return _object(value, schema, root)
    return _array(value, schema, root) if isinstance(value, list) else value


def _object(value: dict[str, Any], schema: Mapping[str, Any], root: Any) -> Any:
    known, required = schema.get("properties", {}), schema.get("required", ())
    rest = schema.get("additionalProperties", True)
    return {
        name: relaxed(item, known.get(name, rest), root)
        for name, item in value.items()
        if not (
            item is None
            and name in known
            and name not in required
            and not accepts_null(known[name], root)
        )
    }


def _array(value: list[Any], schema: Mapping[str, Any], root: Any) -> Any:
    first, rest = schema.get("prefixItems", []), schema.get("items", True)
    schemas = [*first, *[rest] * max(0, len(value) - len(first))]
    return [relaxed(item, inner, root) for item, inner in zip(value, schemas)]  # noqa: B905 - a list may be too short
