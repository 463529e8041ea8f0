"""Bodies and streams, read as they come and never past the deadline."""

from __future__ import annotations

import re
import ssl
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import requests
from urllib3.util import wait_for_read

from flask_llm.errors import ProviderError, ResponseError
from flask_llm.retry import Deadline
from flask_llm.transport.connection import Line
from flask_llm.transport.failures import connection_failed, named_errors, too_late
from flask_llm.transport.session import strike
from flask_llm.wire import Event, EventReader

BLOCK_BYTES = 65_536

BULK_BYTES_MAX = 2 * 1024**3
"""Bytes at which many answers at once are cut off: more than any batch may have."""

Lines = Generator[bytes, None, None]
"""Lines of a body as they come; to be closed, which hangs up."""

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
"""What stands before a chunk (RFC 9112, section 7.1)."""

LINGER_SECONDS = 2.0
"""How long the end of a stream is waited for once its last event has come."""


class Reader:
    """Reads a body block by block, and never past the deadline."""

    def __init__(
        self, response: requests.Response, deadline: Deadline, max_bytes: int
    ) -> None:
        self._raw = response.raw
        self._deadline = deadline
        self._left = max_bytes
        self._http: Any = getattr(self._raw, "_fp", None)
        self._file: Any = getattr(self._http, "fp", None)
        self._line: Any = getattr(self._file, "raw", None)
        self._is_chunked: bool = (
            isinstance(self._line, Line)
            and getattr(self._http, "chunked", False)
            and "Content-Encoding" not in self._raw.headers
        )

    def read(self) -> bytes:
        """Return the next bytes as soon as there are any, nothing at the end."""
        self.check()
        block = self._chunks()
        if not block:
            with named_errors(began=True):
                block = self._raw.read1(BLOCK_BYTES, decode_content=True) or b""
        self._left -= len(block)
        if self._left < 0:
            raise _too_large()
        return block

    def _chunks(self) -> bytes:
        """Return the data of all chunks that are here, once there is one.

        Providers send each event as a chunk of its own, and http.client and urllib3
        hand chunks out one by one, which takes longer than all that is done with the
        event. Nothing is returned, and all is left to them, where the next chunk is not
        here as a whole, is unusual or is the last one.
        """
        if not self._is_chunked or self._file.closed or self._http.chunk_left:
            return b""
        try:
            if self._http.chunk_left == 0:
                self._file.read(2)  # the line end of the chunk before
                self._http.chunk_left = None
            buffered = self._file.peek()
        except OSError as error:
            self._raw.close()
            if isinstance(error, TimeoutError):
                too_late()
            raise connection_failed(error, began=True) from None
        pieces, at = [], 0
        while header := _CHUNK_SIZE.match(buffered, at):
            begin = header.end()
            end = begin + int(header[1], 16)
            if begin == end or end + 2 > len(buffered):
                break
            pieces.append(buffered[begin:end])
            at = end + 2
        self._file.read(at)
        return b"".join(pieces)

    def lines(self, max_bytes: int) -> Lines:
        """Yield the lines of the body, those that are empty aside.

        :param max_bytes: that one line may have.
        """
        pieces: list[bytes] = []
        held = 0
        while block := self.read():
            *ended, rest = block.split(b"\n")
            for line in ended:
                yield from _line([*pieces, line], max_bytes)
                pieces, held = [], 0
            pieces.append(rest)
            held += len(rest)
            if held > max_bytes:
                raise _too_large()
        yield from _line(pieces, max_bytes)

    def wait(self, seconds: float) -> bool:
        """Tell whether bytes, or the end, came within some seconds."""
        patience = self._deadline.within(seconds)
        while self._connected and patience.remaining() > 0:
            if self._arrived():
                return True
            wait_for_read(self._line.socket, patience.remaining())
        return not self._connected or self._arrived() or self._deadline.remaining() <= 0

    def check(self) -> None:
        """See that there is time left.

        :raises ReadTimeout: where there is none.
        """
        if self._deadline.remaining() <= 0:
            too_late()

    def within(self, seconds: float) -> Deadline:
        """Return the end of some seconds, or the deadline where that is nearer."""
        return self._deadline.within(seconds)

    def shorten(self, seconds: float) -> None:
        """Bring the deadline nearer."""
        self._deadline = self._deadline.within(seconds)
        if self._connected:
            self._line.deadline = self._deadline

    def _arrived(self) -> bool:
        """Tell whether there is something to read, without waiting for it.

        The file and TLS have buffers that ``select`` knows nothing of: a peek that
        does not block fills the one from the other. The line end that closes a chunk
        is stepped over, since it is no sign of a next one.
        """
        self._line.patient = False
        try:
            if self._http.chunk_left == 0 and self._file.peek(2).startswith(b"\r\n"):
                self._file.read(2)
                self._http.chunk_left = None
            return bool(self._file.peek(1)) or self._line.ended
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True  # a broken line shows itself in read()
        finally:
            self._line.patient = True

    @property
    def _connected(self) -> bool:
        """Whether the line is still ours: it returns to the pool after the end."""
        return isinstance(self._line, Line) and not self._file.closed


def _line(pieces: list[bytes], max_bytes: int) -> Iterator[bytes]:
    line = b"".join(pieces).strip()
    if len(line) > max_bytes:
        raise _too_large()
    if line:
        yield line


def _too_large() -> ResponseError:
    return ResponseError(
        "The answer is larger than LLM_MAX_RESPONSE_BYTES allows.",
        code="answer_too_large",
    )


class EventStream:
    """The events of one answer, as they come."""

    def __init__(
        self, response: requests.Response, deadline: Deadline, max_bytes: int
    ) -> None:
        self._response = response
        self._reader = Reader(response, deadline, max_bytes)
        self._events = EventReader()
        self._waiting: deque[Event] = deque()
        self._ended = False
        self._lingering = False
        self.began = False
        """Whether any event has come."""
        self.headers = dict(response.headers.lower_items())

    def prime(self) -> Event | None:
        """Wait for the first event and keep it; None where there is none."""
        while not self._waiting and not self._ended:
            self._fill()
        self.began = bool(self._waiting)
        return self._waiting[0] if self._waiting else None

    def linger(self) -> None:
        """Say that the last event has come: the rest is only read to free the line."""
        self._lingering = True
        self._reader.shorten(LINGER_SECONDS)

    def events(self, heartbeat: float | None = None) -> Iterator[Event | None]:
        """Yield the events, and None after each ``heartbeat`` seconds without one.

        Comments are none: a server's own signs of life reach nobody further on.

        :raises ConnectionFailed: where the line broke.
        :raises ReadTimeout: where the deadline passed.
        """
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._ended:
                return
            if heartbeat and not self._lingering:
                yield from self._beats(heartbeat)
            else:
                self._fill()

    def _beats(self, heartbeat: float) -> Iterator[None]:
        """Wait for the next event, or the end; yield None where that takes too long."""
        silence = self._reader.within(heartbeat)
        while not self._waiting and not self._ended and silence.remaining() > 0:
            if self._reader.wait(silence.remaining()):
                self._fill()
        if not self._waiting and not self._ended:
            self._reader.check()
            yield None

    def strike(self, error: ProviderError) -> None:
        """Strike our key out of the words of a provider that echoes it."""
        strike(error, self._response.request)

    def close(self) -> None:
        """Hang up; a connection that was read to its end has gone back to the pool."""
        self._ended = True
        self._response.close()

    def _fill(self) -> None:
        try:
            block = self._reader.read()
        except ProviderError:
            if not self._lingering:
                raise
            self.close()
            return
        if block:
            self._waiting += self._events.feed(block)
        else:
            self._ended = True
            self._waiting += self._events.close()
