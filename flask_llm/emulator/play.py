"""Play a laid-out response over a socket, as slowly or as rudely as it says."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator

from .steps import Plan
from .traffic import Visit

Sleep = Callable[[float], None]

# Pauses are slept in slices, and between them a client that left is noticed.
_SLICE_SECONDS = 0.05


def play(
    plan: Plan, *, connection: socket.socket | None, sleep: Sleep, visit: Visit
) -> Iterator[bytes]:
    """Yield the body's pieces, each after its pause, then end as the plan says.

    :param connection: the client's socket; ``None`` under servers that do not show it,
        where a reset is only an exception and a client's leaving goes unnoticed.
    :raises ConnectionResetError: to make the server drop the connection.
    """
    last = len(plan.steps) - 1
    try:
        for number, step in enumerate(plan.steps):
            if not _pause(step.pause_seconds, connection, sleep):
                raise ConnectionResetError(errno.ECONNRESET, "the client has left")
            # Before the last byte, not after it: a client that has everything may
            # send its next request before this line would be reached.
            if number == last and plan.ending == "clean":
                visit.leave()
            if step.data:
                yield step.data
        visit.leave()
        _end(plan, connection)
    finally:
        visit.leave(abandoned=True)


def _pause(seconds: float, connection: socket.socket | None, sleep: Sleep) -> bool:
    """Sleep; ``False`` as soon as the client has left."""
    while seconds > 0:
        nap = min(seconds, _SLICE_SECONDS)
        sleep(nap)
        seconds -= nap
        if connection is not None and _left(connection):
            return False
    return True


def _left(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _end(plan: Plan, connection: socket.socket | None) -> None:
    if plan.ending == "clean":
        return
    if plan.ending == "hang_up":
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return
    if connection is not None:
        _reset(connection)
    raise ConnectionResetError(errno.ECONNRESET, "reset on purpose")


def _reset(connection: socket.socket) -> None:
    """Send a TCP RST and leave the server a descriptor that is safe to close."""
    linger_zero = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    # The server still holds this descriptor and would shut it down politely, which
    # sends a FIN first. Putting a dead socket in its place closes the real one now.
    ours, theirs = socket.socketpair()
    theirs.close()
    os.dup2(ours.fileno(), connection.fileno())
    ours.close()
