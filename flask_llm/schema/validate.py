"""A JSON value held against a schema.

The part of JSON Schema (2020-12) that providers and the models of Python take; what
else narrows a schema is refused at the door (:func:`flask_llm.schema.rules.check`).
Formats are not looked at, as the standard has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from flask_llm.schema.rules import resolve

_Rule = Callable[["_Holder", Any, Mapping[str, Any], str], Iterator[str]]


def problems(value: Any, schema: Any, *, root: Any = None) -> list[str]:
    """Return what does not fit, place by place; nothing where all does.

    They quote the schema and never the value: it may be private.

    :param root: the schema that references point into, where it is another.
    """
    try:
        return list(_Holder(schema if root is None else root).held(value, schema, "$"))
    except RecursionError:
        return ["$: it is nested too deep"]


class _Holder:
    """Carries the root schema through the recursion."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def held(self, value: Any, schema: Any, place: str) -> Iterator[str]:
        if isinstance(schema, bool):
            if not schema:
                yield f"{place}: nothing may stand here"
            return
        if "$ref" in schema:
            yield from self.held(value, self._follow(schema), place)
        kinds = schema.get("type")
        if kinds is not None and not _is_any(value, kinds):
            yield f"{place}: {_needed(kinds)} is needed, not {_kind(value)}"
            return
        for keyword, rule in _RULES.items():
            if keyword in schema:
                yield from rule(self, value, schema, place)

    def fits(self, value: Any, schema: Any) -> bool:
        return next(self.held(value, schema, "$"), None) is None

    def _follow(self, schema: Mapping[str, Any]) -> Any:
        return resolve(self._root, {"$ref": schema["$ref"]})

    def enum(self, value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
        if not any(same(value, choice) for choice in schema["enum"]):
            yield f"{place}: it is one of {_listed(schema['enum'])}"

    def const(self, value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
        if not same(value, schema["const"]):
            yield f"{place}: it is {schema['const']!r}"

    def any_of(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        branches = schema["anyOf"]
        if any(self.fits(value, branch) for branch in branches):
            return
        meant = [branch for branch in branches if self._is_meant(value, branch)]
        if len(meant) == 1:
            yield from self.held(value, meant[0], place)
        else:
            yield f"{place}: it fits none of {len(branches)} schemas"

    def _is_meant(self, value: Any, branch: Any) -> bool:
        """Whether a branch is of the value's type, though it may not fit."""
        branch = resolve(self._root, branch)
        return isinstance(branch, bool) or _is_any(value, branch.get("type", []))

    def one_of(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        count = sum(self.fits(value, branch) for branch in schema["oneOf"])
        if count > 1:
            yield f"{place}: it fits {count} schemas, not one"
        elif not count:
            yield from self.any_of(value, {"anyOf": schema["oneOf"]}, place)

    def all_of(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        for part in schema["allOf"]:
            yield from self.held(value, part, place)

    def not_(self, value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
        if self.fits(value, schema["not"]):
            yield f"{place}: it fits what it must not"

    def required(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        if isinstance(value, dict):
            for name in schema["required"]:
                if name not in value:
                    yield f"{place}: {name!r} is missing"

    def properties(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in schema["properties"].items():
                if name in value:
                    yield from self.held(value[name], inner, f"{place}.{name}")

    def patterns(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        for pattern, inner in schema["patternProperties"].items():
            for name in value if isinstance(value, dict) else ():
                if re.search(pattern, name):
                    yield from self.held(value[name], inner, f"{place}.*")

    def others(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        if not isinstance(value, dict):
            return
        known, patterns = schema.get("properties", ()), schema.get("patternProperties")
        for name in value:
            if name in known or any(re.search(item, name) for item in patterns or ()):
                continue
            if schema["additionalProperties"] is False:
                yield f"{place}: it has a key that the schema does not know"
                return
            yield from self.held(
                value[name], schema["additionalProperties"], f"{place}.*"
            )

    def prefix(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        if isinstance(value, list):
            pairs = zip(value, schema["prefixItems"], strict=False)
            for number, (item, inner) in enumerate(pairs):
                yield from self.held(item, inner, f"{place}[{number}]")

    def items(self, value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
        if isinstance(value, list):
            first = len(schema.get("prefixItems", ()))
            for number, item in enumerate(value[first:], first):
                yield from self.held(item, schema["items"], f"{place}[{number}]")

    def unique(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        if schema["uniqueItems"] and isinstance(value, list):
            for number, item in enumerate(value):
                if any(same(item, before) for before in value[:number]):
                    yield f"{place}[{number}]: it stands there twice"

    def pattern(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        if isinstance(value, str) and not re.search(schema["pattern"], value):
            yield f"{place}: it does not match {schema['pattern']!r}"

    def multiple(
        self, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        step = schema["multipleOf"]
        if _is(value, "number") and not _is_multiple(value, step):
            yield f"{place}: it is a multiple of {step}"


def _bound(
    keyword: str,
    kind: type | tuple[type, ...],
    fits: Callable[[Any, Any], bool],
    says: str,
) -> _Rule:
    """Make a rule that compares a number, or a length, with a bound."""

    def rule(
        _: _Holder, value: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        right = isinstance(value, kind) and not isinstance(value, bool)
        if right and not fits(value, schema[keyword]):
            yield f"{place}: {says.format(schema[keyword])}"

    return rule


_NUMBER = (int, float)
_RULES: dict[str, _Rule] = {
    "enum": _Holder.enum,
    "const": _Holder.const,
    "anyOf": _Holder.any_of,
    "oneOf": _Holder.one_of,
    "allOf": _Holder.all_of,
    "not": _Holder.not_,
    "required": _Holder.required,
    "properties": _Holder.properties,
    "patternProperties": _Holder.patterns,
    "additionalProperties": _Holder.others,
    "prefixItems": _Holder.prefix,
    "items": _Holder.items,
    "uniqueItems": _Holder.unique,
    "pattern": _Holder.pattern,
    "multipleOf": _Holder.multiple,
} | {
    keyword: _bound(keyword, kind, fits, says)
    for keyword, kind, fits, says in (
        ("minimum", _NUMBER, lambda n, low: n >= low, "it is at least {}"),
        ("maximum", _NUMBER, lambda n, high: n <= high, "it is at most {}"),
        ("exclusiveMinimum", _NUMBER, lambda n, low: n > low, "it is above {}"),
        ("exclusiveMaximum", _NUMBER, lambda n, high: n < high, "it is below {}"),
        (
            "minLength",
            str,
            lambda s, low: len(s) >= low,
            "it has {} characters or more",
        ),
        (
            "maxLength",
            str,
            lambda s, high: len(s) <= high,
            "it has at most {} characters",
        ),
        ("minItems", list, lambda s, low: len(s) >= low, "it has {} items or more"),
        ("maxItems", list, lambda s, high: len(s) <= high, "it has at most {} items"),
        ("minProperties", dict, lambda s, low: len(s) >= low, "it has {} keys or more"),
        (
            "maxProperties",
            dict,
            lambda s, high: len(s) <= high,
            "it has at most {} keys",
        ),
    )
}


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same(one[name], other[name]) for name in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _is_number(value: object) -> bool:
    return isinstance(value, _NUMBER) and not isinstance(value, bool)


_IS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and value == value // 1,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _is(value: Any, kind: str) -> bool:
    return _IS[kind](value)


def _is_any(value: Any, kinds: str | list[str]) -> bool:
    several = [kinds] if isinstance(kinds, str) else kinds
    return any(_is(value, kind) for kind in several)


def _kind(value: Any) -> str:
    return next(kind for kind in ("boolean", *_IS) if _is(value, kind))


def _needed(kinds: str | list[str]) -> str:
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _listed(values: list[Any]) -> str:
    return ", ".join(map(repr, values))


def _is_multiple(number: float, step: float) -> bool:
    if abs(number) == math.inf:  # 1e400 is JSON
        return False
    return (Fraction(str(number)) / Fraction(str(step))).denominator == 1
