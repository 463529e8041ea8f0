"""Each provider's line: so many requests at a time, and so far apart."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask_llm.errors import DeadlineExceeded
from flask_llm.providers import Provider
from flask_llm.retry import Deadline

GRACE_SECONDS = 30.0
"""How long past its call's deadline a slot is kept that nobody gave back."""


LOOK_SECONDS = 1.0
"""How often a waiting caller looks for slots that have expired."""


class Pacing:
    """Lets callers through one by one, in the order in which they came.

    The lines are this process's own; a forked worker begins with empty ones.

    :param clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        _pacings.add(self)

    @contextmanager
    def slot(self, provider: Provider, deadline: Deadline) -> Iterator[None]:
        """Hold one of the provider's slots.

        :raises DeadlineExceeded: where none comes free in time.
        """
        slot = self.acquire(provider, deadline)
        try:
            yield
        finally:
            slot.release()

    def acquire(self, provider: Provider, deadline: Deadline) -> Slot:
        """Take a slot that is to be given back; for streams, which outlive the call.

        :raises DeadlineExceeded: where none comes free in time.
        """
        line = self._line(provider.name)
        return Slot(line, line.enter(provider, deadline))

    def forget(self) -> None:
        """Begin with empty lines, as a forked worker must."""
        self._lines = {}

    def _line(self, name: str) -> _Line:
        line = self._lines.get(name)
        return line or self._lines.setdefault(name, _Line(self._clock))


_pacings: weakref.WeakSet[Pacing] = weakref.WeakSet()


def _after_fork() -> None:
    for pacing in _pacings:
        pacing.forget()


os.register_at_fork(after_in_child=_after_fork)


class Slot:
    """One of a provider's slots, held."""

    def __init__(self, line: _Line, ticket: object) -> None:
        self._line = line
        self._ticket = ticket

    def release(self) -> None:
        """Give it back; the second time does nothing."""
        self._line.leave(self._ticket)

    def abandon(self) -> None:
        """Give it back from a finaliser, which must not wait for any lock."""
        self._line.abandoned.append(self._ticket)


class _Line:
    """One provider's waiting callers, and those that are being served."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._served: dict[object, float] = {}
        self._next_start = 0.0
        self.abandoned: deque[object] = deque()
        """Tickets whose holders are gone; whoever waits next strikes them off."""

    def enter(self, provider: Provider, deadline: Deadline) -> object:
        """Wait for this caller's turn."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while (pause := self._pause(ticket, provider)) is None or pause > 0:
                    self._wait(provider, pause, deadline.remaining())
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            now = self._clock()
            self._served[ticket] = now + deadline.remaining() + GRACE_SECONDS
            self._next_start = now + provider.min_interval
        return ticket

    def leave(self, ticket: object) -> None:
        """Give a slot back; the second time does nothing."""
        with self._changed:
            self._served.pop(ticket, None)
            self._changed.notify_all()

    def _pause(self, ticket: object, provider: Provider) -> float | None:
        """Return the seconds to this ticket's turn; None where nobody can say."""
        if self._waiting[0] is not ticket:
            return None
        now = self._clock()
        while self.abandoned:
            self._served.pop(self.abandoned.popleft(), None)
        if len(self._served) >= provider.max_concurrent:
            for held, expires in list(self._served.items()):
                if expires < now:
                    del self._served[held]
        if len(self._served) >= provider.max_concurrent:
            return None
        return self._next_start - now

    def _wait(self, provider: Provider, pause: float | None, left: float) -> None:
        if left <= 0 or (pause is not None and pause > left):
            error = DeadlineExceeded(
                f"No slot came free at {provider.name} in time.", retry_after=pause
            )
            error.add_note(
                "Raise timeout, or LLM_MAX_CONCURRENT and LLM_MIN_INTERVAL as far as "
                "the provider allows."
            )
            raise error
        self._changed.wait(min(LOOK_SECONDS if pause is None else pause, left))
