"""Answers as JSON texts, and which of them are worth keeping."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from flask_llm.chat import Completion, Embeddings, Text, Usage
from flask_llm.errors import LLMError
from flask_llm.guards.cache import vectors

Answer = Completion | Embeddings
"""What can be kept."""

_WORDS = (
    "reasoning",
    "finish_reason",
    "raw_finish_reason",
    "service_tier",
    "served_model",
    "response_id",
)


def is_final(completion: Answer) -> bool:
    """Whether an answer is whole, unrefused and asks for no tool."""
    return isinstance(completion, Embeddings) or (
        completion.finish_reason == "stop"
        and not completion.refusal
        and all(isinstance(part, Text) for part in completion.content)
        and bool(completion.text.strip())
    )


def write(completion: Answer) -> str:
    """Write an answer as JSON."""
    cost = completion.cost_usd
    usage = {name: getattr(completion.usage, name) for name in Usage.__slots__}
    return json.dumps(
        {
            **_content(completion),
            "usage": usage,
            "cost_usd": None if cost is None else str(cost),
        }
    )


def _content(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Embeddings):
        return vectors.write(answer)
    return {
        "texts": [part.text for part in answer.content if isinstance(part, Text)],
        **{name: getattr(answer, name) for name in _WORDS},
    }


def read(kept: object) -> Answer | None:
    """Read an answer back; None where the text is not one of ours.

    ``cost_usd`` is what it cost when it was asked for.
    """
    if not isinstance(kept, str):
        return None
    try:
        completion = _answer(json.loads(kept))
    except (
        ArithmeticError,
        KeyError,
        LLMError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        return None
    return completion if is_final(completion) else None


def as_kept(completion: Answer) -> Answer | None:
    """Return an answer as it would come from the cache; None where it may not."""
    return read(write(completion)) if is_final(completion) else None


def _answer(kept: Mapping[str, Any]) -> Answer:
    if "vectors" in kept:
        return Embeddings(
            vectors=vectors.read(kept["vectors"]),
            usage=_usage(kept["usage"]),
            cost_usd=_cost(kept["cost_usd"]),
            served_model=_word(kept["served_model"]),
            service_tier=_word(kept["service_tier"]),
            cached=True,
        )
    return _completion(kept)


def _completion(kept: Mapping[str, Any]) -> Completion:
    return Completion(
        content=tuple(Text(text) for text in _texts(kept["texts"])),
        usage=_usage(kept["usage"]),
        cost_usd=_cost(kept["cost_usd"]),
        cached=True,
        **{name: _word(kept[name]) for name in _WORDS},
    )


def _texts(kept: object) -> list[str]:
    if not isinstance(kept, list) or not all(isinstance(text, str) for text in kept):
        raise TypeError
    return kept


def _usage(kept: Mapping[str, Any]) -> Usage:
    counts = dict(kept)
    source = counts.pop("source")
    if not isinstance(source, str):
        raise TypeError
    for count in counts.values():
        if type(count) is not int or count < 0:
            raise ValueError
    return Usage(source=source, **counts)


def _cost(kept: object) -> Decimal | None:
    if kept is None:
        return None
    if not isinstance(kept, str):
        raise TypeError
    cost = Decimal(kept)
    if not cost.is_finite() or cost < 0:
        raise ValueError
    return cost


def _word(kept: object) -> Any:
    if kept is not None and not isinstance(kept, str):
        raise TypeError
    return kept
