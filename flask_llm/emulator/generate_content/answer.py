"""generateContent: whole answers and streams."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from flask_llm.emulator.dialect import (
    Ask,
    Counts,
    Frame,
    Reply,
    ToolCall,
    dumps,
    tokens,
)

_FINISH_REASONS = {
    "stop": "STOP",
    # Google has no word for tool calls: one has to look at the parts.
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "pause": "CONTINUATION",
}
_SIGNATURE = "RW11bGF0b3I="


def whole(ask: Ask, reply: Reply) -> dict[str, Any]:
    """Write a ``GenerateContentResponse``."""
    if reply.refusal:
        return _blocked(ask, reply)
    parts = [
        *([_thought(reply.reasoning)] if reply.reasoning else []),
        *([{"text": reply.text}] if reply.text else []),
        *_calls(reply.tool_calls),
    ]
    candidate = _candidate(parts, finish=_finish(ask, reply))
    return _response(ask, candidate, reply.usage)


def events(ask: Ask, reply: Reply) -> list[Frame]:
    """Write the chunks: usage so far on each, the finish reason on the last."""
    if reply.refusal:
        return _framed(ask, [_blocked(ask, reply)])
    groups = _groups(reply)
    bodies = []
    for number, parts in enumerate(groups, start=1):
        final = number == len(groups)
        candidate = _candidate(parts, finish=_finish(ask, reply) if final else None)
        usage = _so_far(reply.usage, groups[:number], final=final)
        bodies.append(_response(ask, candidate, usage))
    return _framed(ask, bodies)


def _groups(reply: Reply) -> list[list[dict[str, Any]]]:
    """Split the parts over chunks; function calls come whole."""
    groups = [[_thought(piece)] for piece in reply.pieces(reply.reasoning)]
    groups += [[{"text": piece}] for piece in reply.pieces(reply.text)]
    if reply.tool_calls:
        groups.append(_calls(reply.tool_calls))
    elif reply.reasoning:
        # The signature of a text answer comes on an empty part at the end.
        groups.append([{"text": "", "thoughtSignature": _SIGNATURE}])
    return groups or [[]]


def _framed(ask: Ask, bodies: list[dict[str, Any]]) -> list[Frame]:
    if ask.sse:
        texts = [f"data: {dumps(body)}\r\n\r\n" for body in bodies]
    else:
        openings = ["[", *[",\r\n"] * (len(bodies) - 1)]
        texts = [a + dumps(b) for a, b in zip(openings, bodies, strict=True)] + ["]"]
    return [Frame(text.encode(), paced=True) for text in texts]


def _so_far(
    counts: Counts | None, groups: list[list[dict[str, Any]]], *, final: bool
) -> Counts | None:
    if counts is None or final:
        return counts
    parts = [part for group in groups for part in group]
    thoughts = "".join(part["text"] for part in parts if part.get("thought"))
    texts = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    reasoning = min(tokens(thoughts), counts.reasoning)
    said = min(tokens(texts), counts.output - counts.reasoning)
    return Counts(
        input=counts.input,
        output=reasoning + said,
        cache_read=counts.cache_read,
        reasoning=reasoning,
    )


def _thought(text: str) -> dict[str, Any]:
    return {"text": text, "thought": True}


def _calls(calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for call in calls:
        ident = {} if call.id is None else {"id": call.id}
        function = {**ident, "name": call.name, "args": call.parsed}
        parts.append({"functionCall": function})
    if parts:
        parts[0]["thoughtSignature"] = _SIGNATURE
    return parts


def continuation(serial: int) -> str:
    """Make the token by which the answer to a request can be continued."""
    return b64encode(f"continue {serial}".encode()).decode()


def _finish(ask: Ask, reply: Reply) -> dict[str, Any]:
    reason = _FINISH_REASONS.get(reply.finish_reason, reply.finish_reason)
    more = {"continuationToken": continuation(ask.serial)}
    return {"finishReason": reason} | (more if reason == "CONTINUATION" else {})


def _candidate(
    parts: list[dict[str, Any]], *, finish: dict[str, Any] | None
) -> dict[str, Any]:
    content = {"role": "model", "parts": parts} if parts else {}
    return {"content": content, **(finish or {}), "index": 0}


def _response(
    ask: Ask, candidate: dict[str, Any], usage: Counts | None
) -> dict[str, Any]:
    return {"candidates": [candidate], **_tail(ask, usage)}


def _blocked(ask: Ask, reply: Reply) -> dict[str, Any]:
    """Write a blocked prompt: no candidates, and no output to count."""
    usage = reply.usage and Counts(input=reply.usage.input, output=0)
    feedback = {
        "blockReason": "PROHIBITED_CONTENT",
        "blockReasonMessage": reply.refusal,
    }
    return {"promptFeedback": feedback, **_tail(ask, usage)}


def _tail(ask: Ask, usage: Counts | None) -> dict[str, Any]:
    counted = {} if usage is None else {"usageMetadata": _usage(usage)}
    return {**counted, "modelVersion": ask.model, "responseId": f"r{ask.serial}"}


def _usage(counts: Counts) -> dict[str, Any]:
    """Write counts as Google does: thoughts beside the output, no zeros."""
    numbers = {
        "promptTokenCount": counts.input,
        "cachedContentTokenCount": counts.cache_read,
        "candidatesTokenCount": counts.output - counts.reasoning,
        "thoughtsTokenCount": counts.reasoning,
        "totalTokenCount": counts.input + counts.output,
    }
    text = [{"modality": "TEXT", "tokenCount": counts.input}]
    kept = {name: number for name, number in numbers.items() if number}
    return {**kept, "promptTokensDetails": text}
