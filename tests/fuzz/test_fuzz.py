"""Every target for a moment: whatever comes, no crash but the package's own errors."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzz import TARGETS, changes

EXAMPLES = 150

each_target = pytest.mark.parametrize("name", TARGETS)
briefly = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)

SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
)
DEEP = b'{"a":' * 900 + b"1" + b"}" * 900
"""As deep as Python reads JSON, and deeper than it writes some."""

# Found by these checks, each a crash before it was mended.
FOUND = {
    "vectors": [{"data": [{"embedding": [10**400]}]}],
    "batches": [
        {"id": "b", "status": "completed", "created_at": 10**30},
        {"name": "\ud800", "metadata": {"state": "BATCH_STATE_SUCCEEDED"}},
        {"custom_id": "b" * 26 + "00001e400001", "result": {"type": "canceled"}},
    ],
    "setup": [
        {"LLM_PRICES": [1]},
        {"LLM_FALLBACKS": {"a/b": 1}},
        {"LLM_TIMEOUT": 10**400},
    ],
    "histories": [
        [
            {
                "role": "assistant",
                "content": "Hi",
                "provider_state": {"provider": provider, "model": "m", "raw": raw},
            },
            {"role": "user", "content": "Well?"},
        ]
        for provider in ("anthropic", "google", "groq")
        for raw in (7, [[]], [{"functionCall": 5}], [{"type": "custom_tool_call"}])
    ]
    + [[{"role": "user", "content": [{"type": "image", "url": "u", "detail": 1e999}]}]],
}


def checks(name):
    return importlib.import_module(f"fuzz.{name}")


@each_target
def test_seeds_are_read(name):
    for seed in checks(name).SEEDS:
        checks(name).check(seed)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in FOUND for value in FOUND[name]]
)
def test_what_was_found_stays_mended(name, value):
    checks(name).check(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": {"a": 1}}, "{}"),
        ({"type": "object", "required": [{}]}, "{}"),
        ({"type": "object", "properties": {"a": {"multipleOf": 1}}}, '{"a": 1e400}'),
    ],
)
def test_what_was_found_of_schemas_stays_mended(schema, text):
    checks("schemas").check(f"{json.dumps(schema)}\n{text}".encode())


@each_target
@briefly
@given(chance=st.randoms(use_true_random=False))
def test_what_is_nearly_right_is_read_or_refused(name, chance):
    target = checks(name)

    target.check(changes.changed(chance, target.SEEDS))


@each_target
@briefly
@given(value=SHAPES)
def test_json_of_any_shape_is_read_or_refused(name, value):
    checks(name).check(json.dumps(value).encode())


@each_target
@briefly
@example(b"")
@example(DEEP)
@example(b"data: " + DEEP + b"\n\n")
@example(b"[" * 100_000)
@example(b"data: " + b"x" * 1_000_000)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name, data):
    checks(name).check(data)


def test_the_command_feeds_a_target_and_says_how_often():
    command = [sys.executable, Path(__file__).parent, "grammar"]

    run = subprocess.run(
        [*command, "--plain", "--seconds", "1", "--seed", "1"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout.startswith("grammar: ")
    assert run.stdout.endswith(" checks, seed 1\n")
