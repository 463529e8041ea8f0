"""Users who ask side by side, again and again: whole answers and streams, mixed."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from queue import SimpleQueue
from typing import Any

from flask_llm.chat import Completion
from flask_llm.errors import LLMError

Ask = Callable[[int], Completion]
"""Makes the call of this number, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How one call fared; no more of it is kept."""

    latency_ms: int | None = None
    """None where there was no answer."""
    error: str | None = None
    """The error's name."""
    cost_usd: Decimal | None = None

    @property
    def is_unpriced(self) -> bool:
        """Whether there was an answer of an unknown price."""
        return self.error is None and self.cost_usd is None

    @classmethod
    def by(cls, ask: Ask, number: int) -> Asked:
        """Make one call."""
        try:
            answer = ask(number)
        except LLMError as error:
            return cls(error=type(error).__name__, cost_usd=error.cost_usd)
        return cls(latency_ms=answer.latency_ms, cost_usd=answer.cost_usd)


def together(
    ask: Ask,
    *,
    users: int,
    calls: int | None,
    seconds: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Asked]:
    """Yield how calls fare, as they end.

    :param users: threads; each makes a call when its last one has ended.
    :param calls: how many; None for as many as there is time for.
    :param seconds: after which no further call is begun; None for no such end.
    """
    numbers = itertools.count()
    most = math.inf if calls is None else calls
    over = math.inf if seconds is None else clock() + seconds
    left = threading.Event()
    ended: SimpleQueue[Asked | None] = SimpleQueue()

    def user() -> None:
        try:
            while not left.is_set() and clock() < over:
                number = next(numbers)
                if number >= most:
                    break
                ended.put(Asked.by(ask, number))
        finally:
            ended.put(None)

    with ThreadPoolExecutor(users, thread_name_prefix="flask_llm") as executor:
        futures = [executor.submit(user) for _ in range(users)]
        try:
            for _ in futures:
                yield from iter(ended.get, None)
        finally:
            left.set()
    for future in futures:
        future.result()


def is_streamed(number: int, share: float) -> bool:
    """Tell whether a call is one of the share that is, evenly spread over all."""
    return math.floor((number + 1) * share) > math.floor(number * share)


class Waits:
    """What the rows of calls and their waiting come to; a receiver of signals."""

    def __init__(self) -> None:
        self._noted: list[tuple[int, int, int | None]] = []

    def note(self, _sender: object, **facts: Any) -> None:
        """Note a call that has ended, in whatever thread."""
        row = facts["row"]
        times = row["duration_ms"], row["first_token_ms"]
        self._noted.append((facts["queued_ms"], *times))

    @property
    def queue_share(self) -> float:
        """Of all the time that calls took: what they waited for slots, from 0 to 1."""
        taken = sum(duration for _, duration, _ in self._noted)
        return sum(queued for queued, *_ in self._noted) / taken if taken else 0.0

    @property
    def first_token_ms(self) -> list[int]:
        """When the first pieces of streams came, the quickest first."""
        return sorted(first for *_, first in self._noted if first is not None)
