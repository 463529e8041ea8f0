"""embedContent and batchEmbedContents: what requests look like, and the answers."""

from __future__ import annotations

import re
from typing import Any

from flask_llm.emulator.dialect import (
    Ask,
    Call,
    Problem,
    RejectedError,
    Reply,
    dicts,
    mapping,
    text_of,
    tokens,
)
from flask_llm.emulator.generate_content.request import camel

from .vectors import vector

_KNOWN = frozenset(
    {
        "model",
        "content",
        "taskType",
        "title",
        "outputDimensionality",
        "embedContentConfig",
    }
)
_TEXTS = 100


def read_one(call: Call) -> Ask:
    """Check an ``embedContent`` as Google does and say what it asks for."""
    return _ask(call, [call.body])


def read_batch(call: Call) -> Ask:
    """Check a ``batchEmbedContents`` as Google does and say what it asks for."""
    requests = dicts(call.body.get("requests"))
    if call.strict and set(call.body) != {"requests"}:
        raise _refused('Invalid JSON payload received. Expected "requests" alone.')
    if not requests:
        raise _refused("* BatchEmbedContentsRequest.requests: not specified\n")
    if len(requests) > _TEXTS:
        raise _refused(
            f"* BatchEmbedContentsRequest.requests: at most {_TEXTS} requests can be "
            "in one batch\n"
        )
    for request in requests:
        if request.get("model") != f"models/{call.model}":
            raise _refused(
                "* BatchEmbedContentsRequest.requests[0].model: model name must match "
                "the one in the path\n"
            )
    return _ask(call, requests)


def whole_one(ask: Ask, reply: Reply) -> dict[str, Any]:
    """Write the answer to an ``embedContent``."""
    return {"embedding": _embeddings(ask)[0], **_usage(reply)}


def whole_batch(ask: Ask, reply: Reply) -> dict[str, Any]:
    """Write the answer to a ``batchEmbedContents``."""
    return {"embeddings": _embeddings(ask), **_usage(reply)}


def _ask(call: Call, requests: list[dict[str, Any]]) -> Ask:
    if re.match(r"gemini-\d", call.model):
        message = (
            f"models/{call.model} is not found for API version {call.version}, or is "
            f"not supported for embedContent. Call ListModels to see the list of "
            "available models and their supported methods."
        )
        raise RejectedError(Problem(status=404, message=message))
    bodies = [camel(request) for request in requests]
    texts = tuple(_text(body, strict=call.strict) for body in bodies)
    return Ask(
        model=call.model,
        serial=call.serial,
        stream=False,
        input_tokens=sum(tokens(text) for text in texts),
        texts=texts,
        dimensions=bodies[0].get("outputDimensionality"),
    )


def _text(body: dict[str, Any], *, strict: bool) -> str:
    for name in sorted(set(body) - _KNOWN):
        if strict:
            message = f'Invalid JSON payload received. Unknown name "{name}".'
            raise _refused(message, name)
    text = text_of(mapping(body.get("content")).get("parts"))
    if not text:
        raise _refused("* EmbedContentRequest.content contains an empty Part.\n")
    return text


def _embeddings(ask: Ask) -> list[dict[str, Any]]:
    return [{"values": vector(text, ask.dimensions)} for text in ask.texts]


def _usage(reply: Reply) -> dict[str, Any]:
    if reply.usage is None:
        return {}
    count = reply.usage.input
    details = [{"modality": "TEXT", "tokenCount": count}]
    return {"usageMetadata": {"promptTokenCount": count, "promptTokenDetails": details}}


def _refused(message: str, field: str | None = None) -> RejectedError:
    return RejectedError(Problem(status=400, message=message, param=field))
