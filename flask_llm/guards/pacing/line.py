"""One provider's line: who waits in this process, and who is being served."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from flask_llm.errors import DeadlineExceeded
from flask_llm.guards.pacing.headers import Brake
from flask_llm.guards.pacing.heartbeat import Heartbeat
from flask_llm.guards.pacing.meter import Meter
from flask_llm.guards.pacing.queue import LOOK_LATEST_SECONDS, Queue
from flask_llm.guards.pacing.ticket import Ticket, Wait
from flask_llm.guards.shared import Down
from flask_llm.retry import Deadline

GRACE_SECONDS = 30.0
"""How long past its call's deadline a slot is kept that nobody gave back."""

LOOK_SECONDS = 1.0
"""How often a waiting caller looks for what nobody tells it."""

BEATS = 3
"""How often a lease is renewed before it would run out."""


class Line:
    """Lets callers through in the order in which they came.

    Everything is counted here, whether Redis let a caller through or not, so that the
    counts are right when Redis goes away. While it is there, it alone decides; every
    caller takes its place there on arrival, and of those of this process only the first
    one looks whether it is its turn. Its looking keeps the others' places.

    No lock is held while Redis is asked.
    """

    def __init__(
        self,
        queue: Queue | None,
        heartbeat: Heartbeat,
        *,
        window_seconds: float,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._waiting: list[Ticket] = []
        self._held: dict[Ticket, float] = {}
        self._meter = Meter(window_seconds)
        self._last = 0
        self.beat_seconds = queue.terms.lease_seconds / BEATS if queue else 0.0
        self.abandoned: deque[Ticket] = deque()
        """Tickets whose holders are gone; whoever comes next strikes them off."""
        self.forgotten = False
        """Whether this is a forked worker's copy of its parent's line."""

    def enter(self, ticket: Ticket, deadline: Deadline) -> None:
        """Wait for this caller's turn.

        :raises DeadlineExceeded: where it does not come in time.
        """
        try:
            while wait := self._ask(ticket, deadline):
                self._wait(ticket, wait, deadline.remaining())
        except BaseException:
            self._give_up(ticket)
            raise

    def leave(self, ticket: Ticket, used_tokens: int | None = None) -> None:
        """Give a slot back; the second time does nothing."""
        counted = ticket.counted
        self._end(ticket, 0 if used_tokens is None else used_tokens - counted, 0)

    def refund(self, ticket: Ticket) -> None:
        """Give a slot back as if it had never been taken."""
        self._end(ticket, -ticket.counted, -1)

    def slow(self, brake: Brake) -> None:
        """Heed a provider."""
        with self._lock:
            self._meter.slow(brake, self._clock())
        if self._queue:
            with suppress(Down):
                self._queue.slow(brake)

    @property
    def held(self) -> bool:
        """Whether any slot is held."""
        return bool(self._held)

    def renew(self) -> None:
        """Renew the leases of what is held."""
        self._strike_off()
        with self._lock:
            self._expire(self._clock())
            tickets = list(self._held)
        if tickets and self._queue:
            with suppress(Down):
                self._tell(self._queue, tickets)

    def _tell(self, queue: Queue, tickets: list[Ticket]) -> None:
        queue.renew(tickets)
        # Those that were given back meanwhile may have been renewed after that.
        for ticket in tickets:
            if ticket not in self._held:
                queue.leave(ticket)

    def _ask(self, ticket: Ticket, deadline: Deadline) -> Wait | None:
        """Look whether it is this caller's turn; None where it has begun."""
        if self.abandoned:
            self._strike_off()
        if self._queue:
            with suppress(Down):
                return self._ask_there(self._queue, ticket, deadline)
        with self._lock:
            return self._ask_here(ticket, deadline)

    def _ask_there(
        self, queue: Queue, ticket: Ticket, deadline: Deadline
    ) -> Wait | None:
        with self._lock:
            if ticket.turn and self._waiting[0] is not ticket:
                return Wait(LOOK_SECONDS)
            held = list(self._held)
        wait = queue.ask(ticket, (lambda: self._tell(queue, held)) if held else None)
        with self._lock:
            self._last = max(self._last, ticket.arrival)
            if wait is None:
                self._admit(ticket, self._clock(), deadline)
                return None
            self._line_up(ticket)
            if len(self._held) >= ticket.provider.max_concurrent:
                # Nothing comes free but by this process, which then calls the next one.
                wait = wait._replace(look_seconds=LOOK_LATEST_SECONDS)
            return wait

    def _ask_here(self, ticket: Ticket, deadline: Deadline) -> Wait | None:
        now = self._clock()
        wait = self._meter.wait(ticket, now, alone=not self._held)
        if self._waiting and self._waiting[0] is not ticket:
            wait = Wait(LOOK_SECONDS, wait.certain_seconds if wait else 0.0)
        elif wait is None and len(self._held) >= ticket.provider.max_concurrent:
            self._expire(now)
            if len(self._held) >= ticket.provider.max_concurrent:
                wait = Wait(LOOK_SECONDS)
        if wait is None:
            self._admit(ticket, now, deadline)
        else:
            self._line_up(ticket)
        return wait

    def _wait(self, ticket: Ticket, wait: Wait, left: float) -> None:
        if left <= 0 or wait.certain_seconds > left:
            error = DeadlineExceeded(
                f"No slot came free at {ticket.provider.name} in time.",
                retry_after=wait.certain_seconds or None,
            )
            error.add_note(
                "Raise timeout, or LLM_MAX_CONCURRENT and LLM_MIN_INTERVAL as far as "
                "the provider allows."
            )
            raise error
        if ticket.turn:
            ticket.turn.wait(min(wait.look_seconds, LOOK_SECONDS, left))
            ticket.turn.clear()

    def _line_up(self, ticket: Ticket) -> None:
        """Put a caller where it belongs by its arrival, in Redis' order or ours."""
        if ticket.turn is None:
            ticket.turn = threading.Event()
            if not ticket.arrival:
                ticket.arrival = max(self._last + 1, int(self._now() * 1e6))
                self._last = ticket.arrival
            bisect.insort(self._waiting, ticket, key=lambda one: one.arrival)

    def _admit(self, ticket: Ticket, now: float, deadline: Deadline) -> None:
        self._held[ticket] = now + deadline.remaining() + GRACE_SECONDS
        self._meter.start(ticket, now)
        if ticket.turn:
            self._waiting.remove(ticket)
            self._call_next()
        if self._queue:
            self._heartbeat.watch(self)

    def _give_up(self, ticket: Ticket) -> None:
        self._leave_there(ticket)
        with self._lock:
            self._held.pop(ticket, None)
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            self._call_next()

    def _end(self, ticket: Ticket, tokens: int, requests: int) -> None:
        if self.forgotten:
            return
        with self._lock:
            if ticket.over:
                return
            ticket.over = True
            # Before Redis is told, or it might be renewed after that.
            self._held.pop(ticket, None)
            self._meter.correct(ticket, tokens, requests)
        self._leave_there(ticket, tokens, requests)
        with self._lock:
            self._call_next()

    def _leave_there(self, ticket: Ticket, tokens: int = 0, requests: int = 0) -> None:
        if self._queue:
            with suppress(Down):
                self._queue.leave(ticket, tokens, requests)

    def _call_next(self) -> None:
        if self._waiting:
            turn = self._waiting[0].turn
            if turn:
                turn.set()

    def _strike_off(self) -> None:
        with suppress(IndexError):
            while True:
                self._end(self.abandoned.popleft(), 0, 0)

    def _expire(self, now: float) -> None:
        for ticket, expires in list(self._held.items()):
            if expires < now:
                del self._held[ticket]
