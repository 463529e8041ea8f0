"""Chat Completions: what a request must look like, and what it asks for."""

from __future__ import annotations

from typing import Any

from flask_llm.emulator.dialect import (
    Ask,
    Call,
    Offer,
    count_tokens,
    dicts,
    mapping,
    text_of,
)
from flask_llm.emulator.schema import ANY_OBJECT

from .rules import check_model_rules, check_numbers, check_schemas, refused

_KNOWN = frozenset(
    """audio frequency_penalty function_call functions logit_bias logprobs
    max_completion_tokens max_tokens messages metadata modalities model moderation n
    parallel_tool_calls prediction presence_penalty prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning_effort response_format
    safety_identifier seed service_tier stop store stream stream_options temperature
    tool_choice tools top_logprobs top_p user verbosity web_search_options""".split()  # noqa: SIM905 - thirty names read better as a paragraph
)
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")


def key(call: Call) -> str:
    """Take the key from ``Authorization: Bearer``."""
    scheme, _, value = call.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def read(call: Call) -> Ask:
    """Check a request as OpenAI does and say what it asks for."""
    body = call.body
    if not call.model:
        raise refused("you must provide a model parameter")
    if call.strict:
        for name in sorted(set(body) - _KNOWN):
            raise refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    _check_messages(body)
    check_numbers(body, ("max_tokens", "max_completion_tokens"))
    if body.get("stream_options") is not None and not call.stream:
        raise refused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    check_model_rules(call.model, body)
    check_schemas(body)
    return _ask(call, body)


def _ask(call: Call, body: dict[str, Any]) -> Ask:
    messages = dicts(body["messages"])
    last = messages[-1]
    said = [text_of(m.get("content")) for m in messages if m.get("role") == "user"]
    tools, must_call = _tools(body)
    effort = body.get("reasoning_effort")
    return Ask(
        model=call.model,
        serial=call.serial,
        stream=call.stream,
        input_tokens=count_tokens(messages, body.get("tools")),
        user_text=said[-1] if said else "",
        tool_result=text_of(last["content"]) if last["role"] == "tool" else None,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        tools=tools,
        must_call=must_call,
        schema=_schema(body),
        thinks_silently=effort not in (None, "none"),
        include_usage=mapping(body.get("stream_options")).get("include_usage") is True,
    )


def _tools(body: dict[str, Any]) -> tuple[tuple[Offer, ...], bool]:
    functions = [mapping(tool.get("function")) for tool in dicts(body.get("tools"))]
    offers = tuple(
        Offer(str(function.get("name")), mapping(function.get("parameters")))
        for function in functions
    )
    choice = body.get("tool_choice", "auto")
    if choice == "none":
        return (), False
    if isinstance(choice, dict):
        name = mapping(choice.get("function")).get("name")
        return tuple(offer for offer in offers if offer.name == name), True
    return offers, choice == "required"


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = mapping(body.get("response_format"))
    if wanted.get("type") == "json_schema":
        return mapping(mapping(wanted.get("json_schema")).get("schema"))
    return ANY_OBJECT if wanted.get("type") == "json_object" else None


def _check_messages(body: dict[str, Any]) -> None:
    if "messages" not in body:
        raise refused(
            "Missing required parameter: 'messages'.",
            "messages",
            "missing_required_parameter",
        )
    messages = body["messages"]
    if not isinstance(messages, list) or dicts(messages) != messages:
        raise refused(
            "Invalid type for 'messages': expected an array of objects.",
            "messages",
            "invalid_type",
        )
    if not messages:
        raise refused(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            "messages",
            "empty_array",
        )
    for number, message in enumerate(messages):
        _check_role(number, message)
    _check_tool_turns(messages)


def _check_role(number: int, message: dict[str, Any]) -> None:
    where = f"messages[{number}]"
    if message.get("role") not in _ROLES:
        known = ", ".join(f"'{role}'" for role in _ROLES)
        raise refused(
            f"Invalid value: '{message.get('role')}'. Supported values are: {known}.",
            f"{where}.role",
            "invalid_value",
        )
    if message.get("content") is None and message["role"] != "assistant":
        raise refused(
            f"Missing required parameter: '{where}.content'.",
            f"{where}.content",
            "missing_required_parameter",
        )


def _check_tool_turns(messages: list[dict[str, Any]]) -> None:
    """Each tool call has its result next, and each result belongs to a call."""
    open_calls: set[object] = set()
    for number, message in enumerate([*messages, {"role": "end"}]):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise refused(
                    "Invalid parameter: messages with role 'tool' must be a response "
                    "to a preceding message with 'tool_calls'.",
                    f"messages.[{number}].role",
                )
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            missing = ", ".join(sorted(map(str, open_calls)))
            raise refused(
                "An assistant message with 'tool_calls' must be followed by tool "
                "messages responding to each 'tool_call_id'. The following "
                f"tool_call_ids did not have response messages: {missing}",
                f"messages.[{number}].role",
            )
        open_calls = {call.get("id") for call in dicts(message.get("tool_calls"))}
