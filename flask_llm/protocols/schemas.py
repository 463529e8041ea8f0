"""Schemas as providers take them.

Each takes a part of JSON Schema. What it does not know goes into the description, where
a model reads it, and is held against the answer here all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flask_llm.chat import Prompt, Tool
from flask_llm.protocols.dialects import OPENAI, Dialect
from flask_llm.schema import Schema, accepts_null, resolve

_NOISE = frozenset(
    {
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "definitions",
        "deprecated",
        "discriminator",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    }
)
"""What says nothing of the answer."""


def fit(schema: Mapping[str, Any], dialect: Dialect) -> dict[str, Any] | None:
    """Write a schema in a provider's dialect.

    References are put out in full, unless they go in circles.

    :return: None where the dialect has no words for it.
    """
    fitter = _Fitter(schema, dialect)
    try:
        fitted = fitter.fit(schema)
    except _WordlessError:
        return None
    return {**fitted, "$defs": fitter.definitions} if fitter.definitions else fitted


def named(schema: Schema, *, strict: bool) -> dict[str, Any]:
    """Write a schema as OpenAI's formats have it.

    :param strict: whether the server knows the word; then the answer is held to the
        letter, unless the schema is an open one.
    """
    form: dict[str, Any] = {"name": schema.name, "schema": dict(schema.json)}
    if strict:
        closed = fit(schema.json, OPENAI)
        form |= {"schema": closed or form["schema"], "strict": closed is not None}
    return form


def strict_parameters(tool: Tool) -> dict[str, Any]:
    """Write a tool's parameters as OpenAI takes them where it is strict."""
    return fit(tool.parameters, OPENAI) or dict(tool.parameters)


def replaced(theirs: object) -> bool:
    """Tell whether a caller's own format takes the place of the schema's.

    One of the same type is merged with it, so that a word of it can be changed.
    """
    kind = theirs.get("type") if isinstance(theirs, Mapping) else None
    return kind not in {None, "json_schema"}


def instructed(prompt: Prompt) -> Prompt:
    """Say in the system text what the answer has to look like."""
    if prompt.schema is None:
        return prompt
    words = (
        "Answer with JSON alone, without any other text. It has to fit this JSON "
        f"schema:\n{json.dumps(prompt.schema.json, ensure_ascii=False)}"
    )
    system = f"{prompt.system}\n\n{words}" if prompt.system else words
    return replace(prompt, system=system, schema=None)


class _WordlessError(Exception):
    """The dialect has no words for the schema."""


@dataclass(slots=True)
class _Fitter:
    root: Mapping[str, Any]
    dialect: Dialect
    definitions: dict[str, Any] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _circular: set[str] = field(default_factory=set)

    def fit(self, node: Any) -> dict[str, Any]:
        """Write one schema."""
        if not isinstance(node, Mapping) or not node:
            return self._anything(node)
        if "$ref" in node:
            return self._reference(node)
        node = _split(self._plain(node))
        self._check(node)
        fitted: dict[str, Any] = {}
        said: dict[str, Any] = {}
        for keyword, value in node.items():
            if keyword not in _NOISE:
                taken = self.dialect.takes(keyword, value)
                (fitted if taken else said)[keyword] = value
        fitted |= self._inner(fitted)
        if node.get("type") == "object":
            fitted |= self._object(node)
        return fitted | _told(fitted, said)

    def _anything(self, node: Any) -> dict[str, Any]:
        if self.dialect.closed or node is False:
            raise _WordlessError
        return {}

    def _plain(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Say in words that all know what has several: const, oneOf, one of allOf."""
        plain = dict(node)
        if "const" in plain:
            plain["enum"] = [plain.pop("const")]
        if "oneOf" in plain and "anyOf" not in plain:
            plain["anyOf"] = plain.pop("oneOf")
        if len(plain.get("allOf", ())) == 1:
            part = resolve(self.root, plain.pop("allOf")[0])
            plain = {
                **(self._plain(part) if isinstance(part, Mapping) else {}),
                **plain,
            }
        if "enum" in plain and "type" not in plain:
            plain["type"] = list(dict.fromkeys(map(_type_of, plain["enum"])))
        if plain.get("default", ...) is None:
            del plain["default"]
        return plain

    def _check(self, node: Mapping[str, Any]) -> None:
        """See that the dialect has words for what stands in a schema."""
        untyped = not {"type", "anyOf"} & node.keys()
        several = {"allOf", "patternProperties"} & node.keys()
        tuples = "prefixItems" in node and "prefixItems" not in self.dialect.keywords
        bare = node.get("type") == "array" and "items" not in node
        if self.dialect.closed and (untyped or several or tuples or bare):
            raise _WordlessError

    def _inner(self, node: dict[str, Any]) -> dict[str, Any]:
        inner: dict[str, Any] = {}
        if node.get("items") is False:
            del node["items"]  # a tuple: maxItems says it, too
        elif "items" in node:
            inner["items"] = self.fit(node["items"])
        for keyword in ("anyOf", "prefixItems"):
            if keyword in node:
                inner[keyword] = [self.fit(part) for part in node[keyword]]
        return inner

    def _object(self, node: Mapping[str, Any]) -> dict[str, Any]:
        properties = {
            name: self.fit(part) for name, part in node.get("properties", {}).items()
        }
        written: dict[str, Any] = {"properties": properties} if properties else {}
        rest = node.get("additionalProperties")
        if self.dialect.closed:
            if rest or (rest is None and "properties" not in node):
                raise _WordlessError
            written |= {"properties": properties, "additionalProperties": False}
        elif isinstance(rest, Mapping):
            written["additionalProperties"] = self.fit(rest)
        return written | (self._whole(node, properties) if self.dialect.whole else {})

    def _whole(
        self, node: Mapping[str, Any], properties: Mapping[str, Any]
    ) -> dict[str, Any]:
        required = node.get("required", ())
        return {
            "properties": {
                name: part
                if name in required or accepts_null(node["properties"][name], self.root)
                else {"anyOf": [part, {"type": "null"}]}
                for name, part in properties.items()
            },
            "required": list(properties),
        }

    def _reference(self, node: Mapping[str, Any]) -> dict[str, Any]:
        name = str(node["$ref"])
        key = name.rpartition("/")[2].lstrip("#") or "root"
        if name in self._open or key in self.definitions:
            self._circular.add(name)
            return {"$ref": f"#/$defs/{key}"}
        self._open.append(name)
        fitted = self.fit(resolve(self.root, node))
        self._open.pop()
        if name in self._circular:
            self.definitions[key] = fitted
            return {"$ref": f"#/$defs/{key}"}
        if "description" in node:
            fitted["description"] = node["description"]
        return fitted


def _split(node: dict[str, Any]) -> dict[str, Any]:
    """Write several types as one schema each."""
    kinds = node.get("type")
    if not isinstance(kinds, list) or "anyOf" in node:
        return node
    if len(kinds) == 1:
        return {**node, "type": kinds[0]}
    about = {"description": node["description"]} if "description" in node else {}
    rest = {name: value for name, value in node.items() if name != "description"}
    return {**about, "anyOf": [_of_type(rest, kind) for kind in kinds]}


def _of_type(node: Mapping[str, Any], kind: str) -> dict[str, Any]:
    if kind == "null":
        return {"type": "null"}
    if "enum" not in node:
        return {**node, "type": kind}
    values = [value for value in node["enum"] if _type_of(value) == kind]
    return {**node, "type": kind, "enum": values}


def _type_of(value: object) -> str:
    return {str: "string", bool: "boolean", int: "integer", float: "number"}.get(
        type(value), "null"
    )


def _told(fitted: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Put into the description what there is no keyword for."""
    if not said:
        return {}
    words = ", ".join(
        f"{keyword}: {json.dumps(value, ensure_ascii=False)}"
        for keyword, value in said.items()
    )
    return {"description": f"{fitted.get('description', '')} ({words})".strip()}
