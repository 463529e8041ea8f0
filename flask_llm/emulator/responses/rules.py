"""Responses: what models refuse, and strict schemas."""

from __future__ import annotations

from typing import Any

from flask_llm.emulator.chat_completions.rules import (
    check_effort,
    check_function,
    check_prompt_cache,
    check_sampling,
    check_strict,
    is_reasoning,
    reasons,
    refused,
    unsupported,
)
from flask_llm.emulator.dialect import dicts, mapping


def check_model_rules(model: str, body: dict[str, Any]) -> None:
    """Refuse what models do that reason, and what the others do."""
    name = model.rpartition("/")[2]
    check_prompt_cache(name, body)
    effort = mapping(body.get("reasoning")).get("effort")
    if is_reasoning(name):
        check_effort(name, effort, "reasoning.effort")
        if reasons(name, effort):
            check_sampling(body, ("top_logprobs",))
        return
    if effort is not None:
        raise unsupported("reasoning.effort")
    include = body.get("include")
    if isinstance(include, list) and "reasoning.encrypted_content" in include:
        raise refused("Encrypted content is not supported with this model.", "include")


def check_schemas(body: dict[str, Any]) -> None:
    """Refuse bad names, and strict schemas that leave anything open."""
    for number, tool in enumerate(dicts(body.get("tools"))):
        if tool.get("type") == "function":
            check_function(tool, f"tools[{number}]")
    wanted = mapping(mapping(body.get("text")).get("format"))
    if wanted.get("strict") is True:
        label = f"response_format '{wanted.get('name')}'"
        check_strict(wanted.get("schema"), label, "text.format.schema", None)
