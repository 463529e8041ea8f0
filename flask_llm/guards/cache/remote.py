"""Which process asks a question: a lock in Redis that runs out by itself."""

from __future__ import annotations

from enum import Enum

from flask_llm.guards.cache.local import GRACE_SECONDS, Flight
from flask_llm.guards.shared import Down, Shared

LEASE_SECONDS = 15.0
"""How long a lock lasts at most: a call that is longer may be made twice."""

MARK_SECONDS = 2.0
"""How long the others are told how a call has ended; they look more often."""

_TAKE = """
local held = redis.call('GET', KEYS[1])
if held == 'done' or held == 'free' then return held end
if held and held ~= ARGV[1] then return 'taken' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'mine'
"""

_LEAVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class Turn(Enum):
    """Whose turn it is."""

    MINE = "mine"
    TAKEN = "taken"
    """Another process is asking."""
    DONE = "done"
    """Another process has just got an answer and kept it."""
    FREE = "free"
    """Another process has just got an answer that nobody else may have."""


class Turns:
    """Lets one process ask at a time.

    :param shared: None, and a Redis that is down, lets each process ask by itself.
    """

    def __init__(self, shared: Shared | None) -> None:
        self._shared = shared

    def take(self, flight: Flight, seconds: float) -> Turn:
        """Take the lock, or say why not.

        :param seconds: that are left to whoever asks.
        """
        if self._shared is None:
            return Turn.MINE
        lease = min(seconds + GRACE_SECONDS, LEASE_SECONDS)
        arguments: list[str | float] = [flight.token, int(lease * 1000)]
        try:
            word = self._shared.run(_TAKE, [_name(flight)], arguments)
        except Down:
            return Turn.MINE
        turn = Turn(word.decode())
        flight.locked = turn is Turn.MINE
        return turn

    def leave(self, flight: Flight, ended: Turn | None = None) -> None:
        """Give the lock back, if it still is ours; never fails.

        :param ended: what the others are to hear; None lets one of them ask next.
        """
        if self._shared is None or not flight.locked:
            return
        flight.locked = False
        mark = ended.value if ended else ""
        arguments: list[str | float] = [flight.token, mark, int(MARK_SECONDS * 1000)]
        try:
            self._shared.run(_LEAVE, [_name(flight)], arguments)
        except Down:
            return  # it runs out by itself


def _name(flight: Flight) -> str:
    return f"llm:flight:{flight.key}"
