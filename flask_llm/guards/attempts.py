"""Attempts to guess a token: so many in a time from one address, then none."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import TypeVar

from flask_llm.forks import after_fork
from flask_llm.guards.counting import Storage, Windows, hashed
from flask_llm.guards.outage import Outage
from flask_llm.guards.shared import Down
from flask_llm.settings import Quota

ALLOWED = Quota("10/minute", count=10, every=1, unit="minute", scope="address")
"""Wrong tokens that one address may send."""

_NETWORK_BITS = 64
"""Of an IPv6 address: the rest is the caller's own to choose."""

Found = TypeVar("Found")


class Attempts:
    """Counts failed attempts by address, over all workers where they share a storage.

    While that cannot be reached, each process counts by itself: guessing is slowed
    down whatever is down.

    :param clock: monotonic seconds.
    """

    def __init__(
        self, storage: Storage, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage = storage
        self._clock = clock
        self.forget()
        after_fork(self.forget)

    def forget(self) -> None:
        """Begin anew, as a forked worker must: a lock may be held."""
        meanwhile = "each process counts by itself"
        self._outage = Outage(
            "The storage of failed attempts", meanwhile, clock=self._clock
        )

    def seconds_left(self, address: str | None) -> float:
        """Return for how long an address is refused; 0 lets it try."""
        who = "reports", _who(address)

        def ask(windows: Windows) -> float:
            if windows.test(ALLOWED, *who):
                return 0.0
            return windows.seconds_left(ALLOWED, *who)

        return self._ask(ask)

    def failed(self, address: str | None) -> None:
        """Count a failed attempt."""
        self._ask(lambda windows: windows.hit(ALLOWED, "reports", _who(address)))

    def _ask(self, question: Callable[[Windows], Found]) -> Found:
        began = self._clock()
        if self._outage.is_over():
            try:
                found = question(self._storage.windows())
            except Down as down:
                self._outage.failed(down.__cause__)
            else:
                self._outage.ended(began)
                return found
        return question(self._storage.local())


def _who(address: str | None) -> str:
    """Return whose attempts count together with those from an address."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return hashed(address or "")
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return hashed(str(found.ipv4_mapped))
        network = ipaddress.IPv6Network((int(found), _NETWORK_BITS), strict=False)
        return hashed(str(network))
    return hashed(str(found))
