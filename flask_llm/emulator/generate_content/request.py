"""generateContent: what a request must look like, and what it asks for."""

from __future__ import annotations

import re
from typing import Any

from flask_llm.emulator.dialect import (
    Ask,
    Call,
    Offer,
    Problem,
    RejectedError,
    count_tokens,
    dicts,
    dumps,
    mapping,
    text_of,
)
from flask_llm.emulator.schema import ANY_OBJECT

from .rules import check_config, check_thinking, refused

_VERBS = ("generateContent", "streamGenerateContent")
_TOP = frozenset(
    """contents systemInstruction tools toolConfig safetySettings cachedContent labels
    serviceTier store continuationToken generationConfig model""".split()  # noqa: SIM905 - thirty names read better as a paragraph
)
_CONFIG = frozenset(
    """audioTimestamp audioTranscriptionConfig candidateCount enableAffectiveDialog
    enableEnhancedCivicAnswers frequencyPenalty logprobs maxOutputTokens
    mediaResolution modelSelectionConfig presencePenalty responseFormat
    responseJsonSchema responseLogprobs responseMimeType responseModalities
    responseSchema routingConfig seed speechConfig imageConfig stopSequences
    temperature thinkingConfig topK topP translationConfig""".split()  # noqa: SIM905 - thirty names read better as a paragraph
)


def key(call: Call) -> str:
    """Take ``x-goog-api-key``, or ``?key=``."""
    return call.headers.get("x-goog-api-key") or call.query.get("key", "")


def read(call: Call) -> Ask:
    """Check a request as Google does and say what it asks for."""
    if call.verb not in _VERBS or not _known(call):
        message = (
            f"models/{call.model} is not found for API version {call.version}, or is "
            f"not supported for {call.verb or 'this method'}. Call ListModels to see "
            "the list of available models and their supported methods."
        )
        raise RejectedError(Problem(status=404, message=message))
    body = camel(call.body)
    config = camel(mapping(body.get("generationConfig")))
    if call.strict:
        _check_names(body, _TOP, "")
        _check_names(config, _CONFIG, "generation_config")
    contents = _check_contents(body)
    check_thinking(call.model, camel(mapping(config.get("thinkingConfig"))))
    check_config(call.model, config, _declared(body))
    _check_signatures(call.model, contents)
    return _ask(call, body, config, contents)


def camel(value: dict[str, Any]) -> dict[str, Any]:
    """Name an object's keys in camel case: the API takes ``snake_case`` as well."""
    return {
        re.sub(r"_([a-z])", lambda found: found[1].upper(), name): item
        for name, item in value.items()
    }


def _ask(
    call: Call,
    body: dict[str, Any],
    config: dict[str, Any],
    contents: list[dict[str, Any]],
) -> Ask:
    said = [text_of(c.get("parts")) for c in contents if c.get("role") != "model"]
    tools, must_call = _tools(body)
    thinking = camel(mapping(config.get("thinkingConfig")))
    counted = (contents, body.get("systemInstruction"), body.get("tools"))
    return Ask(
        model=call.model,
        serial=call.serial,
        stream=call.stream,
        input_tokens=count_tokens(*counted),
        user_text=said[-1] if said else "",
        tool_result=_tool_result(contents[-1]),
        max_tokens=config.get("maxOutputTokens"),
        tools=tools,
        must_call=must_call,
        schema=_schema(config),
        thinks=thinking.get("includeThoughts") is True,
        sse=call.query.get("alt") == "sse",
    )


def _known(call: Call) -> bool:
    # The moving aliases exist on v1beta only.
    alias = call.model.startswith("gemini-") and call.model.endswith("-latest")
    return bool(call.model) and not (alias and call.version == "v1")


def _parts(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [camel(part) for part in dicts(content.get("parts"))]


def _tool_result(content: dict[str, Any]) -> str | None:
    found = [part["functionResponse"] for part in _parts(content) if _answers(part)]
    return dumps(mapping(found[-1]).get("response")) if found else None


def _answers(part: dict[str, Any]) -> bool:
    return "functionResponse" in part


def _declared(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        camel(function)
        for tool in dicts(body.get("tools"))
        for function in dicts(camel(tool).get("functionDeclarations"))
    ]


def _tools(body: dict[str, Any]) -> tuple[tuple[Offer, ...], bool]:
    config = camel(mapping(body.get("toolConfig")))
    calling = camel(mapping(config.get("functionCallingConfig")))
    allowed = calling.get("allowedFunctionNames")
    offers = tuple(
        Offer(str(function.get("name")), _parameters(function))
        for function in _declared(body)
        if not allowed or function.get("name") in allowed
    )
    mode = calling.get("mode", "AUTO")
    return (() if mode == "NONE" else offers), mode == "ANY"


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    return mapping(function.get("parametersJsonSchema") or function.get("parameters"))


def _schema(config: dict[str, Any]) -> dict[str, Any] | None:
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema is not None:
        return mapping(schema)
    return ANY_OBJECT if config.get("responseMimeType") == "application/json" else None


def _check_names(value: dict[str, Any], known: frozenset[str], where: str) -> None:
    for name in sorted(set(value) - known):
        at = f" at '{where}'" if where else ""
        message = (
            f'Invalid JSON payload received. Unknown name "{name}"{at}: '
            "Cannot find field."
        )
        raise refused(message, where or name)


def _check_contents(body: dict[str, Any]) -> list[dict[str, Any]]:
    contents = dicts(body.get("contents"))
    if not contents:
        raise refused("* GenerateContentRequest.contents: contents is not specified\n")
    for content in contents:
        if content.get("role", "user") not in ("user", "model"):
            raise refused("Please use a valid role: user, model.")
        if not _parts(content):
            raise refused("* GenerateContentRequest.contents.parts: empty\n")
    if contents[0].get("role", "user") != "user":
        raise refused("Please ensure that the first content has the role user.")
    return contents


def _check_signatures(model: str, contents: list[dict[str, Any]]) -> None:
    """From Gemini 3 on, calls of the current turn come back with a signature."""
    if not re.match(r"gemini-[3-9]", model):
        return
    asked = [
        number
        for number, content in enumerate(contents)
        if content.get("role", "user") == "user"
        and not any(_answers(part) for part in _parts(content))
    ]
    for content in contents[asked[-1] if asked else 0 :]:
        calls = [part for part in _parts(content) if "functionCall" in part]
        # Of parallel calls only the first carries one.
        if calls and not calls[0].get("thoughtSignature"):
            raise refused(
                "Function call is missing a thought_signature in functionCall parts. "
                "This is required for tools to work correctly."
            )
