"""Checks of the clocks: periods, deadlines and leases go by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from flask_llm.cli.doctor.check import BAD, OK, Check, Setup
from flask_llm.errors import LLMError
from flask_llm.guards.shared import Down
from flask_llm.usage.database import named_errors

SECONDS_MAX = 5.0
"""By how much two clocks may differ: a call's row is swept 30 s after its deadline."""


def database(setup: Setup) -> Iterator[Check]:
    """Hold our clock against the database's."""

    def ask() -> datetime | None:
        try:
            with named_errors():
                return setup.state.database.now()
        except LLMError:
            return None  # the check of the tables has said so

    yield from _compare("the database", ask, setup.now)


def redis(setup: Setup) -> Iterator[Check]:
    """Hold our clock against that of Redis."""
    shared = setup.state.shared

    def ask() -> datetime | None:
        if shared is None:
            return None
        try:
            seconds, micros = shared.run("return redis.call('TIME')", [])
        except Down:
            return None  # the check of Redis has said so
        return datetime.fromtimestamp(int(seconds) + int(micros) / 1e6, UTC)

    yield from _compare("Redis", ask, setup.now)


def _compare(
    whose: str, ask: Callable[[], datetime | None], now: Callable[[], datetime]
) -> Iterator[Check]:
    before = now()
    theirs = ask()
    after = now()
    if theirs is None:
        return
    seconds = max((before - theirs).total_seconds(), (theirs - after).total_seconds())
    if seconds > SECONDS_MAX:
        text = f"The clock here and that of {whose} are {seconds:.0f} s apart."
        yield Check("clock", BAD, text, "Let NTP set the clocks of both machines.")
    else:
        yield Check("clock", OK, f"The clock here goes with that of {whose}.")
