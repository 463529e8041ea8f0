"""Responses: which items an input may hold, and in which order."""

from __future__ import annotations

from typing import Any

from flask_llm.emulator.chat_completions.rules import refused
from flask_llm.emulator.dialect import Problem, RejectedError, dicts

from .answer import encrypted

_ROLES = ("assistant", "system", "developer", "user")
_SAID = ("input_text", "input_image", "input_file")
_ANSWERED = ("output_text", "refusal")
_FIELDS = {
    "message": ("role", "content"),
    "reasoning": ("id", "summary"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}


def check_items(items: list[dict[str, Any]]) -> None:
    """Refuse items of unknown kinds, without their fields or without their others."""
    for number, item in enumerate(items):
        kind = item.get("type", "message")
        if not isinstance(kind, str) or kind not in _FIELDS:
            raise _unknown(kind, tuple(_FIELDS), f"input[{number}]")
        for name in _FIELDS[kind]:
            _check_field(item, name, f"input[{number}].{name}")
        if kind == "message":
            _check_message(item, f"input[{number}]")
    _check_reasoning(items)
    _check_calls(items)


def _check_field(item: dict[str, Any], name: str, where: str) -> None:
    if item.get(name) is None:
        message = f"Missing required parameter: '{where}'."
        raise refused(message, where, "missing_required_parameter")
    if not isinstance(item[name], (str, list)):
        message = f"Invalid type for '{where}': expected a string or an array."
        raise refused(message, where, "invalid_type")


def _check_message(item: dict[str, Any], where: str) -> None:
    if item["role"] not in _ROLES:
        raise _unknown(item["role"], _ROLES, f"{where}.role")
    known = _ANSWERED if item["role"] == "assistant" else _SAID
    for number, part in enumerate(dicts(item["content"])):
        if part.get("type") not in known:
            raise _unknown(part.get("type"), known, f"{where}.content[{number}]")


def _check_reasoning(items: list[dict[str, Any]]) -> None:
    """Reasoning is whole, and what it led to comes next."""
    for item, following in zip(items, [*items[1:], {}], strict=True):
        if item.get("type") != "reasoning":
            continue
        ident, content = str(item["id"]), item.get("encrypted_content")
        if content is None:
            message = (
                f"Item with id '{ident}' not found. Items are not persisted when "
                "`store` is set to false. Try again with `store` set to true, or "
                "remove this item from your input."
            )
            raise RejectedError(
                Problem(status=404, message=message, param="input", code="")
            )
        if content != encrypted(ident):
            message = (
                f"The encrypted content for item {ident} could not be verified. "
                "Reason: Encrypted content could not be decrypted or parsed."
            )
            raise refused(message, None, "invalid_encrypted_content")
        if following.get("type", "message") == "function_call_output" or not following:
            message = (
                f"Item '{ident}' of type 'reasoning' was provided without its required "
                "following item."
            )
            raise refused(message, "input")


def _check_calls(items: list[dict[str, Any]]) -> None:
    """Each call has its result somewhere after it, and each result its call."""
    called: set[str] = set()
    answered: set[str] = set()
    for item in items:
        ident = str(item.get("call_id"))
        if item.get("type") == "function_call":
            called.add(ident)
        elif item.get("type") == "function_call_output":
            if ident not in called:
                message = (
                    f"No tool call found for function call output with call_id {ident}."
                )
                raise refused(message, "input")
            answered.add(ident)
    if called - answered:
        message = f"No tool output found for function call {min(called - answered)}."
        raise refused(message, "input")


def _unknown(value: object, known: tuple[str, ...], param: str) -> RejectedError:
    names = ", ".join(f"'{name}'" for name in known)
    message = f"Invalid value: '{value}'. Supported values are: {names}."
    return refused(message, param, "invalid_value")
