"""Response: an answer in the words of Messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask_llm.chat import Completion, Part, Text, ToolCall, Usage
from flask_llm.protocols.base import array, count, counts, dig, joined, readable, word

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "content_filter",
}


@readable
def parse(raw: Mapping[str, Any]) -> Completion:
    """Turn an answer, whole or put together by the fold, into a completion."""
    blocks = array(raw["content"] or [])
    thoughts = [
        block.get("thinking") or "" for block in blocks if block["type"] == "thinking"
    ]
    reason = word(raw.get("stop_reason"))
    return Completion(
        content=joined(_parts(blocks)),
        reasoning="".join(thoughts) or None,
        refusal=word(dig(raw, "stop_details", "explanation")),
        finish_reason=_FINISH.get(reason or "", "other"),
        raw_finish_reason=reason,
        usage=_usage(raw.get("usage")),
        service_tier=_tier(raw.get("usage")),
        served_model=word(raw.get("model")),
        response_id=word(raw.get("id")),
        provider_state=_state(blocks),
        raw=raw,
    )


def _parts(blocks: list[Mapping[str, Any]]) -> Iterator[Part]:
    """Read what is for the caller; the tools that Anthropic runs itself are not."""
    for block in blocks:
        if block["type"] == "text":
            yield Text(block["text"])
        elif block["type"] == "tool_use":
            yield read_call(block)


def read_call(block: Mapping[str, Any]) -> ToolCall:
    """Read a ``tool_use`` block."""
    return ToolCall.from_wire(block["id"], block["name"], block["input"])


def _state(blocks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """Return the blocks to send back, where our own parts do not say it all."""
    if all(
        block["type"] in {"text", "tool_use"} and not block.get("citations")
        for block in blocks
    ):
        return None
    return [
        # Arguments that broke off are no object, and the API takes nothing else.
        {**block, "input": {}} if isinstance(block.get("input"), str) else block
        for block in blocks
        if block["type"] != "text" or block["text"].strip()
    ]


def _usage(usage: object) -> Usage:
    if not counts(usage, "input_tokens", "output_tokens"):
        return Usage(source="estimated")
    read = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    return Usage(
        input_tokens=count(usage, "input_tokens") + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=count(
            usage, "cache_creation", "ephemeral_1h_input_tokens"
        ),
        output_tokens=count(usage, "output_tokens"),
        reasoning_tokens=count(usage, "output_tokens_details", "thinking_tokens"),
        web_searches=count(usage, "server_tool_use", "web_search_requests"),
    )


def _tier(usage: object) -> str | None:
    """Fast answers have a price of their own, as a tier has."""
    fast = dig(usage, "speed") == "fast"
    return "fast" if fast else word(dig(usage, "service_tier"))
