"""Schemas: made of types, held against values, put into providers' dialects."""

from __future__ import annotations

import copy
import dataclasses
import enum
import json
import typing
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict
from uuid import UUID

import pydantic
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flask_llm.emulator.schema import sample
from flask_llm.errors import InvalidRequestError
from flask_llm.protocols.dialects import ANTHROPIC, EVERYWHERE, GOOGLE, OPENAI
from flask_llm.protocols.schemas import fit
from flask_llm.schema import MisfitError, check, problems, read_schema, relaxed
from flask_llm.schema.types import schema_of
from flask_llm.schema.values import build


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Address(TypedDict):
    street: str
    flat: NotRequired[int]


UserId = NewType("UserId", int)


@dataclass
class Person:
    """Someone we know.

    They are kept in the address book.

    :param name: first and last,
        as written
    :param str colour: of the hair
    """

    name: str
    age: Annotated[int, "in years"]
    colour: Colour = Colour.RED
    nick: str | None = None
    friends: list[Person] = field(default_factory=list)
    height: float = field(default=1.7, metadata={"description": "in metres"})
    loaded: bool = field(default=False, init=False)


class Model(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0)
    nick: str | None = None
    tags: set[str] = set()
    person: Person | None = None

    @pydantic.field_validator("name")
    @classmethod
    def capital(cls, name: str) -> str:
        if not name[:1].isupper():
            raise ValueError(f"{name} has no capital")
        return name


# --- From types ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (object, {}),
        (UserId, {"type": "integer"}),
        (Decimal, {"type": "number"}),
        (datetime, {"type": "string", "format": "date-time"}),
        (date, {"type": "string", "format": "date"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Size, {"type": "integer", "enum": [1, 2]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1], {"type": ["string", "integer"]}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (typing.Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045 - that is the case
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array", "items": {}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (set[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, int], {"additionalProperties": {"type": "integer"}}),
        (dict, {"type": "object", "additionalProperties": True}),
        (tuple[int, str], {"minItems": 2, "maxItems": 2, "items": False}),
        (Address, {"required": ["street"], "additionalProperties": False}),
        (Annotated[int, "a number"], {"type": "integer"}),
    ],
    ids=str,
)
def test_type_has_its_schema(hint, schema):
    assert schema_of(hint).items() >= schema.items()


def test_dataclass_becomes_a_closed_object():
    schema = read_schema(Person)

    assert schema.name == "Person"
    assert schema.json["type"] == "object"
    assert schema.json["required"] == ["name", "age"]
    assert schema.json["additionalProperties"] is False
    assert "loaded" not in schema.json["properties"]
    assert schema.json["description"] == (
        "Someone we know.\n\nThey are kept in the address book."
    )


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("name", "first and last, as written"),
        ("age", "in years"),
        ("colour", "of the hair"),
        ("height", "in metres"),
        ("nick", None),
    ],
)
def test_field_is_described_where_it_stands(name, description):
    assert read_schema(Person).json["properties"][name].get("description") == (
        description
    )


def test_defaults_are_told_to_the_model():
    properties = read_schema(Person).json["properties"]

    assert properties["height"]["default"] == 1.7
    assert properties["colour"]["default"] == "red"
    assert "default" not in properties["nick"]


def test_dataclass_that_holds_itself_refers_to_itself():
    schema = read_schema(Person).json

    assert schema["properties"]["friends"]["items"] == {"$ref": "#/$defs/Person"}
    assert not problems(
        {"name": "A", "age": 1, "friends": [{"name": "B", "age": 2}]}, schema
    )
    assert problems({"name": "A", "age": 1, "friends": [{"name": "B"}]}, schema)


def test_own_signature_is_no_description():
    plain = dataclasses.make_dataclass("Plain", [("x", int)])

    assert "description" not in read_schema(plain).json


@pytest.mark.parametrize("hint", [complex, bytes, dict[int, str], Literal[b"x"]])
def test_type_without_a_schema_is_refused(hint):
    with pytest.raises(
        InvalidRequestError, match=r"no JSON schema|are not all strings"
    ):
        schema_of(hint)


def test_type_that_cannot_be_found_is_refused():
    @dataclass
    class Lost:
        x: Nowhere  # noqa: F821 - that is the mistake

    with pytest.raises(InvalidRequestError, match="Nowhere"):
        read_schema(Lost)


# --- What is taken as schema -----------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        "Person",
        Person("Ann", 3),
        Model(name="Ann", age=3),
        list[Person],
        int,
        7,
    ],
    ids=["text", "object", "model", "list", "int", "number"],
)
def test_what_is_no_schema_is_refused(given):
    with pytest.raises(InvalidRequestError) as caught:
        read_schema(given)

    assert (caught.value.param, caught.value.code) == ("schema", "invalid_schema")


OBJECT = {"type": "object", "properties": {"x": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "array", "items": {}}, "root"),
        ({"anyOf": [OBJECT]}, "root"),
        (OBJECT | {"if": {}}, "'if'"),
        (OBJECT | {"unevaluatedProperties": False}, "'unevaluatedProperties'"),
        (OBJECT | {"properties": {"x": {"type": "int"}}}, "'int'"),
        (OBJECT | {"properties": {"x": 7}}, "dict"),
        (OBJECT | {"properties": {"x": {"pattern": "("}}}, "pattern"),
        (OBJECT | {"properties": {"x": {"$ref": "#/$defs/X"}}}, "leads nowhere"),
        (OBJECT | {"properties": {"x": {"$ref": "https://a.b/c"}}}, "leads nowhere"),
        (OBJECT | {"$defs": {"X": {"$ref": "#/$defs/X"}}}, "leads nowhere"),
        (OBJECT | {"required": "x"}, "list"),
        (OBJECT | {"minProperties": "1"}, "number"),
        (OBJECT | {"properties": {"x": {"multipleOf": 0}}}, "above 0"),
        (OBJECT | {"default": object()}, "JSON"),
        (OBJECT | {"minimum": float("nan")}, "JSON"),
    ],
)
def test_schema_that_cannot_be_checked_is_refused(schema, says):
    with pytest.raises(InvalidRequestError, match=says):
        read_schema(schema)


def test_properties_may_be_named_like_keywords():
    check(OBJECT | {"properties": {"if": {}, "then": {}, "$ref": {"type": "string"}}})


@pytest.mark.parametrize(
    ("title", "name"),
    [("A person", "A_person"), (None, "answer"), ("é" * 3, "_"), ("x" * 99, "x" * 64)],
)
def test_name_is_one_that_providers_take(title, name):
    assert read_schema(OBJECT | {"title": title}).name == name


def test_root_that_only_refers_is_put_out_in_full():
    schema = {"$ref": "#/$defs/X", "$defs": {"X": OBJECT}}

    assert read_schema(schema).json == OBJECT | {"$defs": {"X": OBJECT}}


# --- Held against values ---------------------------------------------------------

FITTING = [
    ({"type": "integer"}, 3.0),
    ({"type": ["string", "null"]}, None),
    ({"enum": [1, "a", None, {"b": [True]}]}, {"b": [True]}),
    ({"const": 1}, 1.0),
    ({"minimum": 1, "maximum": 1, "multipleOf": 0.1}, 1),
    ({"multipleOf": 0.01}, 19.99),
    ({"multipleOf": 0.5}, 1e300),
    ({"exclusiveMinimum": 0}, 0.1),
    ({"minLength": 1, "maxLength": 1, "pattern": "^.$"}, "😀"),
    ({"minItems": 1, "uniqueItems": True}, [1, True, "1"]),
    ({"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, [1, "a"]),
    ({"prefixItems": [{"type": "integer"}], "items": False}, []),
    ({"properties": {"x": False}}, {"y": 1}),
    ({"patternProperties": {"^a": {"type": "integer"}}}, {"ab": 1, "b": "x"}),
    ({"required": ["x"]}, "not an object"),
    ({"minimum": 5}, "not a number"),
    ({"minimum": 5}, True),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
    ({"oneOf": [{"minimum": 5}, {"maximum": 3}]}, 7),
    ({"allOf": [{"minimum": 5}, {"maximum": 7}]}, 6),
    ({"not": {"type": "string"}}, 1),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}}, "x"),
    ({"additionalProperties": {"type": "integer"}}, {"x": 1}),
    ({"format": "date"}, "no date at all"),
    (True, "anything"),
]

MISFITTING = [
    ({"type": "integer"}, True),
    ({"type": "integer"}, 3.5),
    ({"type": "integer"}, "3"),
    ({"type": "number"}, False),
    ({"type": ["string", "null"]}, 0),
    ({"enum": [1]}, True),
    ({"enum": [0, ""]}, False),
    ({"const": {"a": 1}}, {"a": 1, "b": 2}),
    ({"minimum": 1}, 0.5),
    ({"maximum": 1}, 2),
    ({"exclusiveMinimum": 0}, 0),
    ({"exclusiveMaximum": 0}, 0),
    ({"multipleOf": 0.01}, 19.995),
    ({"minLength": 2}, "😀"),
    ({"maxLength": 1}, "ab"),
    ({"pattern": "^a"}, "ba"),
    ({"minItems": 1}, []),
    ({"maxItems": 1}, [1, 2]),
    ({"uniqueItems": True}, [{"a": 1}, {"a": 1.0}]),
    ({"prefixItems": [{"type": "integer"}], "items": False}, [1, 2]),
    ({"items": {"type": "integer"}}, [1, "2"]),
    ({"properties": {"x": False}}, {"x": 1}),
    ({"patternProperties": {"^a": {"type": "integer"}}}, {"ab": "1"}),
    ({"required": ["x"]}, {}),
    ({"minProperties": 1}, {}),
    ({"maxProperties": 0}, {"x": 1}),
    ({"properties": {"x": {}}, "additionalProperties": False}, {"y": 1}),
    ({"additionalProperties": {"type": "integer"}}, {"x": "1"}),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1),
    ({"oneOf": [{"minimum": 5}, {"maximum": 8}]}, 6),
    ({"oneOf": [{"minimum": 5}, {"maximum": 3}]}, 4),
    ({"allOf": [{"minimum": 5}, {"maximum": 7}]}, 8),
    ({"not": {"type": "string"}}, "x"),
    ({"$ref": "#/$defs/X", "maxLength": 1, "$defs": {"X": {"type": "string"}}}, "ab"),
    (False, None),
]


@pytest.mark.parametrize(("schema", "value"), FITTING, ids=str)
def test_value_fits(schema, value):
    assert problems(value, schema) == []


@pytest.mark.parametrize(("schema", "value"), MISFITTING, ids=str)
def test_value_does_not_fit(schema, value):
    assert problems(value, schema) != []


def test_problems_name_the_place_and_what_is_needed():
    value = {"name": 3, "age": 4.5, "colour": "green", "friends": [{}], "nick": []}

    assert problems(value, read_schema(Person).json) == [
        "$.name: string is needed, not integer",
        "$.age: integer is needed, not number",
        "$.colour: it is one of 'red', 'blue'",
        "$.nick: it fits none of 2 schemas",
        "$.friends[0]: 'name' is missing",
        "$.friends[0]: 'age' is missing",
    ]


def test_problem_within_the_one_branch_that_is_meant_is_named():
    schema = schema_of(Person | None)

    assert problems({"name": "A", "age": "old"}, schema) == [
        "$.age: integer is needed, not string"
    ]


def test_problems_do_not_quote_the_answer():
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    closed = {"type": "object", "additionalProperties": False}

    said = problems({"secret": "secret"}, schema) + problems({"secret": 1}, closed)

    assert len(said) == 2
    assert "secret" not in "".join(said)


def test_value_that_is_nested_too_deep_does_not_fit():
    deep = json.loads("[" * 900 + "]" * 900)

    assert problems(deep, {"items": {"$ref": "#"}}) == ["$: it is nested too deep"]


# --- What is made of an answer ---------------------------------------------------


def test_dataclass_is_made_of_its_json():
    text = json.dumps(
        {
            "name": "Ann",
            "age": 41,
            "colour": "blue",
            "friends": [{"name": "Bob", "age": 40, "height": 2}],
        }
    )

    ann = read_schema(Person).read(text)

    assert ann == Person(
        "Ann", 41, Colour.BLUE, friends=[Person("Bob", 40, height=2.0)]
    )
    assert isinstance(ann.friends[0].height, float)


def test_pydantic_model_is_made_of_its_json():
    made = read_schema(Model).read('{"name": "Ann", "age": 3, "tags": ["a"]}')

    assert made == Model(name="Ann", age=3, tags={"a"})


def test_dict_stays_a_dict():
    assert read_schema(OBJECT).read('{"x": 1, "y": 2}') == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"x": 1}\n```',
        '```\n{"x": 1}```',
        '  {"x": 1}\n',
        '```json\n{"x":\n1}\n```\n',
    ],
)
def test_fence_around_an_answer_is_taken_off(text):
    assert read_schema(OBJECT).read(text) == {"x": 1}


@pytest.mark.parametrize(
    "text",
    ["", "Sure!", '{"x": 1', '{"x": NaN}', '{"x": 1} and so on', "[" * 100_000, "[]"],
    ids=["empty", "words", "cut", "nan", "more", "deep", "list"],
)
def test_text_that_is_no_json_object_does_not_fit(text):
    with pytest.raises(MisfitError):
        read_schema(OBJECT).read(text)


def test_complaints_of_a_model_class_are_told_place_by_place():
    with pytest.raises(MisfitError) as caught:
        read_schema(Model).read('{"name": "ann", "age": -1}')

    assert caught.value.private
    assert caught.value.problems == (
        "$.name: Value error, ann has no capital",
        "$.age: Input should be greater than or equal to 0",
    )


@dataclass
class Trip:
    day: date
    at: time | None = None

    def __post_init__(self):
        if self.day.year < 2000:
            raise ValueError("too long ago")


@pytest.mark.parametrize(
    ("day", "says"), [("tomorrow", "isoformat"), ("1999-01-01", "too long ago")]
)
def test_dataclass_that_refuses_its_values_is_a_misfit(day, says):
    with pytest.raises(MisfitError, match=says) as caught:
        read_schema(Trip).read(json.dumps({"day": day}))

    assert caught.value.private


@pytest.mark.parametrize(
    ("hint", "value", "made"),
    [
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple, [1, 2], (1, 2)),
        (set[str], ["a", "a"], {"a"}),
        (frozenset[Colour], ["red"], frozenset({Colour.RED})),
        (dict[str, date], {"a": "2026-11-23"}, {"a": date(2026, 11, 23)}),
        (Literal[1, "a"], 1.0, 1),
        (Literal[Colour.RED], "red", Colour.RED),
        (int | str, "1", "1"),
        (date | int | None, None, None),
        (Person | Address, {"street": "x"}, {"street": "x"}),
        (Decimal, 0.1, Decimal("0.1")),
        (Any, {"a": [1]}, {"a": [1]}),
        (list, [1], [1]),
        (dict, {"a": 1}, {"a": 1}),
        (datetime, "2026-11-23T10:00:00Z", datetime.fromisoformat("2026-11-23T10Z")),
    ],
    ids=str,
)
def test_json_becomes_what_the_type_holds(hint, value, made):
    found = build(hint, value)

    assert found == made
    assert type(found) is type(made)


# --- Dialects --------------------------------------------------------------------

DIALECTS = {"openai": OPENAI, "anthropic": ANTHROPIC, "google": GOOGLE}
each_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


def nodes(schema):
    """Walk over a schema that is written in a dialect."""
    yield schema
    for group in ("properties", "$defs"):
        for part in schema.get(group, {}).values():
            yield from nodes(part)
    for group in ("anyOf", "prefixItems"):
        for part in schema.get(group, ()):
            yield from nodes(part)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from nodes(schema[name])


@each_dialect
@pytest.mark.parametrize("given", [Person, Trip], ids=lambda given: given.__name__)
def test_fitted_schema_has_only_keywords_that_are_known(given, dialect):
    fitted = fit(read_schema(given).json, dialect)

    known = EVERYWHERE | dialect.keywords | {"$ref", "$defs"}
    assert set().union(*nodes(fitted)) <= known


@each_dialect
def test_fitting_leaves_the_schema_alone(dialect):
    schema = read_schema(Person).json
    before = copy.deepcopy(schema)

    fit(schema, dialect)

    assert schema == before


def test_all_is_required_and_closed_for_openai():
    fitted = fit(read_schema(Person).json, OPENAI)

    objects = [node for node in nodes(fitted) if node.get("type") == "object"]
    assert len(objects) == 2
    assert [node["required"] for node in objects] == [
        list(node["properties"]) for node in objects
    ]
    assert {node["additionalProperties"] for node in objects} == {False}


def test_what_may_be_left_out_may_be_null_for_openai():
    properties = fit(read_schema(Person).json, OPENAI)["properties"]

    assert properties["height"] == {
        "anyOf": [
            {"type": "number", "description": "in metres (default: 1.7)"},
            {"type": "null"},
        ]
    }
    assert properties["name"]["type"] == "string"
    assert properties["nick"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}


def test_what_may_be_left_out_stays_so_for_anthropic():
    fitted = fit(read_schema(Person).json, ANTHROPIC)

    assert fitted["required"] == ["name", "age"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"type": "object", "additionalProperties": True}}},
        {"properties": {"x": {"type": "object"}}},
        {"properties": {"x": {}}},
        {"properties": {"x": {"allOf": [{"type": "string"}, {"minLength": 2}]}}},
        {"properties": {"x": {"type": "array"}}},
        {"properties": {}, "patternProperties": {"^x": {"type": "string"}}},
        {"properties": {"x": schema_of(dict[str, int])}},
        {"properties": {"x": schema_of(tuple[int, str])}},
    ],
)
@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
def test_closed_dialect_has_no_words_for_open_schemas(schema, dialect):
    assert fit({"type": "object"} | schema, dialect) is None


@pytest.mark.parametrize(
    ("node", "dialect", "fitted"),
    [
        ({"const": "a"}, GOOGLE, {"enum": ["a"], "type": "string"}),
        (
            {"type": ["string", "null"], "description": "d"},
            ANTHROPIC,
            {"description": "d", "anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        (
            {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            OPENAI,
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        ({"allOf": [{"$ref": "#/$defs/S"}]}, OPENAI, {"type": "string"}),
        (
            {"$ref": "#/$defs/S", "description": "own"},
            GOOGLE,
            {"type": "string", "description": "own"},
        ),
        (
            {"type": "string", "format": "uri", "title": "T"},
            OPENAI,
            {"type": "string", "description": '(format: "uri")'},
        ),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 3},
            ANTHROPIC,
            {
                "type": "array",
                "items": {"type": "string"},
                "description": "(minItems: 3)",
            },
        ),
        (
            {"type": "string", "maxLength": 9, "description": "A name."},
            OPENAI,
            {"type": "string", "description": "A name. (maxLength: 9)"},
        ),
        ({"enum": ["a", None]}, OPENAI, None),
        (
            {"type": "string", "pattern": "^(?!x)"},
            OPENAI,
            {"type": "string", "description": '(pattern: "^(?!x)")'},
        ),
        (
            {"type": "string", "pattern": "^(?!x)"},
            GOOGLE,
            {"type": "string", "pattern": "^(?!x)"},
        ),
    ],
)
def test_words_of_one_dialect_are_put_into_another(node, dialect, fitted):
    schema = {
        "type": "object",
        "properties": {"x": node},
        "required": ["x"],
        "$defs": {"S": {"type": "string"}},
    }
    either = {"anyOf": [{"enum": ["a"], "type": "string"}, {"type": "null"}]}

    assert fit(schema, dialect)["properties"]["x"] == (fitted or either)


# --- Round trips -----------------------------------------------------------------

LEAVES = {
    str: st.text(max_size=5),
    int: st.integers(-(10**6), 10**6),
    float: st.floats(allow_nan=False, allow_infinity=False, width=32),
    bool: st.booleans(),
    date: st.dates(),
    UUID: st.uuids(),
    Colour: st.sampled_from(Colour),
    Literal["a", "b"]: st.sampled_from(["a", "b"]),
    Decimal: st.decimals(-1000, 1000, places=2),
}


def plain(value):
    """Write as JSON what a type holds."""
    if dataclasses.is_dataclass(value):
        return {
            entry.name: plain(getattr(value, entry.name))
            for entry in dataclasses.fields(value)
        }
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, (date, UUID)) else value


def hints(children):
    names = st.lists(st.sampled_from(["a", "items", "type"]), unique=True, min_size=1)
    return st.one_of(
        children.map(lambda pair: (list[pair[0]], st.lists(pair[1], max_size=3))),
        children.map(lambda pair: (pair[0] | None, st.none() | pair[1])),
        children.map(
            lambda pair: (
                dict[str, pair[0]],
                st.dictionaries(st.text(max_size=3), pair[1], max_size=2),
            )
        ),
        st.tuples(children, children).map(
            lambda pairs: (
                tuple[pairs[0][0], pairs[1][0]],
                st.tuples(pairs[0][1], pairs[1][1]),
            )
        ),
        st.builds(record, names, st.lists(children, min_size=3, max_size=3)),
    )


def record(names, pairs):
    fields = [(name, pair[0]) for name, pair in zip(names, pairs, strict=False)]
    made = dataclasses.make_dataclass("Record", fields, frozen=True)
    values = {name: pair[1] for name, pair in zip(names, pairs, strict=False)}
    return made, st.builds(made, **values)


TYPES = st.recursive(st.sampled_from(list(LEAVES.items())), hints, max_leaves=6)


@given(TYPES, st.data())
def test_what_a_type_holds_comes_back_from_its_json(pair, data):
    hint, values = pair
    value = data.draw(values)
    written = json.loads(json.dumps(plain(value)))

    assert problems(written, schema_of(hint)) == []
    assert build(hint, written) == value


@given(TYPES)
def test_schema_of_a_type_is_one_that_is_taken(pair):
    schema = schema_of(pair[0])

    check(schema)
    assert problems(sample(schema), schema) == []


@given(TYPES)
def test_answer_in_a_dialect_fits_the_schema_that_was_meant(pair):
    record_type = dataclasses.make_dataclass("Root", [("x", pair[0])])
    schema = read_schema(record_type).json
    for dialect in DIALECTS.values():
        fitted = fit(schema, dialect)
        if fitted is not None:
            assert problems(relaxed(sample(fitted), schema), schema) == []


@given(
    st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(), max_size=4),
    st.sets(st.sampled_from("abcd")),
    st.sets(st.sampled_from("abcd")),
)
def test_nulls_are_left_out_only_where_they_stand_for_nothing(value, needed, nullable):
    kinds = {
        name: {"type": ["integer", "null"] if name in nullable else "integer"}
        for name in "abcd"
    }
    schema = {"type": "object", "properties": kinds, "required": sorted(needed)}

    left = relaxed(value, schema)

    gone = value.keys() - left.keys()
    assert all(value[name] is None for name in gone)
    assert gone.isdisjoint(needed | nullable)
    assume(needed <= value.keys())
    assert bool(problems(left, schema)) == any(
        value[name] is None and name not in nullable for name in needed
    )


@pytest.mark.parametrize(
    ("schema", "value", "left"),
    [
        ({"items": OBJECT}, [{"x": None}], [{}]),
        ({"anyOf": [OBJECT, {"type": "null"}]}, {"x": None}, {}),
        ({"allOf": [OBJECT]}, {"x": None}, {}),
        ({"prefixItems": [OBJECT]}, [{"x": None}, {"x": None}], [{}, {"x": None}]),
        ({"additionalProperties": OBJECT}, {"k": {"x": None}}, {"k": {}}),
        ({"$ref": "#/$defs/O", "$defs": {"O": OBJECT}}, {"x": None}, {}),
        (OBJECT, {"y": None}, {"y": None}),
        (OBJECT | {"required": ["x"]}, {"x": None}, {"x": None}),
        (True, {"x": None}, {"x": None}),
    ],
)
def test_nulls_are_found_wherever_they_stand(schema, value, left):
    assert relaxed(value, schema) == left
