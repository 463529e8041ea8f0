"""Schemas, answers held against them, and how they are sent in every wire format."""

import contextlib
from dataclasses import dataclass, field
from decimal import Decimal

from flask_llm.chat import Tool, ToolCall
from flask_llm.errors import InvalidRequestError
from flask_llm.schema import MisfitError, read_schema
from fuzz import common


@dataclass
class Place:
    """What answers are read into."""

    city: str
    people: int
    area: float = 0.0
    price: Decimal = Decimal(0)
    near: "list[Place]" = field(default_factory=list)
    height: int | None = None


_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "people": {"type": ["integer", "null"], "minimum": 0, "multipleOf": 0.5},
        "tags": {"type": "array", "items": {"enum": ["a", 1]}, "uniqueItems": True},
        "near": {"anyOf": [{"$ref": "#/$defs/x"}, {"const": None}]},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"x": {"type": "object", "properties": {"y": {"$ref": "#/$defs/x"}}}},
}
_VALUE = {"city": "Oslo", "people": 7e5, "tags": ["a"], "near": {"y": {}}}
SEEDS = [b"\n".join(pair) for pair in [common.seeds(_SCHEMA, _VALUE)]]
SEEDS += [
    b'{"type": "object"}\n```json\n{"city": "Oslo", "people": 3, "near": []}\n```',
    b'{"type": "object"}\n{"city": "Oslo", "people": 1e3, "price": "NaN"}',
]


def check(data):
    """The first line is a schema, the rest is what a model wrote."""
    line, _, rest = data.partition(b"\n")
    text = rest.decode("utf-8", "replace")
    call = ToolCall.from_wire("c1", "f", text)
    assert call.valid or call.arguments == {}
    given = common.load(line)
    for written in (given, Place):
        with contextlib.suppress(InvalidRequestError, MisfitError):
            read_schema(written).read(text)
    if isinstance(given, dict):
        with contextlib.suppress(InvalidRequestError):
            tool = Tool("f", parameters=given)
            common.send_back("Hi", tools=(tool,), schema=read_schema(given))
