"""One provider's circuit: what a process knows of it, and its scripts in Redis."""

from __future__ import annotations

import math
from dataclasses import dataclass

LOOK_SECONDS = 1.0
"""How old what a process knows of a circuit may be: a call costs no look of its own."""

_NEVER = -math.inf

# Each circuit is a hash: `failures` in a row, `open` until, `trial` until; times are
# milliseconds of Redis's own clock. Each script returns the failures, for how many
# milliseconds nobody gets through, and whether the asker may try, or could.
_BEGIN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function read(name)
  return tonumber(redis.call('HGET', KEYS[1], name) or '0') or 0
end
local function write(name, value)
  redis.call('HSET', KEYS[1], name, string.format('%.0f', value))
end
local failures, open, trial = read('failures'), read('open'), read('trial')
"""
LOOK = (
    _BEGIN
    + """
local lease = tonumber(ARGV[1])
if open == 0 then return {failures, 0, 0} end
if open > now then return {failures, open - now, 0} end
if lease == 0 then return {failures, 0, 1} end
if trial > now then return {failures, trial - now, 0} end
write('trial', now + lease)
return {failures, 0, 1}
"""
)
FAIL = (
    _BEGIN
    + """
local limit, pause, row = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if open > now then return {failures, open - now, 0} end
write('failures', failures + 1)
local left = 0
if open > 0 or failures + 1 >= limit then
  left = pause
  write('open', now + pause)
  redis.call('HDEL', KEYS[1], 'trial')
end
redis.call('PEXPIRE', KEYS[1], row)
return {failures + 1, left, 0}
"""
)
SUCCEED = (
    _BEGIN
    + """
if open > now then return {failures, open - now, 0} end
redis.call('DEL', KEYS[1])
return {0, 0, 0}
"""
)


@dataclass(frozen=True, slots=True)
class CircuitState:
    """How a provider's circuit stands."""

    state: str
    """``closed``, ``open``, or ``half_open``: the next call is a trial."""
    failures: int
    """Failed calls in a row."""
    seconds: float
    """How long it stays open at least."""


Found = tuple[int, float, bool]
"""Failures, for how many seconds nobody gets through, whether one could try."""


class Circuit:
    """What this process knows of one provider; for itself where Redis is not there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        self._failed_at = _NEVER
        self._open_until: float | None = None
        self._trial_until = _NEVER
        self._looked_at = _NEVER

    def is_look_due(self, now: float) -> bool:
        """Whether Redis is to be asked; whoever is told so is the only one for now.

        Except for trials, which Redis alone gives out.
        """
        if self._open_until is not None and now >= max(
            self._open_until, self._trial_until
        ):
            return True
        if now - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = now
        return True

    def learn(self, now: float, found: Found | None) -> bool:
        """Take over what Redis says, and tell whether it said anything."""
        if found is None:
            return False
        self.failures, shut_seconds, may_try = found
        self._looked_at = now
        self._failed_at = now if self.failures else _NEVER
        self._open_until = now + shut_seconds if shut_seconds or may_try else None
        if may_try:
            self._trial_until = _NEVER
        return True

    def enter(self, now: float, lease_seconds: float) -> float:
        """Return for how long a caller is kept away, or let it through: 0."""
        if self._open_until is None:
            return 0.0
        if now < self._open_until or now < self._trial_until:
            return max(self._open_until, self._trial_until) - now
        self._trial_until = now + lease_seconds
        return 0.0

    def fail(self, now: float, limit: int, seconds: float, row_seconds: float) -> None:
        """Count a failure."""
        if self._open_until is not None and now < self._open_until:
            return
        if now - self._failed_at > row_seconds:
            self.failures = 0
        self.failures += 1
        self._failed_at = now
        if self._open_until is not None or self.failures >= limit:
            self._open_until = now + seconds
            self._trial_until = _NEVER

    def succeed(self, now: float) -> None:
        """Close, unless the call had been under way when the circuit opened."""
        if self._open_until is None or now >= self._open_until:
            self.failures, self._open_until = 0, None

    def state(self, now: float) -> CircuitState:
        """Return how it stands."""
        if self._open_until is None:
            return CircuitState("closed", self.failures, 0.0)
        left = max(0.0, self._open_until - now)
        return CircuitState("open" if left else "half_open", self.failures, left)
