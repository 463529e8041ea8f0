"""Token counts where the provider tells none: estimates, and the worst case."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask_llm.chat import (
    Completion,
    Embeddings,
    File,
    Inputs,
    Media,
    Message,
    Prompt,
    Question,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)

BYTES_PER_TOKEN = 4
"""UTF-8 bytes in a token, roughly: English 4, Cyrillic and Chinese about as many."""

IMAGE_TOKENS = 1_000
"""What an image or a page takes, roughly."""

_TURN_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """How many tokens are reckoned for what is sent."""

    bytes_per_token: int
    image: int
    """Tokens of an image, or of a file that is not sent along."""
    file_bytes_per_token: int | None = None


LIKELY = Scale(BYTES_PER_TOKEN, IMAGE_TOKENS)

WORST = Scale(bytes_per_token=1, image=5_000, file_bytes_per_token=10)
"""A token is a byte at least, in every tokenizer that falls back to bytes, as those of
OpenAI, Google and Llama do. Most text has four of them, but base64 and scripts that a
vocabulary hardly knows come down to less than two.
A page of a PDF has up to 3,000 tokens in 30 kB and more, and an image 5,000
(https://platform.claude.com/docs/en/build-with-claude/pdf-support and vision)."""


def estimate(text: str, scale: Scale = LIKELY) -> int:
    """Estimate the tokens of a text; at least 1 where there is any."""
    return -(-len(text.encode("utf-8", "replace")) // scale.bytes_per_token)


def input_estimate(question: Question, scale: Scale = LIKELY) -> int:
    """Estimate the tokens that a prompt has, or texts that are to be embedded."""
    match question:
        case Inputs():
            return sum(estimate(text, scale) for text in question.texts)
        case Prompt():
            return _prompt(question, scale)
    raise TypeError(question)


def _prompt(prompt: Prompt, scale: Scale) -> int:
    total = estimate(prompt.system or "", scale)
    for tool in prompt.tools:
        total += estimate(
            f"{tool.name}{tool.description}{dict(tool.parameters)}", scale
        )
    if prompt.schema:
        total += estimate(json.dumps(dict(prompt.schema.json)), scale)
    return total + sum(_message(message, scale) for message in prompt.messages)


Measure = Callable[[str], int]
"""Tells how many tokens a text has."""


def bytes_of(text: str) -> int:
    """Return how many tokens a text can have at most: one for each byte.

    Half a surrogate pair counts as what is read in its place, U+FFFD.
    """
    return len(text if text.isascii() else text.encode("utf-8", "surrogatepass"))


def input_ceiling(
    question: Question, body: Mapping[str, Any], measure: Measure = bytes_of
) -> int:
    """Return how many tokens a request can have.

    Images and files are reckoned (:data:`WORST`); what the provider adds of its own, as
    results of its own tools, nobody can know before.

    :param body: as it is sent: state that goes back to a provider counts as well.
    :param measure: counts the tokens of each text.
    """
    media = _media_in(question)
    files = [part for part in media if part.data]
    encoded = {form for part in files for form in (part.base64, part.data_url)}
    texts = (text for text in _texts(body) if text not in encoded)
    return (
        _template(question, body)
        + sum(map(measure, texts))
        + sum(_media(part, WORST) for part in media)
    )


_TEMPLATE_TOKENS = 100
"""What a chat template adds, more or less."""

_TOOLS_TOKENS = 600
"""What it adds to explain tools or a schema: Anthropic up to 346 for tools
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview), Llama 4 and
Mistral about 450."""


def _template(question: Question, body: Mapping[str, Any]) -> int:
    if not isinstance(question, Prompt):
        return 0
    explained = question.tools or question.schema or body.get("tools")
    return _TEMPLATE_TOKENS + (_TOOLS_TOKENS if explained else 0)


def _media_in(question: Question) -> list[Media]:
    messages = question.messages if isinstance(question, Prompt) else ()
    return [part for message in messages for part in message.media]


def _texts(value: Any) -> Iterator[str]:
    """Yield all that stands in a request, names of fields included."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            yield from map(str, one)
            rest.extend(one.values())
        elif isinstance(one, list | tuple):
            rest.extend(one)
        else:
            yield str(one)


_CAPS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxOutputTokens",
)
_ANSWERS = ("n", "candidateCount", "candidate_count")


def output_ceiling(body: Mapping[str, Any]) -> int | None:
    """Return how many tokens the answers to a request can have, reasoning included.

    :param body: as it is sent, ``extra`` merged into it.
    :return: None where nothing caps them, or what does is no whole number.
    """
    fields = dict(body)
    for name in ("generationConfig", "generation_config"):
        inner = body.get(name)
        fields |= inner if isinstance(inner, Mapping) else {}
    caps, answers = _given(fields, _CAPS), _given(fields, _ANSWERS)
    if not caps or not all(type(number) is int for number in (*caps, *answers)):
        return None
    return int(max(caps) * max([1, *answers]))


def _given(fields: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    return [fields[name] for name in names if fields.get(name) is not None]


def _message(message: Message, scale: Scale) -> int:
    total = _TURN_TOKENS
    for part in message.content:
        match part:
            case Text():
                total += estimate(part.text, scale)
            case ToolCall():
                total += estimate(part.name + part.raw_arguments, scale)
            case ToolResult():
                total += estimate(part.content, scale)
    return total + sum(_media(part, scale) for part in message.media)


def _media(part: Media, scale: Scale) -> int:
    if not (isinstance(part, File) and part.data and scale.file_bytes_per_token):
        return scale.image
    bytes_per_token = scale.file_bytes_per_token
    if (part.media_type or "").startswith(_TEXT_TYPES):
        bytes_per_token = scale.bytes_per_token
    return max(scale.image, len(part.data) // bytes_per_token)


_TEXT_TYPES = ("text/", "application/json", "application/xml")
"""Files that are read as they are, and not page by page."""


def output_estimate(completion: Completion | Embeddings) -> int:
    """Estimate the tokens of an answer, or of as much of it as has come."""
    if isinstance(completion, Embeddings):
        return 0
    calls = (call.name + call.raw_arguments for call in completion.tool_calls)
    texts = (completion.text, completion.reasoning or "", completion.refusal or "")
    return sum(estimate(text) for text in (*texts, *calls))


def usage_of(
    question: Question, completion: Completion | Embeddings, *, partial: bool
) -> Usage:
    """Return what an answer used, estimated where the provider did not say.

    :param partial: the answer broke off, and what was counted may not be all.
    """
    told = completion.usage
    if told.source == "provider" and not partial:
        return told
    return replace(
        told,
        input_tokens=told.input_tokens or input_estimate(question),
        output_tokens=told.output_tokens or output_estimate(completion),
        source="estimated",
    )
