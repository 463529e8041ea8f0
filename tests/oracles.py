"""What the official SDKs' own types say of a request."""

import functools
import importlib
import warnings
from collections.abc import Iterable

import pytest

TYPES = {
    "chat_completions": (
        "openai.types.chat.completion_create_params",
        "CompletionCreateParams",
    ),
    "responses": (
        "openai.types.responses.response_create_params",
        "ResponseCreateParams",
    ),
    "messages": ("anthropic.types.message_create_params", "MessageCreateParams"),
    "responses_count": (
        "openai.types.responses.input_token_count_params",
        "InputTokenCountParams",
    ),
    "messages_count": (
        "anthropic.types.message_count_tokens_params",
        "MessageCountTokensParams",
    ),
}


def known(protocol, body):
    """Return as much of a request as the SDK's types know; raises where one is wrong.

    A field that they do not know is missing from it, at any depth.
    """
    kind = "Streaming" if body.get("stream") else "NonStreaming"
    if protocol.endswith("_count"):
        kind = ""
    return _drawn(_adapter(protocol, kind).validate_python(body))


def _drawn(value):
    """Turn the iterators that pydantic checks as they are read into lists."""
    if isinstance(value, dict):
        return {name: _drawn(item) for name, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_drawn(item) for item in value]
    return value


def fields(protocol):
    """Return the names of all fields that a request may have."""
    return set(_type(protocol, "NonStreaming").__annotations__)


def _type(protocol, kind):
    module, name = TYPES[protocol]
    library = module.partition(".")[0]
    pytest.importorskip(library, reason="an official SDK is the oracle here")
    return getattr(importlib.import_module(module), name + kind)


@functools.cache
def _adapter(protocol, kind):
    pydantic = pytest.importorskip("pydantic")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydantic.TypeAdapter(_type(protocol, kind))
