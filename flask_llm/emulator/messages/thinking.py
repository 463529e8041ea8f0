"""Messages: which kinds of thinking and which efforts models refuse."""

from __future__ import annotations

import re
from typing import Any

from flask_llm.emulator.dialect import Problem, RejectedError, mapping

# Anthropic keeps 1 024 tokens as the least that thinking can be given.
_LEAST_BUDGET = 1024
_ALWAYS_THINKS = re.compile(r"claude-(fable|mythos)-5|claude-opus-5-5")
_THINKS_BETWEEN = re.compile(r"claude-sonnet-5-5")
_STRONG = ("xhigh", "max")


def check_thinking(
    model: str, generation: tuple[int, int], body: dict[str, Any]
) -> None:
    """Refuse thinking and effort that a model has not, or that do not go together.

    :param generation: the model's, as ``(4, 6)``.
    """
    kind = mapping(body.get("thinking")).get("type")
    effort = mapping(body.get("output_config")).get("effort")
    if kind is not None and kind not in _kinds(model, generation):
        raise refused(f"thinking.type: '{kind}' is not supported by this model")
    if effort is not None and not _knows(model, generation, effort):
        raise refused(
            f"output_config.effort: '{effort}' is not supported by this model"
        )
    if kind in ("disabled", "between_tools") and effort in _STRONG:
        raise refused(
            f"output_config.effort: '{effort}' is not supported by this model with "
            f"thinking.type '{kind}'"
        )
    if kind == "enabled":
        _check_budget(body)


def _kinds(model: str, generation: tuple[int, int]) -> tuple[str, ...]:
    if _ALWAYS_THINKS.search(model):
        return ("adaptive",)
    if _THINKS_BETWEEN.search(model):
        return ("adaptive", "between_tools")
    if generation >= (4, 7):
        return ("adaptive", "disabled")
    if generation == (4, 6):
        return ("adaptive", "enabled", "disabled")
    return ("enabled", "disabled")


def _knows(model: str, generation: tuple[int, int], effort: str) -> bool:
    if generation <= (4, 5) and "opus-4-5" not in model:
        return False
    return effort != "xhigh" or generation >= (4, 7)


def _check_budget(body: dict[str, Any]) -> None:
    budget = mapping(body.get("thinking")).get("budget_tokens")
    if not isinstance(budget, int) or budget < _LEAST_BUDGET:
        raise refused(
            "thinking.enabled.budget_tokens: Input should be greater than or equal "
            f"to {_LEAST_BUDGET}"
        )
    if budget >= body["max_tokens"]:
        raise refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if mapping(body.get("tool_choice")).get("type") in ("any", "tool"):
        raise refused("Thinking may not be enabled when tool_choice forces tool use.")


def refused(message: str) -> RejectedError:
    """Refuse a request in Anthropic's way."""
    return RejectedError(Problem(status=400, message=message))
