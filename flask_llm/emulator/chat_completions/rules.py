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
_NO_STOP = re.compile(r"o3|o4-mini")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_model_rules(model: str, body: dict[str, Any]) -> None:
    """Refuse what OpenAI's reasoning models do on this endpoint."""
    name = model.rpartition("/")[2]
    if not _REASONING_LINE.match(name):
        return
    _check_effort(name, body.get("reasoning_effort"))
    if body.get("max_tokens") is not None:
        raise _unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    if body.get("stop") is not None and _NO_STOP.match(name):
        raise _unsupported("stop")
    if _reasons(name, body.get("reasoning_effort")):
        _check_sampling(body)
    if body.get("tools") and _forbids_tools(name, body.get("reasoning_effort")):
        message = (
            f"Function tools with reasoning_effort are not supported for {model} in "
            "/v1/chat/completions. Please use /v1/responses instead."
        )
        raise _refused(message, "reasoning_effort")


def _reasons(name: str, effort: str | None) -> bool:
    if effort is None:
        return bool(_REASONS_BY_DEFAULT.match(name))
    return effort != "none"


def _forbids_tools(name: str, effort: str | None) -> bool:
    if _NO_TOOLS_AT_ALL.match(name):
        return True
    if effort is None:
        return bool(_NO_TOOLS_BY_DEFAULT.match(name))
    return effort != "none" and bool(_NO_TOOLS_WITH_EFFORT.match(name))


def _check_effort(name: str, effort: str | None) -> None:
    without = {"none": _NO_NONE, "minimal": _NO_MINIMAL}
    if effort in without and without[effort].match(name):
        message = (
            f"Unsupported value: 'reasoning_effort' does not support '{effort}' "
            "with this model."
        )
        raise _refused(message, "reasoning_effort", "unsupported_value")


def _check_sampling(body: dict[str, Any]) -> None:
    for name in ("temperature", "top_p"):
        if body.get(name) not in (None, 1):
            message = (
                f"Unsupported value: '{name}' does not support {body[name]} with this "
                "model. Only the default (1) value is supported."
            )
            raise _refused(message, name, "unsupported_value")
    for name in ("logprobs", "top_logprobs"):
        if body.get(name):
            raise _unsupported(name)


def check_schemas(body: dict[str, Any]) -> None:
    """Refuse bad names, and strict schemas that leave anything open."""
    for number, tool in enumerate(dicts(body.get("tools"))):
        function = mapping(tool.get("function"))
        name = str(function.get("name") or "")
        where = f"tools[{number}].function"
        if not _NAME.fullmatch(name):
            message = (
                f"Invalid '{where}.name': string does not match pattern. Expected a "
                "string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            )
            raise _refused(message, f"{where}.name", "invalid_value")
        if function.get("strict") is True:
            label, param = f"function '{name}'", f"{where}.parameters"
            schema, code = function.get("parameters"), "invalid_function_parameters"
            _check_strict(schema, label, param, code)
    wanted = mapping(mapping(body.get("response_format")).get("json_schema"))
    if wanted.get("strict") is True:
        label = f"response_format '{wanted.get('name')}'"
        _check_strict(wanted.get("schema"), label, "response_format", None)


def _check_strict(schema: object, label: str, param: str, code: str | None) -> None:
    for path, node in objects(schema):
        context = f"Invalid schema for {label}: In context={path}, "
        if node.get("additionalProperties") is not False:
            cure = "'additionalProperties' is required to be supplied and to be false."
            raise _refused(context + cure, param, code)
        missing = set(mapping(node.get("properties"))) - set(node.get("required") or [])
        if missing:
            cure = (
                "'required' is required to be supplied and to be an array including "
                f"every key in properties. Missing '{min(missing)}'."
            )
            raise _refused(context + cure, param, code)


def _unsupported(name: str, cure: str = "") -> RejectedError:
    message = f"Unsupported parameter: '{name}' is not supported with this model.{cure}"
    return _refused(message, name, "unsupported_parameter")


def _refused(message: str, param: str, code: str | None = None) -> RejectedError:
    return RejectedError(Problem(status=400, message=message, param=param, code=code))
