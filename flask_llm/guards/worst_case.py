"""The worst that one request can cost, from what is sent and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask_llm import tokens
from flask_llm.chat import Inputs, Prompt, Question
from flask_llm.pricing import Cost, Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """What a request can take at most."""

    model: str
    """``provider/model``."""
    input_tokens: int
    output_tokens: int | None
    """None where nothing caps the answer."""
    service_tier: str | None
    """The tier that is asked for."""
    hour_cache: bool
    """Whether the provider may be told to keep the prompt for an hour."""

    def cost(self, prices: Prices, output_tokens: int, *, batch: bool = False) -> Cost:
        """Return what the input and so much of an answer cost at most.

        :param batch: whether at a batch's prices.
        """
        return prices.ceiling(
            self.model,
            input_tokens=self.input_tokens,
            output_tokens=output_tokens,
            service_tier=self.service_tier,
            hour_cache=self.hour_cache,
            batch=batch,
        )


def worst_case(
    question: Question, body: Mapping[str, Any], *, input_tokens: int | None = None
) -> WorstCase:
    """Return what a request can take at most.

    :param body: as it is sent.
    :param input_tokens: where they are known better than by :func:`input_ceiling`.
    """
    if input_tokens is None:
        input_tokens = tokens.input_ceiling(question, body)
    vectors = isinstance(question, Inputs)
    tier = "fast" if body.get("speed") == "fast" else body.get("service_tier")
    return WorstCase(
        model=question.full_model,
        input_tokens=input_tokens,
        output_tokens=0 if vectors else tokens.output_ceiling(body),
        service_tier=tier,
        hour_cache=_may_keep_for_an_hour(question),
    )


def _may_keep_for_an_hour(question: Question) -> bool:
    """Tell whether the provider may be told to; ``extra`` can say anything."""
    return bool(question.extra) or (
        isinstance(question, Prompt) and question.prompt_cache == "1h"
    )
