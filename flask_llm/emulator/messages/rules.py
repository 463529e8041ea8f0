"""Messages: what versions of the API and generations of models refuse."""

from __future__ import annotations

import re
from typing import Any

from flask_llm.emulator.dialect import dicts, mapping
from flask_llm.emulator.schema import objects

from .thinking import check_thinking, refused

_SAMPLING = ("temperature", "top_p", "top_k")
_LINE = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d)(?:-(\d)(?!\d))?")
_MARKS = 4


def check_version_rules(version: str, body: dict[str, Any]) -> None:
    """Refuse what ``anthropic-version: 2026-10-21`` does for every model."""
    if version != "2026-10-21":
        return
    for name in _SAMPLING:
        if body.get(name) is not None:
            raise refused(f"{name}: not supported with anthropic-version {version}")
    for number, message in enumerate(dicts(body.get("messages"))):
        for block in dicts(message.get("content")):
            where = f"messages.{number}.content"
            kind, role = block.get("type"), message.get("role")
            if kind == "document" and role == "assistant":
                raise refused(f"{where}: document blocks are not allowed here")
            if kind == "text" and role == "user" and block.get("citations"):
                raise refused(f"{where}: citations are not allowed on user text")


def check_marks(body: dict[str, Any]) -> None:
    """Refuse marks for the cache that are too many, or where none may be."""
    blocks = [body, *dicts(body.get("tools")), *dicts(body.get("system"))]
    for message in dicts(body.get("messages")):
        blocks += dicts(message.get("content"))
    marked = [block for block in blocks if block.get("cache_control") is not None]
    if len(marked) > _MARKS:
        raise refused(
            f"A maximum of {_MARKS} blocks with cache_control may be provided. Found "
            f"{len(marked)}."
        )
    for block in marked:
        control = mapping(block["cache_control"])
        if control.get("type") != "ephemeral":
            raise refused("cache_control.type: Input should be 'ephemeral'")
        if control.get("ttl", "5m") not in ("5m", "1h"):
            raise refused("cache_control.ttl: Input should be '5m' or '1h'")
        if block.get("type") in ("thinking", "redacted_thinking"):
            raise refused("cache_control: Extra inputs are not permitted")
        if block.get("type") == "text" and not block.get("text"):
            raise refused("cache_control cannot be set for empty text blocks")


def check_model_rules(model: str, body: dict[str, Any]) -> None:
    """Refuse what the model's generation does, whatever the version."""
    generation = _generation(model)
    if generation >= (4, 7):
        for name in _SAMPLING:
            if body.get(name) is not None:
                raise refused(f"{name}: not supported by this model")
    if generation >= (4, 6):
        _check_no_prefill(body)
    choice = mapping(body.get("tool_choice")).get("type")
    if choice in ("any", "tool") and _refuses_force(model):
        raise refused(f"tool_choice: type '{choice}' is not supported by this model")
    check_thinking(model, generation, body)
    wanted = mapping(mapping(body.get("output_config")).get("format"))
    if wanted and generation < (4, 5):
        raise refused("output_config.format: not supported by this model")
    _check_schema(wanted)


def _generation(model: str) -> tuple[int, int]:
    match = _LINE.search(model)
    return (int(match[2]), int(match[3] or 0)) if match else (0, 0)


def _refuses_force(model: str) -> bool:
    return bool(re.search(r"claude-((sonnet|opus)-5-5|(fable|mythos)-5)", model))


def _check_no_prefill(body: dict[str, Any]) -> None:
    last = dicts(body.get("messages"))[-1]
    tools = ("server_tool_use", "tool_use")
    paused = any(part.get("type") in tools for part in dicts(last.get("content")))
    if last.get("role") == "assistant" and not paused:
        raise refused(
            "This model does not support assistant message prefill. The conversation "
            "must end with a user message."
        )


def _check_schema(wanted: dict[str, Any]) -> None:
    for _, node in objects(wanted.get("schema")):
        if node.get("additionalProperties") is not False:
            raise refused(
                "output_config.format.schema: For 'object' type, "
                "'additionalProperties' must be explicitly set to false"
            )
