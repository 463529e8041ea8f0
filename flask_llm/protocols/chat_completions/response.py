"""Response: an answer in the words of Chat Completions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from flask_llm.chat import Completion, Part, Text, ToolCall, Usage
from flask_llm.protocols.base import array, count, counts, dig, readable, string, word
from flask_llm.providers import ECHOED

_FINISH = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",  # Mistral
    "model_context_window_exceeded": "length",  # Z.ai
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",  # Z.ai
    "eos": "stop",  # Together
    "error": "error",
    "network_error": "error",  # Z.ai
    "insufficient_system_resource": "error",  # DeepSeek
    None: "stop",
}


@readable
def parse(raw: Mapping[str, Any]) -> Completion:
    """Turn an answer, whole or put together by the fold, into a completion."""
    choice = array(raw["choices"])[0]
    message = choice["message"] or {}
    reason = word(choice.get("finish_reason"))
    said, thought = read_content(message.get("content"))
    content: list[Part] = [Text(said)] if said else []
    content += [
        read_call(number, call) for number, call in enumerate(calls_in(message))
    ]
    reported = reported_cost(raw)
    return Completion(
        content=tuple(content),
        reasoning=thought or read_thought(message) or None,
        refusal=word(message.get("refusal")),
        finish_reason=_finish(reason, message),
        raw_finish_reason=reason,
        usage=_usage(raw),
        cost_usd=reported,
        cost_source="none" if reported is None else "provider",
        service_tier=word(raw.get("service_tier")),
        served_model=word(raw.get("model")),
        response_id=word(raw.get("id")),
        provider_state={key: message[key] for key in ECHOED if message.get(key)}
        or None,
        raw=raw,
    )


def read_content(content: object) -> tuple[str, str]:
    """Return text and reasoning: Mistral sends them as parts of one list."""
    if isinstance(content, str):
        return content, ""
    said, thoughts = [], []
    for part in content if isinstance(content, list) else []:
        if part.get("type") == "text":
            said.append(part["text"])
        elif part.get("type") == "thinking":
            thought = part["thinking"]
            thoughts.append(
                thought if isinstance(thought, str) else read_content(thought)[0]
            )
    return "".join(said), "".join(thoughts)


def read_thought(message: Mapping[str, Any]) -> str:
    """Return reasoning from whichever field a server puts it in."""
    for name in ("reasoning_content", "reasoning"):
        if word(message.get(name)):
            return string(message[name])
    details = message.get("reasoning_details") or ()
    thoughts = (dig(item, "text") or dig(item, "summary") for item in details)
    return "".join(filter(None, thoughts))


def calls_in(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the tool calls of a message or a piece of one, in the older form too."""
    calls = list(message.get("tool_calls") or ())
    older = "function_call"  # which some servers send empty
    if not calls and (dig(message, older, "name") or dig(message, older, "arguments")):
        calls = [{"function": message[older]}]
    return calls


def read_call(number: int, call: Mapping[str, Any]) -> ToolCall:
    """Read a tool call; one that has no id gets its number."""
    function = function_of(call)
    return ToolCall.from_wire(
        word(call.get("id")) or f"call_{number}",
        function["name"],
        function.get("arguments", function.get("input", "")),
    )


def function_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the name and arguments of a call, of a custom tool too."""
    return call.get("function") or call.get("custom") or {}


def _finish(raw: str | None, message: Mapping[str, Any]) -> str:
    reason = _FINISH.get(raw, "other")
    if reason == "stop" and message.get("refusal"):
        return "content_filter"
    return "tool_calls" if reason == "stop" and calls_in(message) else reason


def _usage(raw: Mapping[str, Any]) -> Usage:
    usage = raw.get("usage") or dig(raw, "x_groq", "usage")
    if not counts(usage, "prompt_tokens", "completion_tokens"):
        return Usage(source="estimated")
    output = count(usage, "completion_tokens")
    reasoning = count(usage, "completion_tokens_details", "reasoning_tokens")
    prompt = count(usage, "prompt_tokens")
    if reasoning and count(usage, "total_tokens") == prompt + output + reasoning:
        output += reasoning  # xAI counts reasoning beside the completion
    return Usage(
        input_tokens=prompt,
        cache_read_tokens=count(usage, "prompt_tokens_details", "cached_tokens")
        or count(usage, "prompt_cache_hit_tokens"),
        cache_write_tokens=count(usage, "prompt_tokens_details", "cache_write_tokens"),
        output_tokens=output,
        reasoning_tokens=reasoning,
        input_audio_tokens=count(usage, "prompt_tokens_details", "audio_tokens"),
        output_audio_tokens=count(usage, "completion_tokens_details", "audio_tokens"),
    )


def reported_cost(raw: Mapping[str, Any]) -> Decimal | None:
    """Read what OpenRouter says it charged, in USD."""
    cost = dig(raw, "usage", "cost")
    if isinstance(cost, bool) or not isinstance(cost, (int, float)):
        return None
    return Decimal(str(cost)) if math.isfinite(cost) and cost >= 0 else None
