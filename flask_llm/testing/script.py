"""What the models will say: entries, each for the calls that it fits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from flask_llm.emulator import Answer, Fault
from flask_llm.testing.calls import Call, fits_model, fits_text

Outcome = Answer | Fault | Exception
"""What a request gets; an exception is one of requests, as the network raises it."""

Pattern = str | Callable[[Call], bool]
"""A text, in which ``*`` stands for anything, or a function that looks at a call."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One line of the script."""

    written: str
    """As the test wrote it, more or less."""
    outcome: Outcome
    model: str | None = None
    prompt: Pattern | None = None
    times: int | None = 1
    """For how many calls; None for any number."""
    tries: int | None = None
    """How many requests of one call get it; None for all of them, retries included."""
    used: int = 0

    def __post_init__(self) -> None:
        for name in ("times", "tries"):
            number = getattr(self, name)
            if number is not None and (not isinstance(number, int) or number < 1):
                raise ValueError(f"{name}={number!r}: a whole number from 1 up, please")

    @property
    def is_left(self) -> bool:
        """Whether something is expected of it that has not come."""
        return self.times is not None and self.used < self.times

    @property
    def may_be_used(self) -> bool:
        """Whether it has a use left."""
        return self.times is None or self.used < self.times

    def fits(self, call: Call) -> bool:
        """Tell whether it is meant for a call."""
        if not fits_model(self.model, call.model):
            return False
        if isinstance(self.prompt, str):
            return fits_text(self.prompt, call.prompt)
        return self.prompt is None or bool(self.prompt(call))

    def __str__(self) -> str:
        whom = [
            f"{name}={value!r}"
            for name, value in (("model", self.model), ("prompt", self.prompt))
            if value is not None
        ]
        return ", ".join([self.written.removesuffix(")"), *whom]) + ")"


@dataclass(slots=True)
class _Hold:
    """An entry that a call has taken, and how many of its requests have got it."""

    entry: Entry
    tries: int = 0


@dataclass(slots=True)
class Script:
    """Hands out entries in the order in which they were written."""

    entries: list[Entry] = field(default_factory=list)
    _held: dict[int, _Hold] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: Entry) -> None:
        """Write a line at the end."""
        with self._lock:
            self.entries.append(entry)

    @property
    def left(self) -> list[Entry]:
        """What has not been asked for."""
        with self._lock:
            return [entry for entry in self.entries if entry.is_left]

    def take(self, place: int | None, call: Call) -> Outcome | None:
        """Return what the next request of a call gets, None where nothing is meant.

        :param place: tells one call from another, where it is known.
        """
        with self._lock:
            hold = None if place is None else self._held.get(place)
            if hold is None or hold.tries == hold.entry.tries:
                hold = self._next(call)
            if hold is None:
                return None
            hold.tries += 1
            if place is not None:
                self._held[place] = hold
            return hold.entry.outcome

    def _next(self, call: Call) -> _Hold | None:
        for entry in self.entries:
            if entry.may_be_used and entry.fits(call):
                entry.used += 1
                return _Hold(entry)
        return None
