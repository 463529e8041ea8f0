"""The terms of a line of the script: for which calls it is, and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, cast

from flask_llm.emulator import Answer
from flask_llm.testing.script import Pattern

Said = str | Mapping[str, Any] | Sequence[Any] | Answer
"""What a model says; a dict or a list is said as JSON."""


class Conditions(TypedDict, total=False):
    """Which calls a line of the script is for; all of it may be left out."""

    model: str | None
    prompt: Pattern | None
    times: int | None


class Details(TypedDict, total=False):
    """What else an answer may have; see :class:`flask_llm.emulator.Answer`."""

    reasoning: str
    tool_calls: list[dict[str, Any]]
    refusal: str
    finish_reason: str
    usage: dict[str, int]


class Terms(Conditions, Details, total=False):
    """Both."""


def split(terms: Terms) -> tuple[Conditions, Details]:
    """Tell for which calls a line is from what it says."""
    names = Conditions.__annotations__
    where = {name: value for name, value in terms.items() if name in names}
    rest = {name: value for name, value in terms.items() if name not in names}
    return cast("Conditions", where), cast("Details", rest)


def answer_of(said: Said, details: Details) -> Answer:
    """Put an answer together."""
    if isinstance(said, Answer):
        return replace(said, **details)
    if isinstance(said, str):
        return Answer(text=said, **details)
    return Answer(text=json.dumps(said, ensure_ascii=False), **details)


def tool_answer(
    name: str, arguments: Mapping[str, Any] | str | None, text: str
) -> Answer:
    """Put an answer together that asks for one tool."""
    given = dict(arguments) if isinstance(arguments, Mapping) else arguments
    call = {"name": name, "arguments": {} if given is None else given}
    return Answer(text=text, tool_calls=[call])
