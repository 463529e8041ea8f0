"""What a failing test reads: what was asked, and how to script it."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flask_llm.testing.calls import Call
from flask_llm.testing.script import Entry

Seen = Callable[[Call, str, Any], tuple[Any, bool]]
"""Returns what a call has under a name, and whether that is what was meant."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 120


_SHOWN = 5
"""Calls that are compared in a message, the latest ones."""


def short(value: object) -> str:
    """Write a value down, long ones cut in the middle."""
    return _repr.repr(value)


def unscripted(call: Call, left: Iterable[Entry]) -> str:
    """Say what was asked while nothing was scripted for it."""
    begin = call.prompt[:20]
    prompt = begin if begin == call.prompt else f"{begin}*"
    lines = [
        "a model was asked, and nothing is scripted for it:",
        *_described(call),
        "Script it before the call, for this one alone or for whatever comes:",
        f"    llm.answer('…', model={call.model!r}, prompt={prompt!r})",
        "    llm.default('…')",
    ]
    lines += _listed("On the script there is left, for other calls:", left)
    return "\n".join(lines)


def leftover(left: Iterable[Entry]) -> str:
    """Say what was scripted and not asked for."""
    return "\n".join(_listed("scripted, and never asked for:", left))


def not_called(wanted: Mapping[str, Any], calls: Sequence[Call], seen: Seen) -> str:
    """Show how each call differs from the one that was expected.

    :param seen: looks at one field of a call.
    """
    lines = ["no call was like this:"]
    lines += [f"    {name} = {short(value)}" for name, value in wanted.items()]
    if not calls:
        return "\n".join([*lines, "There was no call at all."])
    first = max(0, len(calls) - _SHOWN)
    lines.append(f"Of {len(calls)} in all:" if first else "There was:")
    for number, call in enumerate(calls[first:], start=first):
        lines.append(f"  llm.calls[{number}]")
        for name, value in wanted.items():
            found, same = seen(call, name, value)
            mark = " " if same else "≠"
            lines.append(f"  {mark} {name} = {short(found)}")
    return "\n".join(lines)


def _described(call: Call) -> list[str]:
    facts = {"system": call.system, "user": call.user, "feature": call.feature}
    said = [f"    {name}: {short(v)}" for name, v in facts.items() if v]
    return [f"    model: {call.model}", f"    prompt: {short(call.prompt)}", *said]


def _listed(title: str, entries: Iterable[Entry]) -> list[str]:
    lines = [f"    {entry}" for entry in entries]
    return [title, *lines] if lines else []
