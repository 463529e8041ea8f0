"""A batch as the emulator keeps it, in no provider's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from flask_llm.emulator.script import Fault

from .course import BatchCourse

State = Literal[
    "new", "working", "cancelling", "completed", "failed", "expired", "cancelled"
]


@dataclass(frozen=True, slots=True)
class Result:
    """What one line of a batch was answered, as a single call would have been."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it is an answer; an error may come under status 200 as well."""
        return self.status == _OK and not self.body.get("error")


_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One moment of a batch; a change makes a new value."""

    id: str
    owner: str
    """The key that made it."""
    created: int
    """Unix time in seconds."""
    course: BatchCourse
    polls: int
    """How many polls find it at work."""
    request: Mapping[str, Any]
    """What its provider shows of the request that made it."""
    keys: Sequence[Any]
    """What each line is called, in order."""
    results: Sequence[Result]
    """The answers of the first lines; those that never come are left out."""
    errors: Sequence[Mapping[str, Any]] = ()
    """What was found wrong with the whole."""
    polled: int = 0
    fetched: int = 0
    stopped_at: int | None = None
    """How many lines were done when its owner cancelled it."""
    settled: bool = False
    """Whether a cancelled one has been polled since."""

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.stopped_at is not None:
            return "cancelled" if self.settled else "cancelling"
        outcome = self.course.outcome
        if outcome == "in_progress" or (self.polls and self.polled <= self.polls):
            return "working" if self.polled else "new"
        return outcome

    @property
    def opening(self) -> Batch:
        """The same as its maker is told of it: it never has ended by then."""
        return replace(self, polls=max(self.polls, 1))

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("new", "working", "cancelling")

    @property
    def ended_at(self) -> int:
        """When it ended or will end: a batch takes a second a poll."""
        return self.created + self.polls

    @property
    def done(self) -> int:
        """How many lines have been answered by now."""
        if self.stopped_at is not None:
            return self.stopped_at
        if self.ended:
            return len(self.results)
        if self.course.outcome == "in_progress":
            return min(self.course.done or 0, len(self.results))
        return len(self.results) * self.polled // (self.polls + 1)

    @property
    def lines(self) -> list[tuple[Any, Result | None]]:
        """Each line's key with its result; ``None`` for a line that was not done."""
        done = self.done
        shown = [*self.results[:done], *[None] * (len(self.keys) - done)]
        return list(zip(self.keys, shown, strict=True))

    def poll(self) -> Batch:
        """Go on by one poll."""
        settled = self.stopped_at is not None
        return replace(self, polled=self.polled + 1, settled=settled)

    def fetch(self) -> Batch:
        """Count a download of results."""
        return replace(self, fetched=self.fetched + 1)

    def cancel(self) -> Batch:
        """Stop where it is; one that has ended stays as it is."""
        if self.ended or self.stopped_at is not None:
            return self
        given = self.course.done
        stopped_at = self.done if given is None else min(given, len(self.results))
        return replace(self, stopped_at=stopped_at, polls=self.polled)


def fault_at(faults: Sequence[Fault | None], count: int) -> Fault | None:
    """Find what is scripted for the attempt after so many; ``None`` for nothing."""
    return faults[count] if count < len(faults) else None
