"""When to try again, and how long to wait first, within one call's deadline."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self, cast

import urllib3
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import MaxRetryError
from urllib3.response import BaseHTTPResponse

from flask_llm.errors import (
    ConnectionFailed,
    OverloadedError,
    ProviderError,
    QuotaExhaustedError,
    RateLimitError,
    ReadTimeout,
    ServerError,
)

PAUSE_MAX_SECONDS = 60.0

_DOUBLINGS_MAX = 32
"""More of them do not fit a float, and are beyond the longest pause long before."""


class Deadline:
    """The moment by which a call must be over.

    :param seconds: from now.
    :param clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_ends", "seconds")

    def __init__(
        self, seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._ends = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds left, 0 when it has passed."""
        return max(0.0, self._ends - self._clock())

    def extend(self, seconds: float) -> None:
        """Put it off."""
        self._ends += seconds

    def within(self, seconds: float) -> Deadline:
        """Return a deadline that is at most some seconds away."""
        return Deadline(min(seconds, self.remaining()), clock=self._clock)


class Retry(urllib3.Retry):
    """One call's supply of further tries, shared by connects and statuses.

    Inside the adapter urllib3 asks it about failed connects, the one thing that is
    always safe to repeat. Answers are the send loop's business (:meth:`after`), since
    only there is known what the provider meant.

    What the parent would do otherwise: with ``total`` set it takes reads for connects;
    it sleeps a whole Retry-After, up to six hours, whatever the deadline; it trips over
    ``Retry-After: 1.5``; and it gives the answer up together with the tries.

    :param retries: tries beside the first one.
    :param backoff: seconds before the second try; doubled for each further one.
    :param connect_timeout: seconds that a connect may take, so that none is begun
        which the deadline would cut short.
    """

    def __init__(
        self,
        retries: int = 2,
        *,
        deadline: Deadline | None = None,
        backoff: float = 1.0,
        connect_timeout: float = 5.0,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(
            total=None,
            connect=retries,
            read=0,
            redirect=0,
            status=0,
            other=0,
            allowed_methods=None,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        self.retries = retries
        self.deadline = deadline or Deadline(math.inf)
        self.backoff = backoff
        self.connect_timeout = connect_timeout
        self.failed = 0
        self.sent = False
        """Whether any request was handed to the network."""
        self._sleep = sleep
        self._jitter = jitter

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """Count a failed connect; raise whatever else there is, or where it is enough.

        The signature is urllib3's.
        """
        del method, response
        if error is not None and not self._is_connection_error(error):
            raise error.with_traceback(_stacktrace)
        if self.is_exhausted():
            raise MaxRetryError(cast("ConnectionPool", _pool), url or "", error)
        self.failed += 1
        return self

    @property
    def attempts(self) -> int:
        """Requests sent so far, the one under way included."""
        return self.failed + 1

    def is_exhausted(self) -> bool:
        """Whether there is no further connect: tries or time are used up."""
        if self.failed >= self.retries:
            return True
        needed = self._backoff_after(self.failed + 1) + self.connect_timeout
        return bool(self.deadline.remaining() < needed)

    def sleep(self, response: object = None) -> None:
        """Wait between two connects."""
        del response
        self._sleep(self._jittered(self.failed))

    def after(self, error: ProviderError) -> None:
        """Wait for the next try.

        :raises ProviderError: the error itself, at once, where another try is wrong,
            used up, or would begin past the deadline; ``retry_after`` then tells how
            long the provider wants to be left alone.
        """
        if not worth_retrying(error) or self.failed >= self.retries:
            raise error
        asked = error.retry_after
        pause = self._jittered(self.failed + 1) if asked is None else asked
        if pause >= self.deadline.remaining():
            raise error
        self.failed += 1
        self._sleep(pause)

    def amend(self) -> None:
        """Count a further request that is another one, not the same again.

        It takes nothing from the supply.
        """
        self.failed += 1
        self.retries += 1

    def _backoff_after(self, failed: int) -> float:
        doublings = min(max(0, failed - 1), _DOUBLINGS_MAX)
        return float(min(PAUSE_MAX_SECONDS, self.backoff * 2**doublings))

    def _jittered(self, failed: int) -> float:
        return self._backoff_after(failed) * (0.75 + 0.25 * self._jitter())


def worth_retrying(error: ProviderError) -> bool:
    """Whether the call that failed so may be sent again by itself.

    A read timeout may not: the provider may have done the work, will bill it, and a
    second try would wait as long again.
    """
    if isinstance(error, (QuotaExhaustedError, ReadTimeout)):
        return False
    if error.should_retry is not None:
        return error.should_retry
    return error.is_retryable


def undone(error: ProviderError) -> bool:
    """Whether a request that failed so was certainly not carried out."""
    if isinstance(error, (RateLimitError, OverloadedError)):
        return True
    if error.status is None:
        return isinstance(error, ConnectionFailed) and error.code in NEVER_CAME
    return not isinstance(error, ServerError)


NEVER_CAME = {
    "dns_failed",
    "connect_refused",
    "connect_timeout",
    "tls_failed",
    "proxy_failed",
}
"""How connections fail before the provider has read anything."""


def retry_after(
    headers: Mapping[str, str], now: datetime | None = None
) -> float | None:
    """Read how many seconds a provider asks to be left alone.

    ``retry-after-ms`` wins over ``retry-after``, which is seconds, whole or not, or a
    date (RFC 9110, section 10.2.3).

    :param headers: names in lower case.
    :param now: the time, for dates.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            seconds = _until(value, now or datetime.now(UTC))
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _until(value: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return math.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
