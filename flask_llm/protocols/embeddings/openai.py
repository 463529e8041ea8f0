"""Embeddings as OpenAI and the servers that are compatible with it speak them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_llm.chat import Embeddings, Inputs, Usage
from flask_llm.protocols.base import array, count, merged, present, readable, word
from flask_llm.protocols.chat_completions.response import reported_cost
from flask_llm.protocols.embeddings.base import Caps, matching, vector
from flask_llm.providers import Provider
from flask_llm.wire import Call


def caps(provider: Provider) -> Caps:
    """Tell what one request may hold."""
    return Caps(provider.quirks.embed_texts, provider.quirks.embed_tokens)


def render(inputs: Inputs, provider: Provider) -> Call:
    """Turn texts into the request."""
    quirks = provider.quirks
    options = {
        quirks.dimensions: inputs.dimensions,
        "encoding_format": "base64" if quirks.embed_base64 else None,
    }
    body = {"model": inputs.model, "input": list(inputs.texts)} | present(options)
    return Call(path="/embeddings", body=merged(body, inputs.extra))


@readable
def parse(raw: Mapping[str, Any], texts: int) -> Embeddings:
    """Turn an answer into vectors, in the order of the texts."""
    found = dict(_placed(place, item) for place, item in enumerate(array(raw["data"])))
    vectors = [vector(found[place]) for place in sorted(found)]
    reported = reported_cost(raw)
    return Embeddings(
        vectors=matching(vectors, texts),
        usage=_usage(raw),
        cost_usd=reported,
        cost_source="none" if reported is None else "provider",
        served_model=word(raw.get("model")),
    )


def _placed(place: int, item: Mapping[str, Any]) -> tuple[int, object]:
    """Return where a vector belongs; some servers leave that to their order."""
    index = item.get("index", place)
    if type(index) is not int:
        raise TypeError
    return index, item["embedding"]


def _usage(raw: Mapping[str, Any]) -> Usage:
    usage = raw.get("usage")
    tokens = count(usage, "prompt_tokens") or count(usage, "total_tokens")
    if not tokens:
        return Usage(source="estimated")
    return Usage(input_tokens=tokens)
