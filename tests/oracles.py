"""What the official SDKs' own types say of a request."""

import functools
import importlib
import json
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
    "anthropic_messages": (
        "anthropic.types.message_create_params",
        "MessageCreateParams",
    ),
    "responses_count": (
        "openai.types.responses.input_token_count_params",
        "InputTokenCountParams",
    ),
    "messages_count": (
        "anthropic.types.message_count_tokens_params",
        "MessageCountTokensParams",
    ),
}
GOOGLE = {
    "contents": "list[Content]",
    "systemInstruction": "Content",
    "tools": "list[Tool]",
    "toolConfig": "ToolConfig",
    "safetySettings": "list[SafetySetting]",
    "generationConfig": "GenerationConfig",
    "serviceTier": "ServiceTier",
    "cachedContent": "str",
    "labels": "dict[str, str]",
    "continuationToken": "str",
}
"""The fields of a request to Google and their types: the SDK has none for the whole."""


def known(protocol, body):
    """Return as much of a request as the SDK's types know; raises where one is wrong.

    A field that they do not know is missing from it, at any depth, or raises too.
    """
    if protocol == "generate_content":
        read = {name: _google(name, value) for name, value in body.items()}
        return {name: value for name, value in read.items() if value is not None}
    kind = "Streaming" if body.get("stream") else "NonStreaming"
    if protocol.endswith("_count"):
        kind = ""
    return _drawn(_adapter(protocol, kind).validate_python(body))


def _google(name, value):
    if name not in GOOGLE:
        return None
    adapter = _google_adapter(GOOGLE[name])
    read = adapter.validate_json(json.dumps(value))
    dumped = adapter.dump_python(read, mode="json", by_alias=True, exclude_unset=True)
    return _plain_base64(dumped)


def _plain_base64(value):
    """Write signatures as the API does: the SDK writes the letters that URLs take."""
    if isinstance(value, list):
        return [_plain_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: _plain_base64(item) for name, item in value.items()}
    if isinstance(signature := plain.get("thoughtSignature"), str):
        plain["thoughtSignature"] = signature.replace("-", "+").replace("_", "/")
    return plain


def known_as(module, name, body):
    """Return as much of a request as some type of an SDK knows, likewise."""
    pytest.importorskip(module.partition(".")[0], reason="an SDK is the oracle here")
    pydantic = pytest.importorskip("pydantic")
    kind = getattr(importlib.import_module(module), name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _drawn(pydantic.TypeAdapter(kind).validate_python(body))


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


@functools.cache
def _google_adapter(kind):
    pydantic = pytest.importorskip("pydantic")
    types = pytest.importorskip("google.genai.types")
    known_names = {name: getattr(types, name) for name in dir(types)}
    return pydantic.TypeAdapter(eval(kind, known_names))
