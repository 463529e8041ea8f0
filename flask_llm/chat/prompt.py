"""What is asked: every option of a call in one value, checked once, at the door."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask_llm.chat.message import Message
from flask_llm.chat.question import Question
from flask_llm.chat.tool import Tool
from flask_llm.errors import InvalidRequestError, nearest
from flask_llm.schema import Schema

LABEL_LENGTH = 128
"""Characters that user, tenant and feature may have: the width of their columns."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

_USUAL_TOKENS = (("none", 0), ("low", 2_048), ("medium", 8_192))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(Question):
    """One question with all its options; goes down the floors whole."""

    messages: tuple[Message, ...]
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    """``auto``, ``none``, ``required``, or the name of one tool."""
    parallel_tool_calls: bool | None = None
    schema: Schema | None = None
    """What the answer has to look like."""
    schema_retries: int = 0
    """Times that the model is told what is wrong with an answer that does not fit."""
    fetch: bool = False
    """Whether the app itself fetches the URLs that the provider does not."""
    reasoning: str | int | None = None
    """Effort: ``none minimal low medium high xhigh max``; or the tokens it may take."""
    prompt_cache: bool | str | None = None
    """Whether the provider keeps the prompt: True, ``5m`` or ``1h`` asks for it, False
    asks not to, and None leaves it alone."""
    prompt_cache_key: str | None = None
    """Whose prompts the provider may keep together, in words that say nothing."""
    defaulted: frozenset[str] = frozenset()
    """Options that settings filled in: dropped where a model refuses them."""
    fallbacks: tuple[str, ...] = ()
    """Models to go on to, as ``provider/model``."""

    def chosen(self, name: str) -> Any:
        """Return an option that the caller set, and None for a mere default."""
        return None if name in self.defaulted else getattr(self, name)

    @property
    def effort(self) -> str | None:
        """How hard to reason, for models that know no number of tokens.

        The lowest effort that usually takes as many; none above ``high``, which not
        every model has.
        """
        if self.reasoning is None or isinstance(self.reasoning, str):
            return self.reasoning
        enough = (name for name, most in _USUAL_TOKENS if self.reasoning <= most)
        return next(enough, "high")

    def __post_init__(self) -> None:
        _check_messages(self.messages)
        check_options(self)
        names = [tool.name for tool in self.tools]
        if self.tool_choice not in [None, "auto", "none", "required", *names]:
            raise InvalidRequestError(
                f"tool_choice={self.tool_choice!r} is neither auto, none, required "
                f"nor the name of a tool given." + nearest(self.tool_choice, names),
                param="tool_choice",
            )


def check_options(question: object) -> None:
    """See that each option of a call is of a kind and a size that can be sent.

    :param question: has some of a call's options as its attributes.
    :raises InvalidRequestError: naming the option.
    """
    for name, check in _CHECKS.items():
        value = getattr(question, name, None)
        if value is not None and (problem := check(value)):
            shown = name if name in _UNSHOWN else f"{name}={value!r}"
            raise InvalidRequestError(
                f"{shown}: {problem}.", param=name, code="invalid_option"
            )


def read_messages(prompt: object) -> tuple[Message, ...]:
    """Turn what a caller gave as prompt into messages.

    :raises InvalidRequestError: where it is empty or of a type that cannot be read.
    """
    match prompt:
        case str():
            return (Message("user", prompt),)
        case Message():
            return (prompt,)
        case Mapping():
            return (Message.from_dict(prompt),)
        case Sequence() if not isinstance(prompt, bytes):
            return tuple(_message(turn) for turn in prompt)
    raise InvalidRequestError(
        "The prompt is a string, a Message or a list of messages, "
        f"not {type(prompt).__name__}."
    )


def _message(turn: object) -> Message:
    return turn if isinstance(turn, Message) else Message.from_dict(_mapping(turn))


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f"Expected a dict, not {type(value).__name__}; a message is "
            "{'role': 'user', 'content': '…'}."
        )
    return value


def _check_messages(messages: tuple[Message, ...]) -> None:
    if not any(
        part.text.strip() if hasattr(part, "text") else True
        for message in messages
        if message.role != "system"
        for part in message.content
    ):
        raise InvalidRequestError(
            "The prompt is empty: say something to the model.", code="empty_prompt"
        )


def _number(low: float, high: float) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"a number is needed, not {type(value).__name__}"
        if math.isnan(value) or not low <= value <= high:
            return f"it must be between {low:g} and {high:g}"
        return None

    return check


def _whole(low: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"a whole number is needed, not {type(value).__name__}"
        return None if value >= low else f"it must be at least {low}"

    return check


def _label(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"a string is needed, not {type(value).__name__}"
    if len(value) > LABEL_LENGTH:
        return f"at most {LABEL_LENGTH} characters fit"
    if not _storable(value):
        return "it holds characters that no database keeps"
    return None


def _storable(text: str) -> bool:
    """Tell whether a text has neither NUL nor half a surrogate pair."""
    return "\0" not in text and text == text.encode("utf-8", "replace").decode()


def _kind(kind: type, name: str) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if isinstance(value, kind):
            return None
        return f"{name} is needed, not {type(value).__name__}"

    return check


def _strings(value: Any) -> str | None:
    if all(isinstance(item, str) and item for item in value):
        return None
    return "each one is a string with something in it"


def _tags(value: Any) -> str | None:
    if isinstance(value, Mapping) and all(
        isinstance(item, str) and _storable(item)
        for pair in value.items()
        for item in pair
    ):
        return None
    return "a dict of strings is needed"


def _json_dict(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "a dict is needed"
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"it is sent as JSON and cannot be: {error}"
    return None


def _lifetime(value: Any) -> str | None:
    if isinstance(value, bool) or value in ("5m", "1h"):
        return None
    return "it is True, False, '5m' or '1h'"


def _effort(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return None
    if isinstance(value, str) and value in EFFORTS:
        return None
    return f"it is one of {', '.join(EFFORTS)}, or a number of tokens"


_UNSHOWN = {"system", "stop", "extra", "user", "tenant", "feature", "tags"}
"""Options whose value no message shows: it may be a prompt, or a person."""

_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "system": _kind(str, "a string"),
    "max_tokens": _whole(1),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "stop": _strings,
    "seed": _whole(-(2**63)),
    "parallel_tool_calls": _kind(bool, "True or False"),
    "fetch": _kind(bool, "True or False"),
    "reasoning": _effort,
    "prompt_cache": _lifetime,
    "dimensions": _whole(1),
    "service_tier": _kind(str, "a string"),
    "extra": _json_dict,
    "cache": _whole(0),
    "timeout": _number(0.001, 86_400),
    "retries": _whole(0),
    "schema_retries": _whole(0),
    "user": _label,
    "tenant": _label,
    "feature": _label,
    "tags": _tags,
}
