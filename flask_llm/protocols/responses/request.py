"""Request: a prompt in the words of Responses."""

from __future__ import annotations

from collections.abc import Iterator
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
from flask_llm.protocols.base import arguments, dig, merged, present, unsendable
from flask_llm.protocols.ids import ToolIds
from flask_llm.protocols.schemas import named, replaced, strict_parameters
from flask_llm.protocols.states import trusting
from flask_llm.providers import Provider, Quirks, is_reasoning, prompt_cache
from flask_llm.wire import Call


@trusting
def render(prompt: Prompt, provider: Provider, *, stream: bool) -> Call:
    """Turn a prompt into the request.

    Nothing is stored: what a model is to remember of its reasoning comes back encrypted
    and goes out again with the history. ``stop`` and ``seed`` are not in this format;
    the caller's are sent for the provider to refuse them by name.
    """
    quirks, reasons = provider.quirks, is_reasoning(prompt.model)
    body: dict[str, Any] = {
        "model": prompt.model,
        "input": _input(prompt, quirks),
        "store": False,
    }
    sampling = prompt.chosen if reasons else lambda name: getattr(prompt, name)
    body |= present(
        {
            "instructions": prompt.system or None,
            "max_output_tokens": prompt.max_tokens,
            "temperature": sampling("temperature"),
            "top_p": prompt.top_p,
            "stop": list(prompt.stop) or None,
            "seed": prompt.seed,
            "reasoning": _reasoning(prompt.effort),
            "include": ["reasoning.encrypted_content"] if reasons else None,
            "service_tier": prompt.service_tier,
            "text": _answer_format(prompt, quirks),
        }
    )
    if prompt.tools:
        body |= _tools(prompt, quirks)
    if quirks.prompt_cache:
        body |= prompt_cache(prompt)
    if stream:
        body["stream"] = True
        if quirks.obfuscation:
            body["stream_options"] = {"include_obfuscation": False}
    return Call(path="/responses", body=merged(body, prompt.extra), stream=stream)


def _reasoning(effort: str | None) -> dict[str, Any] | None:
    """Say how much to reason; asked-for reasoning is asked to be shown too."""
    if effort is None:
        return None
    summary = {} if effort == "none" else {"summary": "auto"}
    return {"effort": effort} | summary


def _answer_format(prompt: Prompt, quirks: Quirks) -> dict[str, Any] | None:
    """Say what the answer has to look like; strictly, where the server can."""
    if prompt.schema is None or replaced(dig(prompt.extra, "text", "format")):
        return None
    form = named(prompt.schema, strict=quirks.strict)
    return {"format": {"type": "json_schema", **form}}


def _input(prompt: Prompt, quirks: Quirks) -> list[dict[str, Any]]:
    ids = ToolIds()
    system = "developer" if quirks.developer_role else "system"
    items: list[dict[str, Any]] = []
    custom: set[str] = set()
    for message in prompt.messages:
        if message.role == "system":
            items.append({"role": system, "content": message.text})
        elif message.role == "assistant":
            said = _assistant(message, prompt, ids, quirks)
            items += said
            custom |= _custom(said)
        else:
            items += _user(message, ids, custom)
    return items


def _custom(items: list[dict[str, Any]]) -> set[str]:
    """Return the calls of custom tools, whose results have a type of their own."""
    return {item["call_id"] for item in items if item.get("type") == "custom_tool_call"}


def _assistant(
    message: Message, prompt: Prompt, ids: ToolIds, quirks: Quirks
) -> list[dict[str, Any]]:
    state = message.state_for(prompt.provider, prompt.model)
    if isinstance(state, list):
        for call in message.tool_calls:
            ids.keep(call.id)
        return state
    parts = [part for part in message.content if part != Text("")]
    return [_said(part, ids, quirks) for part in parts]


def _said(part: Part, ids: ToolIds, quirks: Quirks) -> dict[str, Any]:
    match part:
        case Text():
            return {"role": "assistant", "content": part.text}
        case ToolCall():
            return {
                "type": "function_call",
                "call_id": ids.call(part.id),
                "name": part.name,
                "arguments": arguments(part, quirks),
            }
    raise unsendable(part, "A turn of the assistant", "give it in one of the user")


def _user(message: Message, ids: ToolIds, custom: set[str]) -> Iterator[dict[str, Any]]:
    for result in message.tool_results:
        call_id = ids.result(result.tool_call_id)
        kind = "custom_tool_call" if call_id in custom else "function_call"
        yield {
            "type": f"{kind}_output",
            "call_id": call_id,
            "output": _output(result),
        }
    parts = [part for part in message.content if not isinstance(part, ToolResult)]
    if parts and all(isinstance(part, Text) for part in parts):
        yield {"role": "user", "content": message.text}
    elif parts:
        yield {"role": "user", "content": [_part(part) for part in parts]}


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    if not result.media:
        return result.content
    said = [Text(result.content)] if result.content else []
    return [_part(part) for part in (*said, *result.media)]


def takes_url(media: Media, provider: Provider) -> bool:
    """Tell whether the provider fetches it: OpenAI does."""
    del media, provider
    return True


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "input_text", "text": part.text}
        case Image():
            return _image(part, part.detail)
        case File() if (part.media_type or "").startswith("image/"):
            return _image(part)
        case File() if (part.media_type or "").startswith("audio/"):
            raise unsendable(part, "Responses", "ask one of the gpt-audio models")
        case File():
            return {"type": "input_file"} | _file(part)
    raise unsendable(part, "A turn of the user", "give it in one of the assistant")


def _image(media: Media, detail: str | None = None) -> dict[str, Any]:
    source = {"file_id": media.file_id} if media.file_id else {}
    source = source or {"image_url": media.data_url}
    return {"type": "input_image", "detail": detail or "auto"} | source


def _file(file: File) -> dict[str, Any]:
    if file.file_id is not None:
        return {"file_id": file.file_id}
    if file.data is None:
        return {"file_url": file.url}
    return {"filename": file.filename or "file", "file_data": file.data_url}


def _tools(prompt: Prompt, quirks: Quirks) -> dict[str, Any]:
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in prompt.tools]}
    choice = prompt.tool_choice
    if choice in {"auto", "none", "required"}:
        fields["tool_choice"] = choice
    elif choice:
        fields["tool_choice"] = {"type": "function", "name": choice}
    if prompt.parallel_tool_calls is not None and quirks.parallel_tool_calls:
        fields["parallel_tool_calls"] = prompt.parallel_tool_calls
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    about = {"description": tool.description} if tool.description else {}
    return {
        "type": "function",
        "name": tool.name,
        "parameters": strict_parameters(tool) if tool.strict else dict(tool.parameters),
        "strict": tool.strict,  # left out, it would be True
        **about,
    }
