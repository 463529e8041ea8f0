"""Chat Completions: what reasoning models and strict schemas refuse."""

from __future__ import annotations

import re
from typing import Any

from flask_llm.emulator.dialect import Problem, RejectedError, dicts, mapping
from flask_llm.emulator.schema import objects

_REASONING_LINE = re.compile(r"o\d|gpt-[5-9]")
# These reason unless told not to; gpt-5.1 to 5.4 only when told to.
_REASONS_BY_DEFAULT = re.compile(r"o\d|gpt-5(?!\.[1-4])|gpt-[6-9]")
_NO_NONE = re.compile(r"gpt-6-astra|gpt-6\.1-sol|gpt-6\.2-astra")
_NO_MINIMAL = re.compile(r"gpt-5\.[6-9]|gpt-[6-9]")
_NO_TOOLS_AT_ALL = re.compile(r"gpt-6-astra|gpt-6\.1-sol")
_NO_TOOLS_BY_DEFAULT = re.compile(r"gpt-5\.[6-9]|gpt-[6-9]")
_NO_TOOLS_WITH_EFFORT = re.compile(r"gpt-5\.[4-9]|gpt-[6-9]")
_CACHE_OPTIONS = re.compile(r"gpt-5\.[6-9]|gpt-[6-9]")
_NO_STOP = re.compile(r"o3|o4-mini")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_model_rules(model: str, body: dict[str, Any]) -> None:
    """Refuse what OpenAI's reasoning models do on this endpoint."""
    name = model.rpartition("/")[2]
    check_prompt_cache(name, body)
    if not is_reasoning(name):
        return
    check_effort(name, body.get("reasoning_effort"), "reasoning_effort")
    if body.get("max_tokens") is not None:
        raise unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    if body.get("stop") is not None and _NO_STOP.match(name):
        raise unsupported("stop")
    if reasons(name, body.get("reasoning_effort")):
        check_sampling(body, ("logprobs", "top_logprobs"))
    if body.get("tools") and _forbids_tools(name, body.get("reasoning_effort")):
        message = (
            f"Function tools with reasoning_effort are not supported for {model} in "
            "/v1/chat/completions. Please use /v1/responses instead."
        )
        raise refused(message, "reasoning_effort")


def is_reasoning(name: str) -> bool:
    """Whether a model is of a line that can reason."""
    return bool(_REASONING_LINE.match(name))


def reasons(name: str, effort: object) -> bool:
    """Whether a model of that line reasons when asked with this effort."""
    if effort is None:
        return bool(_REASONS_BY_DEFAULT.match(name))
    return effort != "none"


def _forbids_tools(name: str, effort: str | None) -> bool:
    if _NO_TOOLS_AT_ALL.match(name):
        return True
    if effort is None:
        return bool(_NO_TOOLS_BY_DEFAULT.match(name))
    return effort != "none" and bool(_NO_TOOLS_WITH_EFFORT.match(name))


def check_prompt_cache(name: str, body: dict[str, Any]) -> None:
    """Refuse what models before GPT-5.6 do not know of prompt caching."""
    options = body.get("prompt_cache_options")
    if options is None:
        return
    if not _CACHE_OPTIONS.match(name):
        raise unsupported("prompt_cache_options")
    if mapping(options).get("mode", "implicit") not in ("implicit", "explicit"):
        raise refused(
            "Invalid value for 'prompt_cache_options.mode'.",
            "prompt_cache_options.mode",
            "invalid_value",
        )


def check_effort(name: str, effort: object, param: str) -> None:
    """Refuse the efforts that a model does not know."""
    without = {"none": _NO_NONE, "minimal": _NO_MINIMAL}
    if isinstance(effort, str) and effort in without and without[effort].match(name):
        message = (
            f"Unsupported value: '{param}' does not support '{effort}' with this model."
        )
        raise refused(message, param, "unsupported_value")


def check_sampling(body: dict[str, Any], also: tuple[str, ...]) -> None:
    """Refuse sampling options, as models that reason do.

    :param also: the endpoint's names for log probabilities.
    """
    for name in ("temperature", "top_p"):
        if body.get(name) not in (None, 1):
            message = (
                f"Unsupported value: '{name}' does not support {body[name]} with this "
                "model. Only the default (1) value is supported."
            )
            raise refused(message, name, "unsupported_value")
    for name in also:
        if body.get(name):
            raise unsupported(name)


def check_numbers(body: dict[str, Any], caps: tuple[str, ...]) -> None:
    """Refuse numbers out of their range.

    :param caps: the endpoint's names for the cap on output tokens.
    """
    for name in caps:
        value = body.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise refused(
                f"Invalid '{name}': integer below minimum value. Expected a value "
                f">= 1, but got {value} instead.",
                name,
                "integer_below_min_value",
            )
    for name, high in (("temperature", 2), ("top_p", 1)):
        value = body.get(name)
        number = isinstance(value, (int, float))
        if value is not None and not (number and 0 <= value <= high):
            raise refused(
                f"Invalid '{name}': expected a decimal between 0 and {high}, but got "
                f"{value} instead.",
                name,
                "decimal_out_of_range",
            )


def check_schemas(body: dict[str, Any]) -> None:
    """Refuse bad names, and strict schemas that leave anything open."""
    for number, tool in enumerate(dicts(body.get("tools"))):
        check_function(mapping(tool.get("function")), f"tools[{number}].function")
    wanted = mapping(mapping(body.get("response_format")).get("json_schema"))
    if wanted.get("strict") is True:
        label = f"response_format '{wanted.get('name')}'"
        check_strict(wanted.get("schema"), label, "response_format", None)


def check_function(function: dict[str, Any], where: str) -> None:
    """Refuse a function with a bad name, or a strict one with an open schema."""
    name = str(function.get("name") or "")
    if not _NAME.fullmatch(name):
        message = (
            f"Invalid '{where}.name': string does not match pattern. Expected a "
            "string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        )
        raise refused(message, f"{where}.name", "invalid_value")
    if function.get("strict") is True:
        label, param = f"function '{name}'", f"{where}.parameters"
        schema, code = function.get("parameters"), "invalid_function_parameters"
        check_strict(schema, label, param, code)


def check_strict(schema: object, label: str, param: str, code: str | None) -> None:
    """Refuse a schema that leaves anything open."""
    for path, node in objects(schema):
        context = f"Invalid schema for {label}: In context={path}, "
        if node.get("additionalProperties") is not False:
            cure = "'additionalProperties' is required to be supplied and to be false."
            raise refused(context + cure, param, code)
        missing = set(mapping(node.get("properties"))) - set(node.get("required") or [])
        if missing:
            cure = (
                "'required' is required to be supplied and to be an array including "
                f"every key in properties. Missing '{min(missing)}'."
            )
            raise refused(context + cure, param, code)


def unsupported(name: str, cure: str = "") -> RejectedError:
    """Refuse a parameter by its name."""
    message = f"Unsupported parameter: '{name}' is not supported with this model.{cure}"
    return refused(message, name, "unsupported_parameter")


def refused(
    message: str, param: str | None = None, code: str | None = None
) -> RejectedError:
    """Refuse a request in OpenAI's way."""
    return RejectedError(Problem(status=400, message=message, param=param, code=code))
