"""Texts split to what a provider takes at a time, and their vectors joined again."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from flask_llm import tokens
from flask_llm.chat import Embeddings, Inputs, Usage
from flask_llm.errors import LLMError
from flask_llm.protocols import Caps


def batches(inputs: Inputs, caps: Caps) -> Iterator[Inputs]:
    """Split texts, in their order, into as few requests as surely fit.

    A text that is too long by itself is sent as it is: the provider says so.
    """
    texts: list[str] = []
    counted = 0
    for text in inputs.texts:
        count = tokens.estimate(text, tokens.WORST)
        full = len(texts) == caps.texts
        heavy = caps.tokens is not None and counted + count > caps.tokens
        if texts and (full or heavy):
            yield replace(inputs, texts=tuple(texts))
            texts, counted = [], 0
        texts.append(text)
        counted += count
    yield replace(inputs, texts=tuple(texts))


def joined(parts: Sequence[Embeddings]) -> Embeddings:
    """Put what several requests brought into one answer."""
    sources = [part.cost_source for part in parts if not part.cached]
    return replace(
        parts[-1],
        vectors=tuple(vector for part in parts for vector in _own(part)),
        usage=sum((part.usage for part in parts), Usage()),
        cost_usd=_sum(parts),
        cost_source=_least_known(sources) if sources else "cache",
        cached=not sources,
        attempts=sum(part.attempts for part in parts),
        latency_ms=sum(part.latency_ms for part in parts),
    )


def charge(error: LLMError, parts: Sequence[Embeddings]) -> None:
    """Write on the error of one request what those before it have cost."""
    paid = [part for part in parts if not part.cached]
    if not paid:
        return
    usages = [part.usage for part in paid]
    if error.usage is not None:
        usages.append(error.usage)
    before = _sum(paid)
    error.usage = sum(usages, Usage())
    error.cost_usd = None if before is None else before + (error.cost_usd or 0)
    error.attempts += sum(part.attempts for part in paid)
    error.add_note(f"Batches before it that are paid for: {len(paid)}.")


def _own(part: Embeddings) -> Sequence[array[float]]:
    """Return vectors that the caller may write into: kept ones are handed out twice."""
    return [vector[:] for vector in part] if part.cached else part.vectors


def _sum(parts: Sequence[Embeddings]) -> Decimal | None:
    costs = [part.cost_usd for part in parts]
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _least_known(sources: Sequence[str]) -> str:
    return "none" if "none" in sources else sources[-1]
