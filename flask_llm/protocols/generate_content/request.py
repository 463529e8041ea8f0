"""Request: a prompt in the words of generateContent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

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
from flask_llm.protocols.base import (
    alternating,
    merged,
    present,
    split_system,
    unfetched,
    unsendable,
)
from flask_llm.protocols.dialects import GOOGLE
from flask_llm.protocols.schemas import fit, instructed
from flask_llm.protocols.states import trusting
from flask_llm.providers import Provider
from flask_llm.providers.google import traits
from flask_llm.wire import Call

FILES = "https://generativelanguage.googleapis.com/v1/"
"""Where uploaded files live; their short names begin after it."""

UNSIGNED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""Google's sign, in base64, for calls that no Gemini model has signed."""

_GOOGLE_URI = re.compile(
    r"gs://|https://generativelanguage\.googleapis\.com/"
    r"|https://(www\.)?youtube\.com/|https://youtu\.be/"
)


@trusting
def render(prompt: Prompt, provider: Provider, *, stream: bool) -> Call:
    """Turn a prompt into the request.

    There is no switch for parallel calls, so ``parallel_tool_calls`` is not sent.
    """
    del provider
    wanted = _answer_format(prompt)
    system, messages = split_system(prompt if wanted else instructed(prompt))
    messages, token = _continued(prompt, messages)
    body: dict[str, Any] = {"contents": _contents(prompt, messages)}
    if system:
        body["systemInstruction"] = {"parts": [_text(system)]}
    if prompt.tools:
        body |= _tools(prompt)
    body["generationConfig"] = _config(prompt) | wanted
    if prompt.service_tier is not None:
        body["serviceTier"] = prompt.service_tier
    if token:
        body["continuationToken"] = token
    return Call(
        path=_path(prompt.model, stream=stream),
        body=merged(body, prompt.extra),
        stream=stream,
    )


def _path(model: str, *, stream: bool) -> str:
    version = "v1beta" if traits(model).beta else "v1"
    name = quote(model.removeprefix("models/"), safe="")
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/{version}/models/{name}:{verb}"


def _config(prompt: Prompt) -> dict[str, Any]:
    keeps = traits(prompt.model).keeps_temperature
    config = {
        "maxOutputTokens": prompt.max_tokens,
        "temperature": prompt.chosen("temperature") if keeps else prompt.temperature,
        "topP": prompt.top_p,
        "stopSequences": list(prompt.stop) or None,
        "seed": prompt.seed,
        "thinkingConfig": _thinking(prompt),
    }
    return present(config)


def _answer_format(prompt: Prompt) -> dict[str, Any]:
    """Say what the answer has to look like, where the model knows fields for it."""
    alone = prompt.tools and not traits(prompt.model).schema_beside_tools
    if prompt.schema is None or alone:
        return {}
    schema = fit(prompt.schema.json, GOOGLE)
    if schema is None:
        return {}
    return {"responseMimeType": "application/json", "responseJsonSchema": schema}


def _thinking(prompt: Prompt) -> dict[str, Any] | None:
    """Say how much to think: a level or a number of tokens.

    Asked-for reasoning is asked to be shown too: Gemini hides it otherwise.
    """
    effort, tokens = prompt.effort, prompt.reasoning
    if effort is None:
        return None
    shown = {} if effort == "none" else {"includeThoughts": True}
    known = traits(prompt.model)
    if known.levels:
        return {"thinkingLevel": known.level(effort)} | shown
    budget = tokens if isinstance(tokens, int) else known.budget(effort)
    return {"thinkingBudget": budget} | shown


def _contents(prompt: Prompt, messages: list[Message]) -> list[dict[str, Any]]:
    calls: dict[str, _Called] = {}
    turns = alternating((_turn(message, prompt, calls) for message in messages), _text)
    return [
        # The API wants results right after the calls, before anything else is said.
        {"role": role, "parts": sorted(parts, key=_is_no_result)}
        for role, parts in turns
    ]


def _continued(
    prompt: Prompt, messages: list[Message]
) -> tuple[list[Message], str | None]:
    """Take an unfinished answer off the history's end, with the token to go on by.

    The request is otherwise the one that it answers.
    """
    token = None
    while messages and (state := _unfinished(messages[-1], prompt)):
        token = token or state["continuationToken"]
        messages = messages[:-1]
    return messages, token


def _unfinished(message: Message, prompt: Prompt) -> Mapping[str, Any] | None:
    state = message.state_for(prompt.provider, prompt.model)
    return state if "continuationToken" in (state or ()) else None


def _is_no_result(part: Mapping[str, Any]) -> bool:
    return "functionResponse" not in part


def _text(words: str) -> dict[str, Any]:
    return {"text": words}


_Called = dict[str, str]
"""Name and, where there is one, id of a call: its result says both again."""


def _turn(
    message: Message, prompt: Prompt, calls: dict[str, _Called]
) -> tuple[str, list[dict[str, Any]]]:
    if message.role != "assistant":
        return "user", [
            form
            for part in message.content
            if part != Text("")
            for form in _forms(part, prompt, calls)
        ]
    state = message.state_for(prompt.provider, prompt.model)
    if isinstance(state, Mapping):  # what comes next continues it
        state = state.get("parts")
    parts = list(state) if isinstance(state, list) else _rebuilt(message, prompt)
    asked = [part["functionCall"] for part in parts if "functionCall" in part]
    for call, sent in zip(message.tool_calls, asked, strict=False):
        named = {name: sent[name] for name in ("id", "name") if sent.get(name)}
        calls[call.id] = {"name": call.name} | named
    return "model", parts


def _rebuilt(message: Message, prompt: Prompt) -> list[dict[str, Any]]:
    """Put a model's turn into parts when it is not this model's own."""
    parts: list[dict[str, Any]] = []
    unsigned = traits(prompt.model).signed
    for part in message.content:
        if isinstance(part, ToolCall):
            call = {"id": part.id, "name": part.name, "args": part.arguments}
            signature = {"thoughtSignature": UNSIGNED} if unsigned else {}
            parts.append({"functionCall": call} | signature)
            unsigned = False  # of calls made together the first one is signed
        elif part != Text(""):
            parts += _forms(part, prompt, {})
    return parts


def _forms(
    part: Part, prompt: Prompt, calls: Mapping[str, _Called]
) -> list[dict[str, Any]]:
    match part:
        case Text():
            return [_text(part.text)]
        case ToolResult():
            response = _response(part, calls)
            media = [_media(item) for item in part.media]
            # Before Gemini 3 what is no JSON stands beside the result.
            if media and traits(prompt.model).media_in_results:
                response["parts"], media = media, []
            return [{"functionResponse": response}, *media]
        case Image() | File():
            return [_media(part)]
    raise unsendable(part, "Gemini", "tool calls belong to the assistant's turns")


def _response(result: ToolResult, calls: Mapping[str, _Called]) -> dict[str, Any]:
    called = calls.get(result.tool_call_id)
    if called is None and result.name is None:
        raise InvalidRequestError(
            f"No tool call in the history has the id {result.tool_call_id!r}; Gemini "
            "needs the tool's name with its result: give the call, or ToolResult.name."
        )
    said = {"error": result.content} if result.is_error else _output(result.content)
    named: dict[str, Any] = called or {"name": result.name}
    return named | {"response": said}


def _output(content: str) -> dict[str, Any]:
    """Hand JSON over as what it is; any other text is a string."""
    try:
        value = json.loads(content)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        value = content
    return {"output": content if isinstance(value, str | None) else value}


def takes_url(media: Media, provider: Provider | None = None) -> bool:
    """Tell whether Google fetches it: from its own addresses alone."""
    del provider
    return _GOOGLE_URI.match(media.url or "") is not None


def _media(media: Image | File) -> dict[str, Any]:
    if media.data is not None:
        return {"inlineData": {"mimeType": media.media_type, "data": media.base64}}
    uri = media.url or media.file_id or ""
    if media.url and not takes_url(media):
        raise unfetched(media, "Gemini")
    if uri.startswith("files/"):
        uri = FILES + uri
    return {"fileData": present({"mimeType": media.media_type, "fileUri": uri})}


def _tools(prompt: Prompt) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "tools": [{"functionDeclarations": [_tool(tool) for tool in prompt.tools]}]
    }
    choice = prompt.tool_choice
    strict = all(tool.strict for tool in prompt.tools)
    modes = {"none": "NONE", "required": "ANY"}
    if choice in {None, "auto"}:
        calling: dict[str, Any] = {"mode": "VALIDATED" if strict else "AUTO"}
    elif choice in modes:
        calling = {"mode": modes[choice]}
    else:
        calling = {"mode": "ANY", "allowedFunctionNames": [choice]}
    if choice or strict:
        fields["toolConfig"] = {"functionCallingConfig": calling}
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    about = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, "parametersJsonSchema": dict(tool.parameters)} | about
