"""generateContent: what generations of models refuse."""

from __future__ import annotations

import re
from typing import Any

from flask_llm.emulator.dialect import Problem, RejectedError

_THINKING = "generation_config.thinking_config"
_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
_NO_LEVELS = re.compile(r"gemini-[12]\b")
_ARGON = re.compile(r"gemini-4-argon")
_NO_MINIMAL = re.compile(r"gemini-\d.*-pro|gemini-3\.7-flash|gemini-4-argon")
_ALWAYS_THINKS = re.compile(r"gemini-2\.5-pro")
_FUNCTION = re.compile(r"[A-Za-z_][\w.:-]{0,127}")
_STOPS_MAX = 5


def check_thinking(model: str, config: dict[str, Any]) -> None:
    """Refuse levels and budgets that a model has not."""
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if level is not None and budget is not None:
        raise refused(
            "You can only set only one of thinking budget and thinking level.",
            _THINKING,
        )
    if budget is not None and _ARGON.match(model):
        raise refused("thinking_budget is not supported by this model.", _THINKING)
    if budget == 0 and _ALWAYS_THINKS.match(model):
        raise refused(
            "Budget 0 is invalid. This model only works in thinking mode.", _THINKING
        )
    if level is not None:
        _check_level(model, level)


def _check_level(model: str, level: object) -> None:
    if level not in _LEVELS:
        raise refused(f"Invalid value at '{_THINKING}': {level}", _THINKING)
    if _NO_LEVELS.match(model):
        raise refused("thinking_level is not supported by this model.", _THINKING)
    unknown = (level == "MINIMAL" and _NO_MINIMAL.match(model)) or (
        level == "XHIGH" and _ARGON.match(model)
    )
    if unknown:
        raise refused(
            f"thinking_level {level} is not supported by this model.", _THINKING
        )


def check_config(
    model: str, config: dict[str, Any], functions: list[dict[str, Any]]
) -> None:
    """Refuse what does not go together, or is too much."""
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise refused(
            "Only one of response_schema and response_json_schema is allowed."
        )
    if len(config.get("stopSequences") or ()) > _STOPS_MAX:
        raise refused(
            f"stop_sequences: at most {_STOPS_MAX} are supported by this model.",
            "generation_config.stop_sequences",
        )
    mime = config.get("responseMimeType")
    if functions and mime == "application/json" and _NO_LEVELS.match(model):
        raise refused(
            f"Function calling with a response mime type: '{mime}' is unsupported",
            "generation_config.response_mime_type",
        )
    for function in functions:
        if not _FUNCTION.fullmatch(str(function.get("name") or "")):
            raise refused(
                "Invalid function name. Must start with a letter or an underscore.",
                "tools.function_declarations.name",
            )


def refused(message: str, field: str | None = None) -> RejectedError:
    """Refuse a request in Google's way."""
    return RejectedError(Problem(status=400, message=message, param=field))
