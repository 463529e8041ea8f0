"""What goes over the wire, before and after HTTP: calls, replies, stream events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

from flask_llm.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is sent along with the fields of a form."""

    name: str
    content: bytes = field(repr=False)
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a provider, but for its key, which only the transport adds."""

    path: str
    """Appended to the provider's base URL."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Sent as JSON, or as the fields of a form where there is an upload."""
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: bool = False
    method: str = "POST"
    """A ``GET`` has no body."""
    upload: Upload | None = None
    """Makes the request a ``multipart/form-data``; its field is ``file``."""
    once: bool = False
    """Not to be sent again where it may have been carried out."""
    bulk: bool = False
    """It is about many answers at once: errors among them are not its own, and it may
    be larger than one answer."""


def written(body: Mapping[str, Any]) -> bytes:
    """Write what is sent as JSON; half of a pair of surrogates becomes a question mark.

    :raises InvalidRequestError: where JSON has no form for something in it.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequestError(
            "The request holds what JSON has no form for, or is nested too deeply: "
            f"{type(error).__name__}.",
            code="no_json",
        ) from None
    return text.encode(errors="replace")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the provider sent back."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""

    @classmethod
    def of(
        cls, body: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Self:
        """Return the reply that a part of a larger one would have been by itself."""
        return cls(status=status, headers=headers or {}, body=json.dumps(body).encode())

    @cached_property
    def json(self) -> Any:
        """The body as JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.body.decode("utf-8", "replace")


class Event(NamedTuple):
    """One server-sent event."""

    data: str
    name: str = ""

    @property
    def json(self) -> Any:
        """The data as JSON, or None where it is none."""
        try:
            if self.data.startswith("{"):
                # As good as always; looking for white space takes json.loads as long
                # again as what it reads.
                value, end = _object_at_start(self.data)
                if end == len(self.data):
                    return value
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None


_object_at_start = json.JSONDecoder().raw_decode


class EventReader:
    r"""Turn bytes, however they are cut, into server-sent events.

    Lines end in LF, CRLF or CR and in nothing else: U+2028 and U+0085 stand inside
    JSON texts (https://html.spec.whatwg.org/multipage/server-sent-events.html).
    Beyond the standard it takes bare JSON, which Gemini sends for an error in
    mid-stream and other servers in the place of a stream: such lines make an event
    of their own.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        """The line that has not ended, in pieces: joining each would be quadratic."""
        self._after_cr = False
        self._started = False
        self._name = b""
        self._data: list[bytes] = []
        self._bare: list[bytes] = []

    def feed(self, block: bytes) -> list[Event]:
        """Take the next bytes and return the events that they complete."""
        if not block:
            return []
        if self._after_cr:
            block = block.removeprefix(b"\n")
        self._after_cr = block.endswith(b"\r")
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest = []
        if rest:
            self._rest.append(rest)
        if lines and not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        events: list[Event] = []
        for line in lines:
            if not line:
                self._dispatch(events)
            elif line.startswith(b"data: ") and not self._bare:
                self._data.append(line[6:])  # what nearly every line is
            else:
                self._read(line)
        return events

    def close(self) -> list[Event]:
        """Return the events that the end of the stream completes.

        The standard drops an event without its blank line; servers that hang up right
        after the last one are common enough to keep it.
        """
        events = self.feed(b"\n\n") if self._rest else []
        self._dispatch(events)
        return events

    def _read(self, line: bytes) -> None:
        field_name, _, value = line.partition(b":")
        if field_name == b"data" and not self._bare:
            self._data.append(value.removeprefix(b" "))
        elif field_name == b"event" and not self._bare:
            self._name = value.removeprefix(b" ")
        elif self._bare or line.lstrip()[:1] in {b"{", b"["}:
            self._bare.append(line)

    def _dispatch(self, events: list[Event]) -> None:
        name = self._name.decode("utf-8", "replace") if self._name else ""
        for lines in (self._data, self._bare):
            if lines:
                data = b"\n".join(lines).decode("utf-8", "replace")
                events.append(Event(data, name))
                lines.clear()
        self._name = b""
