"""Messages: what a request must look like, and what it asks for."""

from __future__ import annotations

from typing import Any

from flask_llm.emulator.dialect import (
    Ask,
    Call,
    Offer,
    Problem,
    RejectedError,
    count_tokens,
    dicts,
    mapping,
    text_of,
)

from .rules import check_marks, check_model_rules, check_version_rules

_KNOWN = frozenset(
    """cache_control container diagnostics inference_geo max_tokens messages metadata
    model output_config service_tier speed stop_sequences stream system temperature
    thinking tool_choice tools top_k top_p user_profile_id workspace_id""".split()  # noqa: SIM905 - thirty names read better as a paragraph
)
_VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
_ROLES = ("user", "assistant", "system")


def key(call: Call) -> str:
    """Take ``x-api-key``, or a bearer token when that is missing."""
    scheme, _, value = call.headers.get("authorization", "").partition(" ")
    bearer = value.strip() if scheme.lower() == "bearer" else ""
    return call.headers.get("x-api-key") or bearer


def read(call: Call) -> Ask:
    """Check a request as Anthropic does and say what it asks for."""
    version = check_version(call)
    body = call.body
    for name in ("model", "max_tokens", "messages"):
        if body.get(name) in (None, ""):
            raise _refused(f"{name}: Field required")
    if call.strict:
        for name in sorted(set(body) - _KNOWN):
            raise _refused(f"{name}: Extra inputs are not permitted")
    limit = body["max_tokens"]
    if not isinstance(limit, int) or limit < 0:
        raise _refused("max_tokens: Input should be a valid integer >= 0")
    _check_messages(body["messages"])
    check_marks(body)
    check_version_rules(version, body)
    check_model_rules(call.model, body)
    return _ask(call, body)


def check_version(call: Call) -> str:
    """Refuse a request without a known ``anthropic-version``; return which it is."""
    version = call.headers.get("anthropic-version")
    if version is None:
        raise _refused("anthropic-version: header is required")
    if version not in _VERSIONS:
        raise _refused(f'anthropic-version: "{version}" is not a valid version')
    return version


def _ask(call: Call, body: dict[str, Any]) -> Ask:
    messages = dicts(body["messages"])
    said = [text_of(m.get("content")) for m in messages if m.get("role") == "user"]
    tools, must_call = _tools(body)
    wanted = mapping(mapping(body.get("output_config")).get("format"))
    thinking = mapping(body.get("thinking")).get("type")
    return Ask(
        model=call.model,
        serial=call.serial,
        stream=call.stream,
        input_tokens=count_tokens(messages, body.get("system"), body.get("tools")),
        user_text=said[-1] if said else "",
        tool_result=_tool_result(messages[-1]),
        max_tokens=body["max_tokens"],
        tools=tools,
        must_call=must_call,
        schema=mapping(wanted.get("schema")) if wanted else None,
        thinks=thinking in ("adaptive", "enabled"),
    )


def _tool_result(message: dict[str, Any]) -> str | None:
    blocks = dicts(message.get("content"))
    results = [block for block in blocks if block.get("type") == "tool_result"]
    return text_of(results[-1].get("content")) if results else None


def _tools(body: dict[str, Any]) -> tuple[tuple[Offer, ...], bool]:
    offers = tuple(
        Offer(str(tool.get("name")), mapping(tool.get("input_schema")))
        for tool in dicts(body.get("tools"))
        if "input_schema" in tool
    )
    choice = mapping(body.get("tool_choice"))
    kind = choice.get("type", "auto")
    if kind == "none":
        return (), False
    if kind == "tool":
        return tuple(o for o in offers if o.name == choice.get("name")), True
    return offers, kind == "any"


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or dicts(messages) != messages:
        raise _refused("messages: Input should be a valid list of objects")
    if not messages:
        raise _refused("messages: at least one message is required")
    for number, message in enumerate(dicts(messages)):
        if message.get("role") not in _ROLES:
            raise _refused(
                f'messages: Unexpected role "{message.get("role")}". '
                'Allowed roles are "user", "assistant" or "system".'
            )
        if message.get("content") in (None, ""):
            raise _refused(f"messages.{number}.content: Field required")
    _check_tool_turns(dicts(messages))


def _check_tool_turns(messages: list[dict[str, Any]]) -> None:
    """Results come first in the very next message, one for each call."""
    for number, message in enumerate(messages):
        calls = _ids(message, "tool_use", "id")
        following = messages[number + 1] if number + 1 < len(messages) else {}
        missing = calls - _ids(following, "tool_result", "tool_use_id")
        if missing:
            raise _refused(
                f"messages.{number}: `tool_use` ids were found without `tool_result` "
                f"blocks immediately after: {', '.join(sorted(missing))}."
            )
        before = messages[number - 1] if number else {}
        results = _ids(message, "tool_result", "tool_use_id")
        strays = results - _ids(before, "tool_use", "id")
        if strays:
            raise _refused(
                f"messages.{number}.content.0: unexpected `tool_use_id` found in "
                f"`tool_result` blocks: {', '.join(sorted(strays))}."
            )


def _ids(message: dict[str, Any], kind: str, name: str) -> set[str]:
    blocks = dicts(message.get("content"))
    return {str(block.get(name)) for block in blocks if block.get("type") == kind}


def _refused(message: str) -> RejectedError:
    return RejectedError(Problem(status=400, message=message))
