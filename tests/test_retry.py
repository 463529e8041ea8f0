"""Retry, Deadline and Retry-After, and connects retried inside the adapter."""

from datetime import UTC, datetime

import pytest
import urllib3
from sockets import free_port

from flask_llm.errors import (
    ConnectionFailed,
    InvalidRequestError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
    ReadTimeout,
    ServerError,
)
from flask_llm.providers import Provider
from flask_llm.retry import Deadline, Retry, retry_after, worth_retrying
from flask_llm.transport import Transport
from flask_llm.wire import Call

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Clock:
    """Monotonic seconds that pass only where somebody sleeps."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_retry(clock):
    def make(retries=2, *, seconds=1000.0, jitter=1.0, **options):
        deadline = Deadline(seconds, clock=clock)
        return Retry(
            retries,
            deadline=deadline,
            sleep=clock.sleep,
            jitter=lambda: jitter,
            **options,
        )

    return make


def fail(retry, *, times):
    for _ in range(times):
        retry.after(ServerError("broken"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"retry-after": "7"}, 7.0, id="seconds"),
        pytest.param({"retry-after": " 7 "}, 7.0, id="spaces"),
        pytest.param({"retry-after": "1.5"}, 1.5, id="float"),
        pytest.param({"retry-after": "0"}, 0.0, id="zero"),
        pytest.param({"retry-after-ms": "250"}, 0.25, id="milliseconds"),
        pytest.param({"retry-after-ms": "12.5"}, 0.0125, id="parts-of-milliseconds"),
        pytest.param(
            {"retry-after": "9", "retry-after-ms": "250"}, 0.25, id="milliseconds-win"
        ),
        pytest.param(
            {"retry-after": "9", "retry-after-ms": "soon"}, 9.0, id="other-one-is-left"
        ),
        pytest.param(
            {"retry-after": "9", "retry-after-ms": "-1"}, 9.0, id="negative-one-passed"
        ),
        pytest.param({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0, id="date"),
        pytest.param(
            {"retry-after": "Mon, 23 Nov 2026 13:00:30 +0100"}, 30.0, id="date-zone"
        ),
        pytest.param(
            {"retry-after": "Mon, 23 Nov 2026 12:00:30 -0000"}, 30.0, id="date-no-zone"
        ),
        pytest.param(
            {"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0, id="date-gone-by"
        ),
        pytest.param({"retry-after": "-1"}, None, id="negative"),
        pytest.param({"retry-after": "nan"}, None, id="nan"),
        pytest.param({"retry-after": "inf"}, None, id="infinite"),
        pytest.param({"retry-after": "1e999"}, None, id="beyond-floats"),
        pytest.param({"retry-after": "in a while"}, None, id="words"),
        pytest.param({"retry-after": ""}, None, id="empty"),
        pytest.param({"retry-after": "Mon, 32 Nov 2026 25:00:00 GMT"}, None, id="day"),
        pytest.param(
            {"retry-after": f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT"}, None, id="year"
        ),
        pytest.param({}, None, id="absent"),
    ],
)
def test_every_form_of_retry_after_is_read(headers, seconds):
    assert retry_after(headers, NOW) == seconds


def test_a_date_is_read_against_the_time_of_day_by_default():
    assert retry_after({"retry-after": "Mon, 23 Nov 2020 12:00:00 GMT"}) == 0.0


def test_a_deadline_counts_down_to_zero_and_no_further(clock):
    deadline = Deadline(2, clock=clock)

    before = deadline.remaining()
    clock.now += 5

    assert (before, deadline.remaining(), deadline.seconds) == (2, 0, 2)


@pytest.mark.parametrize(("seconds", "left"), [(3, 3), (30, 10)])
def test_a_deadline_within_another_is_never_later(clock, seconds, left):
    deadline = Deadline(10, clock=clock)

    assert deadline.within(seconds).remaining() == left


@pytest.mark.parametrize(
    ("jitter", "pauses"),
    [(1.0, [1, 2, 4, 8]), (0.0, [0.75, 1.5, 3, 6]), (0.5, [0.875, 1.75, 3.5, 7])],
)
def test_pauses_double_and_chance_takes_a_quarter_at_most(
    make_retry, clock, jitter, pauses
):
    retry = make_retry(4, jitter=jitter)

    fail(retry, times=4)

    assert clock.slept == pauses


def test_jitter_is_random_by_default(clock):
    retry = Retry(50, deadline=Deadline(1e6, clock=clock), sleep=clock.sleep)

    fail(retry, times=50)

    longest = clock.slept[6:]
    assert all(45 <= pause <= 60 for pause in longest)
    assert len(set(longest)) > 1


@pytest.mark.parametrize(("failed", "pause"), [(7, 60.0), (50, 60.0), (5000, 60.0)])
def test_no_pause_of_our_own_is_longer_than_a_minute(make_retry, clock, failed, pause):
    retry = make_retry(10_000)
    retry.failed = failed

    retry.after(ServerError("broken"))

    assert clock.slept == [pause]
    assert not retry.is_exhausted()


def test_a_providers_wish_wins_over_the_back_off(make_retry, clock):
    retry = make_retry()

    retry.after(RateLimitError("wait", retry_after=7.5))
    retry.after(RateLimitError("wait", retry_after=0.0))

    assert clock.slept == [7.5, 0.0]


def test_no_tries_are_left_after_the_last_one(make_retry, clock):
    retry = make_retry(2)
    error = ServerError("broken")
    retry.after(error)
    retry.after(error)

    with pytest.raises(ServerError) as raised:
        retry.after(error)

    assert raised.value is error
    assert (len(clock.slept), retry.attempts) == (2, 3)


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (RateLimitError("wait", retry_after=30.0), 30.0),
        (RateLimitError("wait", retry_after=5.0), 5.0),
        (OverloadedError("full", retry_after=21600.0), 21600.0),
    ],
)
def test_a_wait_that_does_not_fit_the_deadline_is_not_begun(
    make_retry, clock, error, wait
):
    retry = make_retry(seconds=5.0)

    with pytest.raises(type(error)) as raised:
        retry.after(error)

    assert raised.value.retry_after == wait
    assert (clock.slept, retry.attempts) == ([], 1)


def test_a_back_off_that_does_not_fit_the_deadline_is_not_begun(make_retry, clock):
    retry = make_retry(seconds=0.9)

    with pytest.raises(ServerError):
        retry.after(ServerError("broken"))

    assert (clock.slept, retry.attempts) == ([], 1)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ServerError("x"), True),
        (OverloadedError("x"), True),
        (RateLimitError("x"), True),
        (ConnectionFailed("x"), True),
        (InvalidRequestError("x"), False),
        (ReadTimeout("x"), False),
        (ReadTimeout("x", should_retry=True), False),
        (QuotaExhaustedError("x"), False),
        (QuotaExhaustedError("x", should_retry=True), False),
        (InvalidRequestError("x", should_retry=True), True),
        (ServerError("x", should_retry=False), False),
        (ConnectionFailed("x", should_retry=False), False),
    ],
)
def test_what_is_worth_another_try(error, again):
    assert worth_retrying(error) is again


def test_connects_and_statuses_share_one_supply_of_tries(make_retry, clock):
    retry = make_retry(2)
    refused = urllib3.exceptions.NewConnectionError(None, "refused")

    retry.increment(error=refused)
    retry.sleep()
    retry.after(ServerError("broken"))

    assert (retry.attempts, clock.slept) == (3, [1, 2])
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        retry.increment(url="/", error=refused)


def test_what_is_no_failed_connect_is_not_repeated_inside_the_adapter(make_retry):
    retry = make_retry(2)
    cut = urllib3.exceptions.ProtocolError("Connection aborted.")

    with pytest.raises(urllib3.exceptions.ProtocolError):
        retry.increment(error=cut)

    assert retry.attempts == 1


@pytest.mark.parametrize(("seconds", "exhausted"), [(5.9, True), (6.1, False)])
def test_no_connect_is_begun_that_the_deadline_would_cut_short(
    make_retry, seconds, exhausted
):
    retry = make_retry(seconds=seconds, backoff=1.0, connect_timeout=5.0)

    assert retry.is_exhausted() is exhausted


@pytest.fixture
def refused():
    return Provider(name="ollama", base_url=f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(("retries", "pauses"), [(0, []), (1, [1]), (2, [1, 2])])
def test_a_refused_connect_is_tried_again_inside_the_adapter(
    clock, refused, retries, pauses
):
    transport = Transport(sleep=clock.sleep, clock=clock)
    retry = transport.retry(retries, 30)

    with pytest.raises(ConnectionFailed) as raised:
        transport.send(Call(path="/x", body={}), refused, retry)

    assert raised.value.code == "connect_refused"
    assert clock.slept == [pytest.approx(0.875 * pause, rel=1 / 7) for pause in pauses]
    assert retry.attempts == retries + 1


def test_refused_connects_end_at_the_deadline(clock, refused):
    transport = Transport(sleep=clock.sleep, clock=clock, connect_timeout=5)
    retry = transport.retry(100, 20)

    with pytest.raises(ConnectionFailed):
        transport.send(Call(path="/x", body={}), refused, retry)

    assert clock.now <= 120
    assert retry.attempts == len(clock.slept) + 1
