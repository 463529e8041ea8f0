"""Embeddings as Google speaks them: ``batchEmbedContents``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flask_llm.chat import Embeddings, Inputs, Usage
from flask_llm.protocols.base import array, count, merged, present, readable
from flask_llm.protocols.embeddings.base import Caps, matching, vector
from flask_llm.providers import Provider
from flask_llm.wire import Call

TEXTS = 100
"""At most so many "requests can be in one batch", Google says where there are more
(https://github.com/langchain-ai/langchainjs/issues/4491)."""


def caps(provider: Provider) -> Caps:
    """Tell what one request may hold."""
    del provider
    return Caps(TEXTS)


def render(inputs: Inputs, provider: Provider) -> Call:
    """Turn texts into the request.

    ``extra`` is merged into the part of each text, where ``taskType`` and ``title``
    belong.
    """
    del provider
    name = inputs.model.removeprefix("models/")
    requests = [_request(name, text, inputs) for text in inputs.texts]
    path = f"/v1/models/{quote(name, safe='')}:batchEmbedContents"
    return Call(path=path, body={"requests": requests})


def _request(name: str, text: str, inputs: Inputs) -> dict[str, Any]:
    body = {"model": f"models/{name}", "content": {"parts": [{"text": text}]}}
    options = present({"outputDimensionality": inputs.dimensions})
    return merged(body | options, inputs.extra)


@readable
def parse(raw: Mapping[str, Any], texts: int) -> Embeddings:
    """Turn an answer into vectors, in the order of the texts."""
    vectors = [vector(item["values"]) for item in array(raw["embeddings"])]
    return Embeddings(vectors=matching(vectors, texts), usage=_usage(raw))


def _usage(raw: Mapping[str, Any]) -> Usage:
    """Read the tokens; older models count none."""
    tokens = count(raw.get("usageMetadata"), "promptTokenCount")
    return Usage(input_tokens=tokens) if tokens else Usage(source="estimated")
