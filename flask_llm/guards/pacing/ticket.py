"""One caller's place in a line, and how long it has to wait."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import NamedTuple

from flask_llm.providers import Provider


@dataclass(eq=False, slots=True)
class Ticket:
    """One caller, from its arrival until it gives its slot back."""

    provider: Provider
    tokens: int
    """What the call is expected to take of ``tokens_per_minute``."""
    name: str = ""
    """What it is called in Redis; empty before Redis was asked."""
    arrival: int = 0
    """Its place in the order of all callers; 0 before it has one."""
    turn: threading.Event | None = None
    """Set when it should look whether it is its turn; None while it does not wait."""
    bucket: int = 0
    """When it began, as this process counts windows."""
    shared_bucket: int | None = None
    """When it began, as Redis counts them; None where it was not counted there."""
    over: bool = False
    """Whether the slot was given back."""

    @property
    def counted(self) -> int:
        """What is counted for it; one that asks for more than there is takes all."""
        most = self.provider.tokens_per_minute
        return min(self.tokens, most) if most else 0


class Wait(NamedTuple):
    """How long until a caller's turn."""

    look_seconds: float
    """When to look again."""
    certain_seconds: float = 0.0
    """Its turn does not come before that, whoever gives up meanwhile."""
