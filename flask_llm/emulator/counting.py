"""Counting endpoints: requests as for an answer, less what only an answer needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .chat_completions.rules import refused
from .dialect import Ask, Call, Problem, RejectedError, Reply, mapping
from .generate_content import GENERATE_CONTENT
from .generate_content.request import camel
from .messages import MESSAGES
from .responses import RESPONSES

_OPENAI = frozenset(
    """conversation input instructions model parallel_tool_calls personality
    previous_response_id reasoning text tool_choice tools truncation""".split()  # noqa: SIM905 - so many names read better as a paragraph
)
_ANTHROPIC = frozenset(
    """cache_control messages model output_config speed system thinking tool_choice
    tools user_profile_id workspace_id""".split()  # noqa: SIM905 - so many names read better as a paragraph
)
_GOOGLE = frozenset({"contents", "generateContentRequest"})


def _openai(call: Call) -> Ask:
    if call.strict:
        for name in _unknown(call, _OPENAI):
            raise refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    body = {name: item for name, item in call.body.items() if name != "personality"}
    return RESPONSES.read(replace(call, body=body))


def _anthropic(call: Call) -> Ask:
    if call.strict:
        for name in _unknown(call, _ANTHROPIC):
            message = f"{name}: Extra inputs are not permitted"
            raise RejectedError(Problem(status=400, message=message))
    return MESSAGES.read(replace(call, body={**call.body, "max_tokens": _ANY}))


_ANY = 1_000_000
"""No cap: one has to stand in a request for an answer."""


def _google(call: Call) -> Ask:
    body = camel(call.body)
    for name in sorted(set(body) - _GOOGLE):
        raise _invalid(f'Invalid JSON payload received. Unknown name "{name}".', name)
    if len(body) > 1:
        raise _invalid("contents and generateContentRequest exclude each other.")
    asked = mapping(body.get("generateContentRequest", body))
    named = asked.get("model", f"models/{call.model}")
    if asked is not body and named != f"models/{call.model}":
        raise _invalid("model: it must match the one in the path")
    return GENERATE_CONTENT.read(replace(call, body=asked, verb="generateContent"))


def _unknown(call: Call, known: Iterable[str]) -> list[str]:
    return sorted(set(call.body) - set(known))


def _invalid(message: str, field: str | None = None) -> RejectedError:
    return RejectedError(Problem(status=400, message=message, param=field))


def _whole_openai(ask: Ask, reply: Reply) -> dict[str, Any]:
    return {"object": "response.input_tokens", "input_tokens": _count(ask, reply)}


def _whole_anthropic(ask: Ask, reply: Reply) -> dict[str, Any]:
    return {"input_tokens": _count(ask, reply)}


def _whole_google(ask: Ask, reply: Reply) -> dict[str, Any]:
    count = _count(ask, reply)
    details = [{"modality": "TEXT", "tokenCount": count}]
    return {"totalTokens": count, "promptTokensDetails": details}


def _count(ask: Ask, reply: Reply) -> int:
    return reply.usage.input if reply.usage else ask.input_tokens


INPUT_TOKENS = replace(RESPONSES, read=_openai, whole=_whole_openai)
MESSAGE_TOKENS = replace(MESSAGES, read=_anthropic, whole=_whole_anthropic)
COUNT_TOKENS = {
    "countTokens": replace(GENERATE_CONTENT, read=_google, whole=_whole_google)
}
"""Google's, by verb."""
