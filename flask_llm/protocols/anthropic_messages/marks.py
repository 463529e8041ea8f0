"""Marks in a request: up to where Anthropic is to keep the prompt.

Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching.
"""

from __future__ import annotations

from typing import Any

from flask_llm.chat import Prompt

_FILES = {"image", "document"}


def mark(body: dict[str, Any], prompt: Prompt) -> None:
    """Mark what the next request is likely to begin with.

    That is the tools and the system text, and of a conversation all of it: its next
    turn begins so. A lone question is not written to the cache behind a system text,
    since the next one is another; up to the last file in it, it may be the same.
    """
    if not prompt.prompt_cache:
        return
    hour = {"ttl": "1h"} if prompt.prompt_cache == "1h" else {}
    control = {"cache_control": {"type": "ephemeral", **hour}}
    if "system" in body:
        body["system"] = [{"type": "text", "text": body["system"]}]
    standing = body.get("system") or body.get("tools") or []
    _mark(standing, len(standing) - 1, control)
    last = body["messages"][-1]
    if last["role"] != "assistant":
        _mark(last["content"], _place(body, alone=not standing), control)


def _place(body: dict[str, Any], *, alone: bool) -> int:
    """Return the block of the last message that the conversation is kept up to.

    :param alone: nothing stands before it.
    :return: -1 where it is not kept at all.
    """
    blocks = body["messages"][-1]["content"]
    if len(body["messages"]) > 1:
        return len(blocks) - 1
    files = [place for place, block in enumerate(blocks) if block["type"] in _FILES]
    if files:
        return files[-1]
    return len(blocks) - 1 if alone else -1


def _mark(blocks: list[dict[str, Any]], place: int, control: dict[str, Any]) -> None:
    """Put a mark on one block; the block itself may be someone else's."""
    if place >= 0:
        blocks[place] = blocks[place] | control
