"""Request: a prompt in the words of Messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_llm.chat import (
    File,
    Image,
    Media,
    Message,
    Part,
    Prompt,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from flask_llm.errors import InvalidRequestError
from flask_llm.protocols.anthropic_messages.marks import mark
from flask_llm.protocols.base import (
    alternating,
    merged,
    present,
    split_system,
    unsendable,
)
from flask_llm.protocols.dialects import ANTHROPIC
from flask_llm.protocols.ids import ToolIds
from flask_llm.protocols.schemas import fit, instructed
from flask_llm.protocols.states import trusting
from flask_llm.providers import Provider
from flask_llm.providers.anthropic import (
    BUDGETS,
    LEAST_BUDGET,
    LEAST_MAX_TOKENS,
    traits,
)
from flask_llm.wire import Call

VERSION = "2026-10-21"
SAMPLING_VERSION = "2023-06-01"
"""The version that still takes sampling options, for models that take them."""

MAX_TOKENS = 4_096
"""Sent where the caller sets none: the field is required, and every model can do it."""

_SAMPLING = {"temperature", "top_p", "top_k"}


@trusting
def render(prompt: Prompt, provider: Provider, *, stream: bool) -> Call:
    """Turn a prompt into the request.

    Sampling options that settings filled in are left out: the models of today refuse
    them. The caller's own are sent, under the older version of the API where the model
    is old enough to take them.
    """
    del provider
    wanted = _answer_format(prompt)
    system, messages = split_system(prompt if wanted else instructed(prompt))
    body: dict[str, Any] = {
        "model": prompt.model,
        "max_tokens": prompt.max_tokens or _room(prompt),
        "messages": _messages(prompt, messages),
    }
    body |= present(
        {
            "system": system or None,
            "temperature": prompt.chosen("temperature"),
            "top_p": prompt.chosen("top_p"),
            "seed": prompt.seed,
            "stop_sequences": list(prompt.stop) or None,
            "service_tier": prompt.service_tier,
            "stream": stream or None,
        }
    )
    if prompt.tools:
        body |= _tools(prompt)
    if prompt.reasoning is not None:
        body |= _reasoning(prompt, body["max_tokens"])
    mark(body, prompt)
    body = merged(merged(body, wanted), prompt.extra)
    old = traits(prompt.model).sampling and not _SAMPLING.isdisjoint(body)
    version = SAMPLING_VERSION if old else VERSION
    return Call(
        path="/v1/messages",
        body=body,
        headers={"anthropic-version": version},
        stream=stream,
    )


def _messages(prompt: Prompt, messages: list[Message]) -> list[dict[str, Any]]:
    ids = ToolIds()
    turns = alternating((_turn(message, prompt, ids) for message in messages), _text)
    return [
        # The API wants results right after the calls, before anything else is said.
        {"role": role, "content": sorted(content, key=_is_no_result)}
        for role, content in turns
    ]


def _is_no_result(block: Mapping[str, Any]) -> bool:
    return block.get("type") != "tool_result"


def _turn(
    message: Message, prompt: Prompt, ids: ToolIds
) -> tuple[str, list[dict[str, Any]]]:
    if message.role == "assistant":
        state = message.state_for(prompt.provider, prompt.model)
        if isinstance(state, list):
            for call in message.tool_calls:
                ids.keep(call.id)
            return "assistant", list(state)
    # Models before Opus 4.8 know no system messages inside the conversation.
    aside = message.role == "system" and traits(prompt.model).asides
    role = {"assistant": "assistant", "system": "system" if aside else "user"}
    parts = [part for part in message.content if not _is_blank(part)]
    if message.role == "assistant" and message.media:
        media = message.media[0]
        raise unsendable(media, "A turn of the assistant", "give it in one of the user")
    return role.get(message.role, "user"), [_block(part, ids) for part in parts]


def _is_blank(part: Part) -> bool:
    return isinstance(part, Text) and not part.text.strip()


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _block(part: Part, ids: ToolIds) -> dict[str, Any]:
    match part:
        case Text():
            return _text(part.text)
        case ToolCall():
            return {
                "type": "tool_use",
                "id": ids.call(part.id),
                "name": part.name,
                "input": part.arguments,
            }
        case ToolResult():
            block = {
                "type": "tool_result",
                "tool_use_id": ids.result(part.tool_call_id),
                "content": _output(part),
            }
            return block | ({"is_error": True} if part.is_error else {})
        case Image() | File():
            return _media(part)


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    if not result.media:
        return result.content
    said = [_text(result.content)] if result.content.strip() else []
    return said + [_media(media) for media in result.media]


_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}
_PDF = "application/pdf"


def takes_url(media: Media, provider: Provider) -> bool:
    """Tell whether the provider fetches it: Anthropic does."""
    del media, provider
    return True


def _is_image(media: Media) -> bool:
    return isinstance(media, Image) or (media.media_type or "").startswith("image/")


def _media(media: Image | File) -> dict[str, Any]:
    if _is_image(media):
        return {"type": "image", "source": _source(media, _IMAGES)}
    name = media.filename if isinstance(media, File) else None
    title = {"title": name} if name else {}
    return {"type": "document", "source": _source(media, {_PDF})} | title


def _source(media: Media, kinds: set[str]) -> dict[str, Any]:
    if media.file_id is not None:
        return {"type": "file", "file_id": media.file_id}
    kind = media.media_type or ""
    if media.data is None:
        return {"type": "url", "url": media.url}
    if kind.startswith("text/") or kind == "application/json":
        text = media.data.decode("utf-8", "replace")
        return {"type": "text", "media_type": "text/plain", "data": text}
    if kind not in kinds:
        raise unsendable(
            media,
            f"Anthropic, of {kind},",
            "give a PDF, a text, or an image in JPEG, PNG, GIF or WebP",
        )
    return {"type": "base64", "media_type": kind, "data": media.base64}


def _answer_format(prompt: Prompt) -> dict[str, Any]:
    """Say what the answer has to look like, where the model knows a field for it."""
    if prompt.schema is None or not traits(prompt.model).schema:
        return {}
    schema = fit(prompt.schema.json, ANTHROPIC)
    form = {"type": "json_schema", "schema": schema}
    return {"output_config": {"format": form}} if schema else {}


def _tools(prompt: Prompt) -> dict[str, Any]:
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in prompt.tools]}
    names = {None: "auto", "required": "any"}
    choice: dict[str, Any] = {"type": names.get(prompt.tool_choice, prompt.tool_choice)}
    if prompt.tool_choice in {tool.name for tool in prompt.tools}:
        choice = {"type": "tool", "name": prompt.tool_choice}
    if prompt.parallel_tool_calls is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    if choice != {"type": "auto"} or prompt.tool_choice:
        fields["tool_choice"] = choice
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": tool.name,
        "input_schema": dict(tool.parameters),
    }
    if tool.description:
        fields["description"] = tool.description
    if tool.strict:
        strict = fit(tool.parameters, ANTHROPIC) or fields["input_schema"]
        fields |= {"input_schema": strict, "strict": True}
    return fields


def _room(prompt: Prompt) -> int:
    """Return the cap for an answer that the caller sets none for.

    A number of tokens to think with counts towards it, and stands beside ours.
    """
    model, asked = traits(prompt.model), prompt.reasoning
    if model.takes_budget and isinstance(asked, int):
        return MAX_TOKENS + asked
    if model.budget and prompt.effort not in {None, "none"}:
        return min(MAX_TOKENS + BUDGETS[prompt.effort or ""], LEAST_MAX_TOKENS)
    return MAX_TOKENS


def _reasoning(prompt: Prompt, max_tokens: int) -> dict[str, Any]:
    """Say how much to reason, in the way of the model's generation.

    Asked-for reasoning is asked to be shown too: newer models hide it otherwise.
    """
    model, effort = traits(prompt.model), prompt.effort or ""
    if effort == "none":
        lowest = {"output_config": {"effort": "low"}}
        return {"thinking": {"type": model.off}} if model.off else lowest
    if model.takes_budget and isinstance(prompt.reasoning, int):
        return _enabled(prompt.reasoning)
    if model.budget:
        room = max_tokens - 1 if prompt.max_tokens else max_tokens - MAX_TOKENS
        return _enabled(_budget(effort, room))
    return {
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": model.effort(effort)},
    }


def _enabled(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def _budget(effort: str, room: int) -> int:
    """Put an effort in tokens, which must leave room for the answer."""
    budget = min(BUDGETS[effort], room)
    if budget < LEAST_BUDGET:
        raise InvalidRequestError(
            f"This model reasons with {LEAST_BUDGET} tokens or more, which count "
            "towards max_tokens and must be fewer; set max_tokens higher.",
            param="max_tokens",
        )
    return budget
