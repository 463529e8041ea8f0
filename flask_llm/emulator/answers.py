"""What the emulator says when nobody has scripted anything, and how long it is."""

from __future__ import annotations

import re

from .dialect import Ask, Counts, Offer, Reply, ToolCall, dumps, tokens
from .schema import sample
from .script import Answer

# What reasoning that is not shown costs: one step of the smallest thinking budget.
_SILENT_THINKING = 64
_QUOTED_CHARACTERS = 200


def reply(ask: Ask, answer: Answer | None, *, interval_seconds: float) -> Reply:
    """Complete an answer, scripted or not, so that every format can write it.

    :param interval_seconds: pause between pieces where the answer does not say.
    """
    said = default_answer(ask) if answer is None else answer
    calls = tuple(_calls(ask, said))
    pause = said.interval_seconds
    return Reply(
        text=said.text,
        reasoning=said.reasoning,
        tool_calls=calls,
        refusal=said.refusal,
        finish_reason=said.finish_reason or ("tool_calls" if calls else "stop"),
        usage=_usage(ask, said, calls),
        chunks=said.chunks,
        interval_seconds=interval_seconds if pause is None else pause,
    )


def default_answer(ask: Ask) -> Answer:
    """Answer something sensible, the same each time for the same request."""
    reasoning = _reasoning(ask)
    tool = _chosen(ask)
    if tool is not None:
        arguments = sample(tool.schema, _subject(ask.user_text))
        call = {"name": tool.name, "arguments": arguments}
        return Answer(reasoning=reasoning, tool_calls=[call])
    if ask.schema is not None:
        return Answer(reasoning=reasoning, text=dumps(sample(ask.schema)))
    text = _prose(ask)
    if ask.max_tokens is None or tokens(text) <= ask.max_tokens:
        return Answer(reasoning=reasoning, text=text)
    short = text[: 4 * ask.max_tokens]
    return Answer(reasoning=reasoning, text=short, finish_reason="length")


def _chosen(ask: Ask) -> Offer | None:
    if not ask.tools or ask.tool_result is not None:
        return None
    said = ask.user_text.lower()
    for tool in ask.tools:
        name = tool.name.lower()
        if name in said or name.replace("_", " ") in said:
            return tool
    return ask.tools[0] if ask.must_call else None


def _reasoning(ask: Ask) -> str:
    if not ask.thinks:
        return ""
    return f"The user wrote {len(ask.user_text.split())} words. I will quote them."


def _prose(ask: Ask) -> str:
    if ask.tool_result is not None:
        return f"The tool answered {_quote(ask.tool_result)}. That is all I know."
    words = ask.user_text.split()
    if not words:
        return "You sent no text, so there is nothing for me to quote."
    return (
        f"You wrote {_quote(ask.user_text)}. I am an emulator and cannot think about "
        "it, but this is how an answer arrives: piece by piece, with its tokens "
        f"counted and a price to add up. You used {len(words)} "
        f"word{'s' if len(words) > 1 else ''}; the longest is "
        f"“{max(words, key=len).strip('.,;:!?')}”."
    )


def _quote(text: str) -> str:
    flat = " ".join(text.split())
    if len(flat) > _QUOTED_CHARACTERS:
        flat = flat[: _QUOTED_CHARACTERS - 1] + "…"
    return f"“{flat}”"


def _subject(text: str) -> str:
    """Find what a question is about: its last capitalised word ("… in Oslo?")."""
    names = re.findall(r"(?<=\s)[A-ZÀ-Þ]\w+", text)
    return names[-1] if names else ""


def _calls(ask: Ask, answer: Answer) -> list[ToolCall]:
    calls = []
    for number, call in enumerate(answer.tool_calls):
        arguments = call.get("arguments", {})
        text = arguments if isinstance(arguments, str) else dumps(arguments)
        ident = call.get("id", f"call_{ask.serial}_{number}")
        calls.append(ToolCall(id=ident, name=str(call["name"]), arguments=text))
    return calls


def _usage(ask: Ask, answer: Answer, calls: tuple[ToolCall, ...]) -> Counts:
    given = answer.usage or {}
    silent = _SILENT_THINKING if ask.thinks_silently and not answer.reasoning else 0
    reasoning = given.get("reasoning_tokens", tokens(answer.reasoning) + silent)
    said = answer.text + answer.refusal
    called = sum(tokens(call.name + call.arguments) for call in calls)
    return Counts(
        input=given.get("input_tokens", ask.input_tokens),
        output=given.get("output_tokens", tokens(said) + called + reasoning),
        cache_read=given.get("cache_read_tokens", 0),
        cache_write=given.get("cache_write_tokens", 0),
        cache_write_1h=given.get("cache_write_1h_tokens", 0),
        reasoning=reasoning,
    )
