"""Responses: what a request must look like, and what it asks for."""

from __future__ import annotations

from typing import Any

from flask_llm.emulator.chat_completions.rules import (
    check_numbers,
    is_reasoning,
    reasons,
    refused,
)
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

from .items import check_items
from .rules import check_model_rules, check_schemas

_KNOWN = frozenset(
    """access_programs background background_options context_management conversation
    image include input instructions max_output_tokens max_tool_calls metadata model
    moderation parallel_tool_calls previous_response_id prompt prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning safety_identifier
    service_tier store stream stream_options temperature text tool_choice tools
    top_logprobs top_p truncation user""".split()  # noqa: SIM905 - thirty names read better as a paragraph
)


def read(call: Call) -> Ask:
    """Check a request as OpenAI does and say what it asks for."""
    body = call.body
    if not call.model:
        raise refused(
            "Missing required parameter: 'model'.",
            "model",
            "missing_required_parameter",
        )
    if call.strict:
        for name in sorted(set(body) - _KNOWN):
            raise refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    items = _items(body)
    check_items(items)
    check_numbers(body, ("max_output_tokens",))
    check_model_rules(call.model, body)
    check_schemas(body)
    return _ask(call, body, items)


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Take the input, a string or a list of items."""
    given = body.get("input")
    if given is None:
        raise refused(
            "Missing required parameter: 'input'.",
            "input",
            "missing_required_parameter",
        )
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or dicts(given) != given:
        raise refused(
            "Invalid type for 'input': expected a string or an array of objects.",
            "input",
            "invalid_type",
        )
    if not given:
        raise refused(
            "Invalid 'input': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            "input",
            "empty_array",
        )
    return dicts(given)


def _ask(call: Call, body: dict[str, Any], items: list[dict[str, Any]]) -> Ask:
    said = [
        text_of(item.get("content")) for item in items if item.get("role") == "user"
    ]
    tools, must_call = _tools(body)
    name = call.model.rpartition("/")[2]
    reasoning = mapping(body.get("reasoning"))
    thinks = is_reasoning(name) and reasons(name, reasoning.get("effort"))
    return Ask(
        model=call.model,
        serial=call.serial,
        stream=call.stream,
        input_tokens=count_tokens(items, body.get("instructions"), body.get("tools")),
        user_text=said[-1] if said else "",
        tool_result=_result(items[-1]),
        max_tokens=body.get("max_output_tokens"),
        tools=tools,
        must_call=must_call,
        schema=_schema(body),
        thinks=thinks and bool(reasoning.get("summary")),
        thinks_silently=thinks,
    )


def _result(item: dict[str, Any]) -> str | None:
    is_result = item.get("type") == "function_call_output"
    return text_of(item.get("output")) if is_result else None


def _tools(body: dict[str, Any]) -> tuple[tuple[Offer, ...], bool]:
    offers = tuple(
        Offer(str(tool.get("name")), mapping(tool.get("parameters")))
        for tool in dicts(body.get("tools"))
        if tool.get("type") == "function"
    )
    choice = body.get("tool_choice", "auto")
    if choice == "none":
        return (), False
    if isinstance(choice, dict):
        return tuple(o for o in offers if o.name == choice.get("name")), True
    return offers, choice == "required"


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = mapping(mapping(body.get("text")).get("format"))
    if wanted.get("type") == "json_schema":
        return mapping(wanted.get("schema"))
    return ANY_OBJECT if wanted.get("type") == "json_object" else None
