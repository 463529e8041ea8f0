"""Response: an answer in the words of Responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_llm.chat import Completion, Part, Text, ToolCall, Usage
from flask_llm.protocols.base import array, count, counts, dig, readable, string, word

Item = Mapping[str, Any]

_FINISH = {
    "completed": "stop",
    "failed": "error",
    "cancelled": "error",
    None: "stop",
}
CALLS = {"function_call", "custom_tool_call"}
"""Items that call a tool of the caller's; a custom one takes plain text."""

_CUT_SHORT = {"max_output_tokens": "length", "content_filter": "content_filter"}


@readable
def parse(raw: Mapping[str, Any]) -> Completion:
    """Turn an answer, whole or put together by the fold, into a completion.

    One that is worked on in the background (``queued``, ``in_progress``) is empty,
    and its ``response_id`` is what to ask for it with.
    """
    items = array(raw["output"] or [])
    status = word(raw.get("status"))
    return Completion(
        content=tuple(_parts(items)),
        reasoning="".join(read_thought(item) for item in items) or None,
        refusal="".join(_refusal(item) for item in items) or None,
        finish_reason=_finish(status, raw, items),
        raw_finish_reason=status,
        usage=_usage(raw),
        service_tier=word(raw.get("service_tier")),
        served_model=word(raw.get("model")),
        response_id=word(raw.get("id")),
        provider_state=_state(items),
        raw=raw,
    )


def _parts(items: list[Item]) -> list[Part]:
    """Read what is for the caller; the tools that OpenAI runs itself are not.

    Messages of one phase are one text: what comments on the work stays apart from the
    answer.
    """
    parts: list[Part] = []
    phase = None
    for item in items:
        if item["type"] in CALLS:
            parts.append(read_call(item))
        elif item["type"] == "message" and (text := read_text(item)):
            last = parts[-1] if parts else None
            if isinstance(last, Text) and item.get("phase") == phase:
                parts[-1] = Text(last.text + text)
            else:
                parts.append(Text(text))
            phase = item.get("phase")
    return parts


def read_call(item: Item) -> ToolCall:
    """Read a call that is for the caller to run."""
    arguments = item.get("arguments", item.get("input", ""))
    return ToolCall.from_wire(item["call_id"], item["name"], arguments)


def read_text(item: Item) -> str:
    """Return the text of a ``message`` item."""
    return _texts(item, "content", "output_text", "text")


def read_thought(item: Item) -> str:
    """Return what a ``reasoning`` item shows: a summary or, failing that, all of it."""
    if item["type"] != "reasoning":
        return ""
    summary = _texts(item, "summary", "summary_text", "text")
    return summary or _texts(item, "content", "reasoning_text", "text")


def _refusal(item: Item) -> str:
    if item["type"] != "message":
        return ""
    return _texts(item, "content", "refusal", "refusal")


def _texts(item: Item, parts: str, kind: str, name: str) -> str:
    found = (part for part in item.get(parts) or () if part["type"] == kind)
    return "".join(string(part[name]) for part in found)


def _finish(status: str | None, raw: Mapping[str, Any], items: list[Item]) -> str:
    if status == "incomplete":
        reason = word(dig(raw, "incomplete_details", "reason"))
        return _CUT_SHORT.get(reason or "", "other")
    finish = _FINISH.get(status, "other")
    if finish == "stop" and any(item["type"] in CALLS for item in items):
        return "tool_calls"
    if finish == "stop" and any(_refusal(item) for item in items):
        return "content_filter"
    return finish


def _state(items: list[Item]) -> list[Item] | None:
    """Return the items to send back, where our own parts do not say it all.

    Reasoning goes with the item that follows it or not at all, and not without its
    content. Where one has lost that, all go, and with them the ids that refer to them,
    and the tools that OpenAI ran itself, whose items need theirs.
    """
    kept = list(items)
    while kept and kept[-1]["type"] == "reasoning":
        kept.pop()
    if any(_is_hollow(item) for item in kept):
        kept = [_alone(item) for item in kept if item["type"] in {"message", *CALLS}]
    return None if all(_is_plain(item) for item in kept) else kept


def _is_hollow(item: Item) -> bool:
    return item["type"] == "reasoning" and not (
        item.get("encrypted_content") or item.get("content")
    )


def _alone(item: Item) -> Item:
    """Return an item that may stand without the reasoning that led to it."""
    if item["type"] == "message":
        phase = {"phase": item["phase"]} if item.get("phase") else {}
        return {"role": "assistant", "content": read_text(item), **phase}
    return {name: value for name, value in item.items() if name != "id"}


_PLAIN = {
    "message": {"type", "id", "role", "status", "content"},
    "function_call": {"type", "id", "status", "call_id", "name", "arguments"},
}
"""The fields that can be made anew from our own parts."""


def _is_plain(item: Item) -> bool:
    fields = _PLAIN.get(item.get("type", "message"), set())
    told = {name for name, value in item.items() if value is not None}
    return told <= fields


def _usage(raw: Mapping[str, Any]) -> Usage:
    usage = raw.get("usage")
    if not counts(usage, "input_tokens", "output_tokens"):
        return Usage(source="estimated")
    return Usage(
        input_tokens=count(usage, "input_tokens"),
        cache_read_tokens=count(usage, "input_tokens_details", "cached_tokens"),
        cache_write_tokens=count(usage, "input_tokens_details", "cache_write_tokens"),
        output_tokens=count(usage, "output_tokens"),
        reasoning_tokens=count(usage, "output_tokens_details", "reasoning_tokens"),
        web_searches=count(raw, "tool_usage", "web_search", "num_requests"),
    )
