"""Request: a prompt in the words of Chat Completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    ToolResult,
)
from flask_llm.errors import UnsupportedParameter
from flask_llm.protocols.base import (
    arguments,
    merged,
    present,
    unfetched,
    unsendable,
)
from flask_llm.protocols.ids import ToolIds
from flask_llm.protocols.schemas import (
    instructed,
    named,
    replaced,
    strict_parameters,
)
from flask_llm.protocols.states import trusting
from flask_llm.providers import Provider, Quirks, is_reasoning, prompt_cache
from flask_llm.wire import Call


@trusting
def render(prompt: Prompt, provider: Provider, *, stream: bool) -> Call:
    """Turn a prompt into the request."""
    quirks = provider.quirks
    wanted = _answer_format(prompt, quirks)
    if not quirks.json_schema:
        prompt = instructed(prompt)
    reasons = quirks.developer_role and is_reasoning(prompt.model)
    body: dict[str, Any] = {
        "model": prompt.model,
        "messages": _messages(prompt, provider, reasons=reasons),
    }
    sampling = prompt.chosen if reasons else lambda name: getattr(prompt, name)
    options = {
        quirks.max_tokens: prompt.max_tokens,
        "temperature": sampling("temperature"),
        "top_p": prompt.top_p,
        "stop": list(prompt.stop) or None,
        quirks.seed: prompt.seed,
        "reasoning_effort": prompt.effort,
        "service_tier": prompt.service_tier,
        "response_format": wanted,
    }
    body |= present(options)
    if prompt.tools:
        body |= _tools(prompt, quirks)
    if quirks.prompt_cache:
        body |= prompt_cache(prompt)
    if stream:
        body |= _stream_options(quirks)
    return Call(
        path="/chat/completions", body=merged(body, prompt.extra), stream=stream
    )


def _messages(
    prompt: Prompt, provider: Provider, *, reasons: bool
) -> list[dict[str, Any]]:
    quirks = provider.quirks
    system = "developer" if reasons else "system"
    ids = ToolIds(short=quirks.short_tool_ids)
    turns: list[dict[str, Any]] = []
    returned: list[Part] = []
    names: dict[str, str] = {}
    if prompt.system:
        turns.append({"role": system, "content": prompt.system})
    for message in prompt.messages:
        if returned and not message.tool_results:
            turns.append(_said(returned, provider))
            returned = []
        if message.role == "system":
            turns.append({"role": system, "content": message.text})
        elif message.role == "assistant":
            state = message.state_for(prompt.provider, prompt.model) or {}
            echo = {key: state[key] for key in quirks.echo if key in state}
            if any(part != Text("") for part in message.content):
                turns.append(_assistant(message, quirks, ids) | echo)
            names |= {call.id: call.name for call in message.tool_calls}
        else:
            turns.extend(_results(message, ids))
            returned += _returned(message, names)
            parts: list[Part] = [
                part for part in message.content if not isinstance(part, ToolResult)
            ]
            if parts:
                turns.append(_said(returned + parts, provider))
                returned = []
    return [*turns, _said(returned, provider)] if returned else turns


def _assistant(message: Message, quirks: Quirks, ids: ToolIds) -> dict[str, Any]:
    for media in message.media:
        raise unsendable(media, "A turn of the assistant", "give it in one of the user")
    turn: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": ids.call(call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": arguments(call, quirks)},
            }
            for call in message.tool_calls
        ]
    return turn


def _results(message: Message, ids: ToolIds) -> Iterator[dict[str, Any]]:
    for result in message.tool_results:
        yield {
            "role": "tool",
            "tool_call_id": ids.result(result.tool_call_id),
            "content": result.content,
        }


def _returned(message: Message, names: Mapping[str, str]) -> Iterator[Part]:
    """Give what tools returned beside text, for the user to say after all results.

    A turn of a tool holds text alone.

    :param names: of the tools that were called, by the id of the call.
    """
    for result in message.tool_results:
        if result.media:
            call_id = result.tool_call_id
            name = result.name or names.get(call_id, call_id)
            yield Text(f"The tool {name} returned:")
            yield from result.media


def _said(parts: list[Part], provider: Provider) -> dict[str, Any]:
    if all(isinstance(part, Text) for part in parts):
        return {"role": "user", "content": Message("user", parts).text}
    return {"role": "user", "content": [_part(part, provider) for part in parts]}


def takes_url(media: Media, provider: Provider) -> bool:
    """Tell whether the server fetches it: images, where it does at all."""
    return isinstance(media, Image) and provider.quirks.image_urls


_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3"}


def _part(part: Part, provider: Provider) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Media() if part.url is not None and not takes_url(part, provider):
            raise unfetched(part, f"{provider.name} (Chat Completions)")
        case Image() if part.file_id is None:
            detail = {"detail": part.detail} if part.detail else {}
            return {"type": "image_url", "image_url": {"url": part.data_url} | detail}
        case File() if part.file_id is not None:
            return {"type": "file", "file": {"file_id": part.file_id}}
        case File() if part.media_type in _AUDIO:
            sound = {"data": part.base64, "format": _AUDIO[part.media_type]}
            return {"type": "input_audio", "input_audio": sound}
        case File() if (part.media_type or "").startswith("image/"):
            return {"type": "image_url", "image_url": {"url": part.data_url}}
        case File():
            name = part.filename or "file"
            return {
                "type": "file",
                "file": {"filename": name, "file_data": part.data_url},
            }
        case Image():
            raise unsendable(
                part, "Chat Completions", "give the bytes of an image, or its URL"
            )
    raise unsendable(part, "A turn of the user", "give it in one of the assistant")


def _answer_format(prompt: Prompt, quirks: Quirks) -> dict[str, Any] | None:
    """Say what the answer has to look like; strictly, where the server can."""
    schema = prompt.schema
    if schema is None or replaced(prompt.extra.get("response_format")):
        return None
    if not quirks.json_schema:
        return {"type": "json_object"}
    form = named(schema, strict=quirks.strict)
    return {"type": "json_schema", "json_schema": form}


def _tools(prompt: Prompt, quirks: Quirks) -> dict[str, Any]:
    fields: dict[str, Any] = {"tools": [_tool(tool, quirks) for tool in prompt.tools]}
    choice = prompt.tool_choice
    if choice == "required" and not quirks.required:
        raise UnsupportedParameter(
            "This server has no way to make a model call some tool: leave tool_choice "
            "out, or name one tool.",
            param="tool_choice",
        )
    if choice == "required":
        fields["tool_choice"] = quirks.required
    elif choice in {"auto", "none"}:
        fields["tool_choice"] = choice
    elif choice:
        fields["tool_choice"] = {"type": "function", "function": {"name": choice}}
    if prompt.parallel_tool_calls is not None and quirks.parallel_tool_calls:
        fields["parallel_tool_calls"] = prompt.parallel_tool_calls
    return fields


def _tool(tool: Tool, quirks: Quirks) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": dict(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    if tool.strict and quirks.strict:
        function |= {"parameters": strict_parameters(tool), "strict": True}
    return {"type": "function", "function": function}


def _stream_options(quirks: Quirks) -> dict[str, Any]:
    options: dict[str, Any] = {"stream": True}
    if quirks.stream_usage:
        options["stream_options"] = {"include_usage": True}
        if quirks.obfuscation:
            options["stream_options"]["include_obfuscation"] = False
    return options
