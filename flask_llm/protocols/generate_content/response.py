"""Response: an answer in the words of generateContent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask_llm.chat import Completion, Part, Text, ToolCall, Usage
from flask_llm.protocols.base import (
    array,
    count,
    dig,
    joined,
    readable,
    string,
    unreadable,
    word,
)
from flask_llm.providers.google import traits

_FINISH = (
    {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "pause"}
    | dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
            "MODEL_ARMOR",
            "ESCALATION",
        ),
        "content_filter",
    )
    | dict.fromkeys(
        (
            "MALFORMED_FUNCTION_CALL",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "MALFORMED_RESPONSE",
            "LANGUAGE",
            "NO_IMAGE",
            "IMAGE_OTHER",
            "PUP_LIMITED_DISABLED",
        ),
        "error",
    )
)


@readable
def parse(raw: Mapping[str, Any]) -> Completion:
    """Turn an answer, whole or put together by the fold, into a completion.

    An answer to a blocked prompt has no candidates, but is one all the same.
    """
    blocked = word(dig(raw, "promptFeedback", "blockReason"))
    if not blocked and raw.keys().isdisjoint({"candidates", "usageMetadata"}):
        raise unreadable(raw, "no candidates in it")
    candidates = array(raw.get("candidates") or [])
    candidate: Mapping[str, Any] = candidates[0] if candidates else {}
    parts = array((candidate.get("content") or {}).get("parts") or [])
    reason = word(candidate.get("finishReason"))
    thoughts = [
        part["text"] for part in parts if part.get("thought") and part.get("text")
    ]
    return Completion(
        content=joined(_parts(parts)),
        reasoning="".join(thoughts) or None,
        refusal=word(dig(raw, "promptFeedback", "blockReasonMessage")),
        finish_reason=_finish(reason, blocked, parts),
        raw_finish_reason=reason or blocked,
        usage=_usage(raw, candidate),
        service_tier=_tier(raw.get("usageMetadata")),
        served_model=word(raw.get("modelVersion")),
        response_id=word(raw.get("responseId")),
        provider_state=_state(parts, candidate),
        raw=raw,
    )


def _parts(parts: list[Mapping[str, Any]]) -> Iterator[Part]:
    """Read what is for the caller; the code and tools that Google runs are not."""
    number = 0
    for part in parts:
        if "functionCall" in part:
            yield read_call(number, part["functionCall"])
            number += 1
        elif part.get("text") and not part.get("thought"):
            yield Text(part["text"])


def read_call(number: int, call: Mapping[str, Any]) -> ToolCall:
    """Read a ``functionCall``; one that has no id gets its number."""
    call_id = word(call.get("id")) or f"call_{number}"
    return ToolCall.from_wire(call_id, string(call["name"]), call.get("args") or {})


def _state(parts: list[Mapping[str, Any]], candidate: Mapping[str, Any]) -> Any:
    """Return what to send back, where our own parts do not say it all.

    Of an answer that is to be continued that is a token, beside the parts.
    """
    token = word(candidate.get("continuationToken"))
    if token and candidate.get("finishReason") == "CONTINUATION":
        return {"parts": parts, "continuationToken": token}
    plain = all(part.keys() in ({"text"}, {"functionCall"}) for part in parts)
    return None if plain else parts


def _finish(
    reason: str | None, blocked: str | None, parts: list[Mapping[str, Any]]
) -> str:
    if reason is None and blocked:
        return "content_filter"
    finish = _FINISH.get(reason or "", "other")
    calls = any("functionCall" in part for part in parts)
    return "tool_calls" if finish == "stop" and calls else finish


def _usage(raw: Mapping[str, Any], candidate: Mapping[str, Any]) -> Usage:
    usage = raw.get("usageMetadata")
    if not isinstance(usage, Mapping) or not usage:
        return Usage(source="estimated")
    thoughts = count(usage, "thoughtsTokenCount")
    return Usage(
        input_tokens=count(usage, "promptTokenCount")
        + count(usage, "toolUsePromptTokenCount"),
        cache_read_tokens=count(usage, "cachedContentTokenCount"),
        output_tokens=count(usage, "candidatesTokenCount") + thoughts,
        reasoning_tokens=thoughts,
        input_audio_tokens=_audio(usage.get("promptTokensDetails")),
        output_audio_tokens=_audio(usage.get("candidatesTokensDetails")),
        web_searches=_searches(candidate, word(raw.get("modelVersion")) or ""),
    )


def _audio(details: object) -> int:
    return sum(
        count(detail, "tokenCount")
        for detail in (details if isinstance(details, list) else [])
        if dig(detail, "modality") == "AUDIO"
    )


def _searches(candidate: Mapping[str, Any], model: str) -> int:
    """Count searches as they are billed: each, or before Gemini 3 all as one."""
    queries = dig(candidate, "groundingMetadata", "webSearchQueries")
    asked = sum(bool(query) for query in queries) if isinstance(queries, list) else 0
    return asked if traits(model).each_search else min(asked, 1)


def _tier(usage: object) -> str | None:
    return word(dig(usage, "serviceTier")) or word(dig(usage, "trafficType"))
