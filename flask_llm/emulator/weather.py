"""What befalls requests that nobody has scripted: how long they take, what fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .script import Fault

FAULTS = (
    Fault(status=429),
    Fault(status=500),
    Fault(status=503),
    Fault(reset_after=0),
    Fault(reset_after=3),
)
"""What may fail: refusals, and lines that break before and within an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """A provider as it is on most days: not always quick, and not always well.

    :raises ValueError: where a number cannot be.
    """

    latency_seconds: tuple[float, float] = (0.0, 0.0)
    """The least and the most silence before the first byte; evenly spread."""
    fault_share: float = 0.0
    """The share of requests, from 0 to 1, that fail in one of the ways of ``FAULTS``,
    all of them as likely."""
    chance: Callable[[], float]
    """A number from 0 to 1, by chance."""

    def __post_init__(self) -> None:
        least, most = self.latency_seconds
        if not 0 <= least <= most:
            raise ValueError(f"latency of {least} to {most} seconds: least, then most")
        if not 0 <= self.fault_share <= 1:
            raise ValueError(f"a fault share of {self.fault_share} is not from 0 to 1")

    def fault(self) -> Fault | None:
        """Return what the next request meets; None where that is nothing."""
        least, most = self.latency_seconds
        if not (most or self.fault_share):
            return None
        fault = Fault()
        if self.chance() < self.fault_share:
            fault = FAULTS[min(int(self.chance() * len(FAULTS)), len(FAULTS) - 1)]
        seconds = least + (most - least) * self.chance()
        return replace(fault, delay_seconds=seconds)
