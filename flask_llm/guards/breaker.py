"""The breaker: a provider that keeps failing is left alone for a while."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from flask_llm.errors import (
    AuthenticationError,
    ConnectionFailed,
    ContentFilteredError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ReadTimeout,
    SchemaError,
    ServerError,
)
from flask_llm.forks import after_fork
from flask_llm.guards.circuit import (
    FAIL,
    LOOK,
    SUCCEED,
    Circuit,
    CircuitState,
    Found,
)
from flask_llm.guards.shared import Down, Shared
from flask_llm.providers import Provider

ROW_SECONDS = 600.0
"""Failures further apart than this are not in a row."""

CIRCUIT_OPEN = "circuit_open"

_FAILURES = (OverloadedError, ServerError, ConnectionFailed, ReadTimeout)

_SIGNS_OF_LIFE = (
    AuthenticationError,
    ContentFilteredError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
"""Whoever answers so is at work; a rate limit may be the answer of what stands before
a provider that is not, and so says nothing."""


class Breaker:
    """Refuses calls to providers that keep failing.

    Closed until so many calls in a row have failed, then open; when the time is over,
    one caller is let through as a trial, over all workers where they share Redis. If
    that succeeds the circuit closes, if it fails it opens again, and if nothing is
    heard of it for as long, the next caller is the trial. Calls that were under way
    when the circuit opened change nothing.

    With Redis, a process asks for the state of a closed circuit once a second, writes
    each failure, and writes a success only where it knows of failures. So others may
    go on asking a provider for a second after its circuit has opened. Without Redis,
    and while it is down, each process goes by what it knows.

    :param shared: where workers meet.
    :param failures: in a row; 0 never opens.
    :param seconds: that a provider is left alone.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        shared: Shared | None,
        *,
        failures: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._failures = failures
        self._seconds = seconds
        self._row_seconds = max(ROW_SECONDS, 2 * seconds)
        self._clock = clock
        self._lock = threading.Lock()
        self._circuits: dict[str, Circuit] = {}
        after_fork(self.renew)

    def check(self, provider: Provider) -> None:
        """See that the provider may be asked.

        :raises OverloadedError: with the code ``circuit_open`` where it may not.
        """
        circuit = self._circuit(provider)
        seconds = self._shut_seconds(circuit) if self._failures else 0.0
        if seconds > 0:
            raise OverloadedError(
                f"{provider.name} failed {circuit.failures} times in a row and is left "
                f"alone for another {math.ceil(seconds)} s: name other models in "
                "LLM_FALLBACKS, or see LLM_BREAKER_FAILURES and LLM_BREAKER_SECONDS.",
                code=CIRCUIT_OPEN,
                provider=provider.name,
                retry_after=seconds,
            )

    def note(self, provider: Provider, error: BaseException | None) -> None:
        """Take in how a call ended.

        Rate limits, refusals of our own and calls given up count as neither failure
        nor success.

        :param error: None for success.
        """
        works = _works(error)
        if works is None or not self._failures:
            return
        circuit = self._circuit(provider)
        if not works:
            self._failed(circuit)
        elif circuit.failures:
            self._succeeded(circuit)

    def state(self, provider: Provider) -> CircuitState:
        """Return how a provider's circuit stands, without taking its trial."""
        circuit = self._circuit(provider)
        found = self._ask(LOOK, circuit, 0)
        with self._lock:
            circuit.learn(self._clock(), found)
            return circuit.state(self._clock())

    def knows(self, provider: Provider) -> bool:
        """Tell whether this process has called a provider."""
        return provider.name in self._circuits

    def renew(self) -> None:
        """Take a new lock, as a forked worker must: the old one may be held."""
        self._lock = threading.Lock()

    def _circuit(self, provider: Provider) -> Circuit:
        name = provider.name
        return self._circuits.get(name) or self._circuits.setdefault(
            name, Circuit(name)
        )

    def _shut_seconds(self, circuit: Circuit) -> float:
        """Return for how long a caller is kept away; 0 lets it through."""
        with self._lock:
            now = self._clock()
            if self._shared is None or not circuit.is_look_due(now):
                return circuit.enter(now, self._seconds)
        found = self._ask(LOOK, circuit, _ms(self._seconds))
        with self._lock:
            now = self._clock()
            circuit.learn(now, found)
            return circuit.enter(now, self._seconds)

    def _failed(self, circuit: Circuit) -> None:
        numbers = self._failures, _ms(self._seconds), _ms(self._row_seconds)
        found = self._ask(FAIL, circuit, *numbers)
        with self._lock:
            now = self._clock()
            if not circuit.learn(now, found):
                circuit.fail(now, self._failures, self._seconds, self._row_seconds)

    def _succeeded(self, circuit: Circuit) -> None:
        found = self._ask(SUCCEED, circuit)
        with self._lock:
            now = self._clock()
            if not circuit.learn(now, found):
                circuit.succeed(now)

    def _ask(self, script: str, circuit: Circuit, *numbers: int) -> Found | None:
        """Run a script; None where there is no Redis, or it cannot be reached."""
        if self._shared is None:
            return None
        try:
            failures, shut_ms, may_try = self._shared.run(
                script, [f"llm:breaker:{circuit.name}"], numbers
            )
        except Down:
            return None
        return failures, shut_ms / 1000, bool(may_try)


def _works(error: BaseException | None) -> bool | None:
    """Tell whether a provider works by how a call ended, None where that says nothing.

    An error of ours has the same class as a provider's and no status.
    """
    if error is None:
        return True
    if isinstance(error, _FAILURES):
        return None if error.code == CIRCUIT_OPEN else False
    answered = isinstance(error, _SIGNS_OF_LIFE) and error.status is not None
    return True if answered or isinstance(error, SchemaError) else None


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
