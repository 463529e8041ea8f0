"""Histories that a browser hands back: turns, images, files, tool calls and results."""

import contextlib

from flask_llm.chat import read_messages
from flask_llm.errors import InvalidRequestError
from fuzz import common

_PIXEL = "data:image/png;base64,iVBORw0KGgo="
_CALL = {"id": "c1", "name": "add", "arguments": {"a": 1}}
_DELTA = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a'}}
SEEDS = common.seeds(
    "Hello",
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    [{"role": "user", "content": [{"type": "image", "url": _PIXEL, "detail": "low"}]}],
    [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": _PIXEL}}],
        }
    ],
    [
        {
            "role": "user",
            "content": [{"type": "image", "url": "data:text/plain;x,a%20b"}],
        }
    ],
    [{"role": "user", "content": [{"type": "file", "file": {"file_data": _PIXEL}}]}],
    [
        {
            "role": "user",
            "content": [{"type": "image", "url": "https://example.com/a.png"}],
        }
    ],
    [{"role": "user", "content": [{"type": "image", "data": "iVBORw0KGgo="}]}],
    [
        {"role": "user", "content": "Add."},
        {"role": "assistant", "tool_calls": [_CALL, _DELTA]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ],
    [
        {"role": "assistant", "content": [{"type": "tool_call"} | _CALL]},
        {
            "role": "tool",
            "content": [
                {
                    "type": "tool_result",
                    "tool_call_id": "c1",
                    "content": "3",
                    "name": "add",
                    "is_error": True,
                    "media": [{"type": "image", "url": _PIXEL}],
                }
            ],
        },
        {"role": "user", "content": "Well?"},
    ],
    [
        {
            "role": "assistant",
            "content": "Hi",
            "provider_state": {
                "provider": "groq",
                "model": "m",
                "raw": [{"type": "x"}],
            },
        },
        {"role": "user", "content": "Well?"},
    ],
)


def check(data):
    """A history can be sent in every wire format, or is refused by name."""
    given = common.load(data)
    with contextlib.suppress(InvalidRequestError):
        common.send_back(*read_messages(given))
