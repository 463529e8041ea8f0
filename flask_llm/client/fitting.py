"""Answers held against what was asked for, and mended where they can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask_llm.chat import (
    Completion,
    Embeddings,
    Inputs,
    Message,
    Prompt,
    Question,
    Text,
)
from flask_llm.client.job import Whole
from flask_llm.errors import ContentFilteredError, ResponseError, SchemaError
from flask_llm.schema import MisfitError, Schema

_CUT_SHORT = {"length", "pause"}


def fitted(question: Question, answer: Whole) -> Whole:
    """Return an answer with what it says in ``parsed``, where a schema was asked for.

    One that asks for tools has said nothing yet.

    :raises SchemaError: where it does not fit.
    :raises ContentFilteredError: where the model refused.
    :raises ResponseError: where the answer was cut short, or vectors have not the
        length that was asked for.
    """
    if isinstance(question, Inputs) and isinstance(answer, Embeddings):
        _measure(question, answer)
    if not isinstance(question, Prompt) or not isinstance(answer, Completion):
        return answer
    if question.schema is None:
        return answer
    return fit(question.schema, answer, question.max_tokens)


def _measure(inputs: Inputs, answer: Embeddings) -> None:
    """See that a server has not passed over ``dimensions``, as some do."""
    length = len(answer[0])
    if inputs.dimensions not in {None, length}:
        raise ResponseError(
            f"The vectors have {length} numbers, and dimensions={inputs.dimensions} "
            "was asked for: this server or model knows no other length; leave it out.",
            code="wrong_dimensions",
            completion=answer,
        )


def fit(
    schema: Schema, completion: Completion, max_tokens: int | None = None
) -> Completion:
    """Return an answer with what it says in ``parsed``.

    :param max_tokens: its cap, to be named where that was too low.
    :raises ProviderError: as :func:`fitted` does.
    """
    if completion.tool_calls:
        return completion
    return replace(completion, parsed=_read(schema, completion, max_tokens))


def _read(schema: Schema, completion: Completion, max_tokens: int | None) -> Any:
    if completion.refusal or completion.finish_reason == "content_filter":
        raise ContentFilteredError(
            "The model refused to answer, so there is nothing to fit the schema; "
            "the refusal of the error's completion may say why.",
            code="refused",
            completion=completion,
        )
    try:
        return schema.read(_last_text(completion))
    except MisfitError as misfit:
        if completion.finish_reason in _CUT_SHORT:
            raise _cut_short(completion, max_tokens) from None
        raise _mismatch(schema, completion, misfit) from misfit.__cause__


def _last_text(completion: Completion) -> str:
    """Return the text that is the answer: others before it comment on the work."""
    texts = [part.text for part in completion.content if isinstance(part, Text)]
    return texts[-1] if texts else ""


def mended(prompt: Prompt, error: SchemaError) -> Prompt:
    """Return the question again, with the answer and what is wrong with it."""
    answer: Completion = error.completion
    problems = "\n".join(f"- {problem}" for problem in error.problems)
    told = Message(
        "user",
        f"Your answer does not fit the JSON schema:\n{problems}\n"
        "Give the whole answer again, as JSON that fits.",
    )
    said = [answer.to_message()] if answer.content else []
    return replace(prompt, messages=(*prompt.messages, *said, told))


def _cut_short(completion: Completion, max_tokens: int | None) -> ResponseError:
    return ResponseError(
        "The answer was cut short before its JSON was complete"
        + (
            f": max_tokens={max_tokens} is too small for it, reasoning included."
            if max_tokens and completion.finish_reason == "length"
            else "."
        ),
        code="truncated",
        completion=completion,
    )


def _mismatch(
    schema: Schema, completion: Completion, misfit: MisfitError
) -> SchemaError:
    first = "the class refused it" if misfit.private else misfit.problems[0]
    count = len(misfit.problems)
    return SchemaError(
        f"The answer does not fit the schema {schema.name}: {first}"
        + (f", and {count - 1} more." if count > 1 else "."),
        completion=completion,
        problems=misfit.problems,
    )
