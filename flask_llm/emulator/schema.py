"""Values that satisfy a JSON schema, for tool calls and structured answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .dialect import mapping

ANY_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
"""Stands in where a request asks for JSON and brings no schema."""

_FORMATS = {
    "date": "2026-11-23",
    "date-time": "2026-11-23T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

# A schema may refer to itself; past this depth the shortest way out is taken.
_DEEP = 6


def sample(schema: dict[str, Any], word: str = "") -> Any:
    """Make a value that a schema accepts; ``pattern`` is the one thing not honoured.

    Objects get their required properties, or all of them if none is required.

    :param word: what strings say; the property's name if empty.
    """
    return _Sampler(schema, word).value(schema, "value", 0)


def objects(schema: object, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Walk over all object schemas inside a schema, each with its path."""
    node = mapping(schema)
    if node.get("type") == "object" or "properties" in node:
        yield path, node
    for name in ("properties", "$defs", "definitions"):
        for key, child in mapping(node.get(name)).items():
            yield from objects(child, (*path, name, key))
    for name in ("anyOf", "allOf", "oneOf"):
        for number, child in enumerate(node.get(name) or []):
            yield from objects(child, (*path, name, str(number)))
    if "items" in node:
        yield from objects(node["items"], (*path, "items"))


class _Sampler:
    """Carries the root schema (for references) and the word through the recursion."""

    def __init__(self, root: dict[str, Any], word: str) -> None:
        self._root = root
        self._word = word

    def value(self, schema: object, name: str, depth: int) -> Any:
        node = self._resolve(mapping(schema))
        if depth > 4 * _DEEP:
            return None
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return node["enum"][0]
        for key in ("anyOf", "oneOf"):
            if node.get(key):
                return self.value(self._branch(node[key], depth), name, depth + 1)
        make = getattr(self, "_" + self._type(node, depth), self._string)
        return make(node, name, depth)

    def _resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        for _ in range(_DEEP):
            if "$ref" not in node:
                break
            target: Any = self._root
            for step in str(node["$ref"]).lstrip("#/").split("/"):
                target = mapping(target).get(step)
            rest = {key: item for key, item in node.items() if key != "$ref"}
            node = {**mapping(target), **rest}
        for part in node.get("allOf") or []:
            node = _merged(node, self._resolve(mapping(part)))
        return node

    def _branch(self, branches: list[Any], depth: int) -> Any:
        ends = [branch for branch in branches if _kind(mapping(branch)) == "null"]
        if depth > _DEEP and ends:
            return ends[0]
        others = [branch for branch in branches if branch not in ends]
        return (others or branches)[0]

    def _type(self, node: dict[str, Any], depth: int) -> str:
        if depth > _DEEP and (node.get("nullable") or "null" in _kinds(node)):
            return "null"
        return _kind(node)

    def _object(self, node: dict[str, Any], _name: str, depth: int) -> dict[str, Any]:
        properties = mapping(node.get("properties"))
        required = node.get("required") or []
        wanted = required or ([] if depth > _DEEP else list(properties))
        return {key: self.value(properties.get(key), key, depth + 1) for key in wanted}

    def _array(self, node: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = int(node.get("minItems") or (0 if depth > _DEEP else 1))
        count = min(least, int(node.get("maxItems", least)))
        prefix = node.get("prefixItems") or []
        schemas = [*prefix, *[node.get("items")] * max(0, count - len(prefix))]
        return [self.value(schema, name, depth + 1) for schema in schemas]

    def _string(self, node: dict[str, Any], name: str, _depth: int) -> str:
        text = _FORMATS.get(str(node.get("format")), self._word or name)
        least = int(node.get("minLength") or 0)
        return text.ljust(least, ".")[: int(node.get("maxLength") or 10_000)]

    def _integer(self, node: dict[str, Any], _name: str, _depth: int) -> int:
        return int(_number(node, whole=True))

    def _number(self, node: dict[str, Any], _name: str, _depth: int) -> float:
        return _number(node, whole=False)

    def _boolean(self, _node: dict[str, Any], _name: str, _depth: int) -> bool:
        return True

    def _null(self, _node: dict[str, Any], _name: str, _depth: int) -> None:
        return None


def _merged(node: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    both = {
        "properties": {
            **mapping(node.get("properties")),
            **mapping(part.get("properties")),
        },
        "required": [*(node.get("required") or []), *(part.get("required") or [])],
    }
    return {**part, **node, **{key: item for key, item in both.items() if item}}


def _kinds(node: dict[str, Any]) -> list[str]:
    # Google's OpenAPI subset writes the types in upper case.
    kinds = node.get("type") or ("object" if "properties" in node else "string")
    return [str(k).lower() for k in (kinds if isinstance(kinds, list) else [kinds])]


def _kind(node: dict[str, Any]) -> str:
    kinds = _kinds(node)
    return next((kind for kind in kinds if kind != "null"), kinds[0])


def _number(node: dict[str, Any], *, whole: bool) -> float:
    step = node.get("multipleOf") or 1
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    number = step
    if low is not None and number < low:
        number = -(-low // step) * step
    if number == node.get("exclusiveMinimum"):
        number += step
    if high is not None and number > high:
        number = high // step * step
    if number == node.get("exclusiveMaximum"):
        number -= step
    return int(number) if whole else number
