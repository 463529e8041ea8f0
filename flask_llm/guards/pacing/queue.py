"""One provider's line in Redis, as one process sees it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask_llm.guards.pacing import scripts
from flask_llm.guards.pacing.headers import HOLD_MAX_SECONDS, Brake
from flask_llm.guards.pacing.ticket import Ticket, Wait
from flask_llm.guards.pacing.window import BUCKETS
from flask_llm.guards.shared import Down, Shared

LOOK_MIN_SECONDS, LOOK_MAX_SECONDS = 0.02, 0.05
"""How often the first caller of a process looks for a slot; chance says which."""

AWAKE_SECONDS = 3.0
"""How long after its last look a process is taken for dead, and its places are lost."""

LOOK_LATEST_SECONDS = 0.5
"""How long the first caller of a process goes without looking, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How the line in Redis is kept.

    :param lease_seconds: how long a slot stays taken when its process is killed.
    :param window_seconds: what a minute is in ``requests_per_minute``.
    """

    lease_seconds: float
    window_seconds: float
    jitter: Callable[[], float]


class Queue:
    """Asks Redis for slots of one provider and gives them back.

    :param process: what this process is called; no other may be called so.
    """

    def __init__(
        self, shared: Shared, provider: str, process: str, terms: Terms
    ) -> None:
        self.terms = terms
        self._shared = shared
        self._process = process
        self._keys = [f"llm:pacing:{provider}:{name}" for name in scripts.NAMES]
        self._numbers = itertools.count(1)
        self._epoch = 0
        """Which of Redis' lives our leases are known in; 0 where that is not sure."""

    def ask(
        self, ticket: Ticket, renew: Callable[[], object] | None = None
    ) -> Wait | None:
        """Take a place, or look at it; None where the ticket has a slot now.

        :param renew: tells Redis, where it forgot them, of the slots that are held;
            None where there are none.
        :raises Down: where Redis cannot be reached.
        """
        if not ticket.name:
            ticket.name = f"{self._process}:{next(self._numbers)}"
        reply = self._ask(ticket, holding=renew is not None)
        if renew is not None and reply[0] == scripts.FORGOTTEN:
            renew()
            reply = self._ask(ticket, holding=False)
        self._epoch = reply[1]
        ticket.arrival = reply[2]
        if reply[0] == scripts.ADMITTED:
            ticket.shared_bucket = reply[3]
            return None
        certain, look, ahead = reply[3:]
        return Wait(self._look(look, ahead, ticket), certain / 1e6)

    def leave(self, ticket: Ticket, tokens: int = 0, requests: int = 0) -> None:
        """Give a slot or a place back, and correct what was counted.

        :raises Down: where Redis cannot be reached; the lease then runs out.
        """
        bucket = "" if ticket.shared_bucket is None else ticket.shared_bucket
        self._run(scripts.LEAVE, 0, ticket.name, bucket, tokens, requests)

    def renew(self, tickets: Iterable[Ticket]) -> None:
        """Make leases last, those too that Redis never heard of.

        :raises Down: where Redis cannot be reached.
        """
        names = [ticket.name for ticket in tickets]
        lease = _micros(self.terms.lease_seconds)
        self._epoch = self._run(scripts.RENEW, self._keep(), lease, *names)

    def slow(self, brake: Brake) -> None:
        """Heed a provider, for all workers.

        :raises Down: where Redis cannot be reached.
        """
        self._run(
            scripts.SLOW,
            self._keep(),
            _micros(brake.hold_seconds),
            _micros(brake.spacing_seconds),
            _micros(brake.spaced_seconds),
            brake.tokens_left,
            brake.tokens_per_second / 1e6,
            _micros(brake.tokens_seconds),
        )

    def _ask(self, ticket: Ticket, *, holding: bool) -> Any:
        provider = ticket.provider
        return self._run(
            scripts.ASK,
            self._keep(provider.min_interval),
            ticket.name,
            self._process,
            self._epoch,
            ticket.arrival,
            int(holding),
            _micros(self.terms.lease_seconds),
            _micros(AWAKE_SECONDS),
            _micros(HOLD_MAX_SECONDS),
            provider.max_concurrent,
            _micros(provider.min_interval),
            provider.requests_per_minute or 0,
            provider.tokens_per_minute or 0,
            ticket.counted,
            max(1, ticket.tokens),
            _micros(self.terms.window_seconds / BUCKETS),
        )

    def _run(self, script: str, *arguments: str | float) -> Any:
        try:
            return self._shared.run(script, self._keys, arguments)
        except Down:
            self._epoch = 0
            raise

    def _look(self, micros: int, ahead: int, ticket: Ticket) -> float:
        """Return when to look again: exactly, where only time has to pass."""
        if ahead == 0 and micros:
            return min(micros / 1e6, LOOK_LATEST_SECONDS)
        spread = (LOOK_MAX_SECONDS - LOOK_MIN_SECONDS) * self.terms.jitter()
        rounds = 1 + ahead // ticket.provider.max_concurrent
        seconds = max(micros / 1e6, (LOOK_MIN_SECONDS + spread) * rounds)
        return min(seconds, LOOK_LATEST_SECONDS)

    def _keep(self, interval: float = 0.0) -> int:
        """Return how many milliseconds to keep what nobody asks for any more."""
        terms = self.terms
        longest = (interval, terms.lease_seconds, terms.window_seconds)
        return int(2000 * max(*longest, HOLD_MAX_SECONDS))


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)
