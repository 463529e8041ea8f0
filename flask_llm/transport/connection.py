"""Connections of which every read and write is over by its call's deadline."""

from __future__ import annotations

import http.client
import io
import ipaddress
import math
import socket
import threading
from collections.abc import Callable
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
)

from flask_llm.retry import Deadline, Retry
from flask_llm.transport.addresses import resolve, resolve_within

BUFFER_BYTES = 65_536
"""What one read may take from a socket: many events of a stream that comes fast."""


class _Current(threading.local):
    """What this thread is sending."""

    retry: Retry | None = None
    """The tries of a call to a provider."""
    deadline: Deadline | None = None
    """By when it, or whatever else is sent, must be over."""
    fresh: bool = True
    """Whether the connection was made for it: one that is kept may have been closed
    by the other side before the request came."""


current = _Current()


class Line(io.RawIOBase):
    """The bytes that come in, each read of them cut off by the deadline.

    A timeout that is set once holds for each read by itself, and http.client and a
    decoder read as often as they need to get one line or one block.
    """

    def __init__(self, raw: Any, connection: socket.socket, deadline: Deadline) -> None:
        self._raw = raw
        self.socket = connection
        self.deadline = deadline
        self.patient = True
        """Whether a read waits; one that does not returns None for nothing yet."""
        self.ended = False
        """Whether the other side has closed the line."""

    def readable(self) -> bool:
        """Tell that this end is the reading one."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read once."""
        seconds = self.deadline.remaining() if self.patient else 0.0
        if self.patient and seconds <= 0:
            raise TimeoutError
        self.socket.settimeout(seconds)
        count: int | None = self._raw.readinto(buffer)
        self.ended = count == 0
        return count

    def close(self) -> None:
        """Let go of the socket, which the connection may keep."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Reads its head within the deadline too."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        if current.deadline is not None:
            line = Line(self.fp.detach(), sock, current.deadline)
            self.fp = io.BufferedReader(line, BUFFER_BYTES)


class _Timed(HTTPConnection):
    """Sends within the deadline; urllib3 grants it no longer than a connect."""

    response_class = _Response

    def connect(self) -> None:
        """Connect, and remember that this request was the first on the line.

        urllib3 takes a handshake of TLS that fails for a request that was sent.
        """
        try:
            super().connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "TLS was not agreed on in time") from error
        except ConnectionError as error:
            raise NewConnectionError(self, "TLS was broken off") from error
        current.fresh = True

    def _new_conn(self) -> socket.socket:
        """Connect to a name's addresses, one after the other, within the deadline.

        urllib3 waits for a name as long as the system does, and for each address anew.
        """
        deadline = current.deadline
        if deadline is None:
            return super()._new_conn()
        name, seconds = self._dns_host, self.timeout
        failure: NewConnectionError | ConnectTimeoutError | None = None
        try:
            for address in self._addresses(deadline):
                left = deadline.remaining()
                if failure is not None and left <= 0:
                    break
                self._dns_host = address
                self.timeout = _shortest(seconds, left)
                try:
                    return super()._new_conn()
                except (NewConnectionError, ConnectTimeoutError) as error:
                    failure = error
        finally:
            self._dns_host, self.timeout = name, seconds
        raise failure or NewConnectionError(self, "The name has no address")

    def _addresses(self, deadline: Deadline) -> list[str]:
        host = self._dns_host.strip("[]")
        if _is_address(host):
            return [host]
        try:
            return resolve_within(resolve, host, self.port, deadline.remaining())
        except OSError as error:
            unknown = socket.gaierror(*error.args or (socket.EAI_AGAIN, "too late"))
            raise NameResolutionError(self.host, self, unknown) from error

    def send(self, data: Any) -> None:
        """Connect if need be, and send."""
        if self.sock is None and self.auto_open:
            self.connect()
        if self.sock is not None and current.deadline is not None:
            remaining = current.deadline.remaining()
            self.sock.settimeout(max(0.001, remaining))  # 0 would not wait at all
        super().send(data)


class _TimedTLS(_Timed, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Timed


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLS


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shortest(seconds: Any, left: float) -> float:
    """Return a timeout that ends by the deadline; 0 would not wait at all."""
    given = seconds if isinstance(seconds, (int, float)) else math.inf
    return max(0.001, min(given, left))


POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _TLSPool}
"""What a pool manager makes pools of, by scheme."""


Dial = Callable[[str, int], socket.socket]
"""Opens a connection to a host and port."""


def pools_by(dial: Dial) -> dict[str, type[HTTPConnectionPool]]:
    """Make pools of which every connection is opened by a function.

    What it connects to is its own affair: TLS, the certificate and the Host header go
    by the name, as ever.
    """

    class Plain(_Timed):
        def _new_conn(self) -> socket.socket:
            return dial(self.host, int(self.port))

    class Encrypted(_TimedTLS):
        def _new_conn(self) -> socket.socket:
            return dial(self.host, int(self.port))

    class Pool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": Pool, "https": TLSPool}
