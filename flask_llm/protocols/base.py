"""What all wire formats share: their shape, and how to read JSON that may be odd."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from itertools import dropwhile, takewhile
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from flask_llm.chat import (
    Chunk,
    Completion,
    Media,
    Message,
    Part,
    Prompt,
    Text,
    ToolCall,
)
from flask_llm.errors import InvalidRequestError, ProviderError, ResponseError
from flask_llm.protocols.problems import in_band
from flask_llm.providers import Provider, Quirks
from flask_llm.wire import Call, Event, Reply

OPENING = "(The conversation begins.)"
"""Said for the user where a history begins with the model, which some refuse."""


class Fold(Protocol):
    """Puts a stream together again, event by event."""

    @property
    def finished(self) -> bool:
        """Whether the stream's own end marker has come."""

    @property
    def raw(self) -> dict[str, Any]:
        """What has come so far, in the shape of a whole answer."""

    def feed(self, event: Event) -> Iterator[Chunk]:
        """Take one event and yield what it adds for the reader."""


class WireProtocol(Protocol):
    """A wire format: pure functions, no network, no clock."""

    def render(self, prompt: Prompt, provider: Provider, *, stream: bool) -> Call:
        """Turn a prompt into the request."""

    def takes_url(self, media: Media, provider: Provider) -> bool:
        """Tell whether the provider fetches an image or file itself.

        :param media: one that is given by its URL.
        """

    def parse(self, raw: Mapping[str, Any]) -> Completion:
        """Turn an answer, whole or put together by the fold, into a completion.

        :raises ResponseError: where it is of no shape that an answer has.
        """

    def fold(self) -> Fold:
        """Begin to put a stream together."""

    def error(self, reply: Reply) -> ProviderError | None:
        """Tell what went wrong, or None where the reply is an answer."""


# --- Request ---------------------------------------------------------------------


def merged(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a caller's own fields over a body, dict by dict."""
    for name, value in extra.items():
        inner = body.get(name)
        if isinstance(value, Mapping) and isinstance(inner, dict):
            merged(inner, value)
        else:
            body[name] = value
    return body


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None."""
    return {name: value for name, value in fields.items() if value is not None}


def split_system(prompt: Prompt) -> tuple[str, list[Message]]:
    """Take the system text off the history: the option, and the messages it opens with.

    System messages later on stay where they are: what they say applies from there.
    """
    leading = takewhile(_is_system, prompt.messages)
    texts = [prompt.system, *(message.text for message in leading)]
    rest = list(dropwhile(_is_system, prompt.messages))
    return "\n\n".join(text for text in texts if text), rest


def _is_system(message: Message) -> bool:
    return message.role == "system"


Turn = tuple[str, list[dict[str, Any]]]
"""A role and its parts in the provider's form."""


def alternating(
    turns: Iterable[Turn], text: Callable[[str], dict[str, Any]]
) -> list[Turn]:
    """Join neighbours of one role, leave out empty turns, and begin with the user.

    :param text: makes a text part in the provider's form.
    """
    joined: list[Turn] = []
    for role, parts in turns:
        if parts and joined and joined[-1][0] == role:
            joined[-1][1].extend(parts)
        elif parts:
            joined.append((role, list(parts)))
    if joined and joined[0][0] != "user":
        joined.insert(0, ("user", [text(OPENING)]))
    return joined


def arguments(call: ToolCall, quirks: Quirks) -> str:
    """Write the arguments of a call for the history, as far as they are JSON."""
    is_json = call.valid and call.raw_arguments.strip()
    if is_json or quirks.loose_arguments:
        return call.raw_arguments
    return json.dumps(call.arguments, ensure_ascii=False)


def unsendable(part: Part | Media, whom: str, cure: str) -> InvalidRequestError:
    """Build the error for a part that a provider has no form for."""
    return InvalidRequestError(
        f"{whom} takes no {type(part).__name__} given in this way; {cure}."
    )


def unfetched(media: Media, whom: str) -> InvalidRequestError:
    """Build the error for a URL that a provider does not fetch."""
    kind = type(media).__name__
    return unsendable(
        media,
        whom,
        f"it does not fetch from this URL: say {kind}(url=…, fetch=True) or fetch=True "
        f"for the whole call to have it fetched from here, or give the bytes "
        f"({kind}(data=…))",
    )


# --- Response --------------------------------------------------------------------


def dig(value: Any, *path: str) -> Any:
    """Follow names into nested objects; None where the way ends."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def count(usage: Any, *path: str) -> int:
    """Read a token count, 0 where it is missing, null or no count.

    Some servers write whole numbers as floats.
    """
    value = dig(usage, *path)
    if isinstance(value, float) and value.is_integer():
        return max(0, int(value))
    return value if type(value) is int and value > 0 else 0


def counts(usage: object, *names: str) -> bool:
    """Tell whether a usage object holds any of some counts: without, none is known."""
    return any(isinstance(dig(usage, name), int | float) for name in names)


def word(value: object) -> str | None:
    """Read a string with something in it, None where it is none."""
    return value if isinstance(value, str) and value else None


def string(value: object) -> str:
    """Insist on a string."""
    if not isinstance(value, str):
        raise TypeError
    return value


def array(value: object) -> list[Any]:
    """Insist on a list."""
    if not isinstance(value, list):
        raise TypeError
    return value


def joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Join neighbouring texts and leave out empty ones."""
    content: list[Part] = []
    for part in parts:
        last = content[-1] if content else None
        if isinstance(part, Text) and isinstance(last, Text):
            content[-1] = Text(last.text + part.text)
        elif not isinstance(part, Text) or part.text:
            content.append(part)
    return tuple(content)


def unreadable(raw: object, why: str) -> ResponseError:
    """Build the error for a 2xx that is no answer."""
    kind = type(raw).__name__
    return ResponseError(f"The provider's answer could not be read: {why} ({kind}).")


MISSHAPEN = (
    ArithmeticError,
    AttributeError,
    InvalidRequestError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What JSON of an unexpected shape sets off, our own values' checks included."""


_Rest = ParamSpec("_Rest")
_Read = TypeVar("_Read")
Reader = Callable[Concatenate[Mapping[str, Any], _Rest], _Read]


def readable(parse: Reader[_Rest, _Read]) -> Reader[_Rest, _Read]:
    """Let a reader be written for the shape that is documented.

    What another shape sets off becomes a ResponseError.
    """

    @wraps(parse)
    def guarded(
        raw: Mapping[str, Any], /, *rest: _Rest.args, **named: _Rest.kwargs
    ) -> _Read:
        try:
            return parse(raw, *rest, **named)
        except (ResponseError, *MISSHAPEN) as error:
            del raw, rest, named  # they may quote the key, and tracebacks them
            error.with_traceback(None)
            if isinstance(error, ResponseError):
                raise
            raise _misshapen(error) from error

    return guarded


def _misshapen(error: Exception) -> ResponseError:
    return unreadable(error, "it has another shape")


# --- Stream ----------------------------------------------------------------------


class JsonFold(ABC):
    """A fold over events that hold one JSON object each, or an error."""

    def __init__(self, error: Callable[[Reply], ProviderError | None]) -> None:
        self._error = error

    def feed(self, event: Event) -> Iterator[Chunk]:
        """Take one event and yield what it adds for the reader.

        Events that are no JSON object are passed over, as the standard asks for fields
        that are not known.

        :raises ProviderError: where the event is an error; what else it says, usage
            for one, has been taken.
        """
        body = event.json
        if isinstance(body, dict):
            try:
                yield from self._take(body)
            except MISSHAPEN as error:
                raise _misshapen(error) from error.with_traceback(None)
        if self._is_error(body) and (
            found := self._error(Reply(status=200, body=event.data.encode()))
        ):
            raise found

    def _is_error(self, body: object) -> bool:
        """Tell whether an event's JSON is an error."""
        return in_band(body)

    @abstractmethod
    def _take(self, body: dict[str, Any]) -> Iterable[Chunk]:
        """Take one event's object and return what it adds for the reader."""
