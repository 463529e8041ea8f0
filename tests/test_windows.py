import random
from types import SimpleNamespace

import pytest
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from test_keys import Clock

from flask_llm.guards.windows import LocalWindows
from flask_llm.settings import Quota

FOUR = Quota("4/minute", count=4, every=1, unit="minute")


@pytest.fixture
def clock():
    """Stand at the beginning of a window."""
    clock = Clock()
    clock.now = 6_000.0
    return clock


@pytest.fixture
def windows(clock):
    return LocalWindows(now=clock)


def hits(windows, times, who="ada"):
    return sum(windows.hit(FOUR, who) for _ in range(times))


def test_the_last_window_counts_less_the_longer_it_is_over(windows, clock):
    assert hits(windows, 9) == 4

    clock.now += 60
    assert hits(windows, 9) == 0
    clock.now += 30
    assert hits(windows, 9) == 2
    clock.now += 29
    assert hits(windows, 9) == 2


def test_a_window_before_the_last_counts_no_more(windows, clock):
    hits(windows, 9)

    clock.now += 120

    assert hits(windows, 9) == 4


def test_a_look_counts_nothing(windows):
    assert all(windows.test(FOUR, "ada") for _ in range(9))
    hits(windows, 4)

    assert not windows.test(FOUR, "ada")


@pytest.mark.parametrize(("seconds", "room"), [(0, 1), (5, 1), (70, 0)])
def test_what_was_taken_is_given_back_within_its_window(windows, clock, seconds, room):
    hits(windows, 4)
    clock.now += seconds
    hits(windows, 4)

    windows.take_back(FOUR, "ada", seconds_ago=seconds)

    assert hits(windows, 9) == room


def test_more_is_never_given_back_than_was_taken(windows):
    windows.take_back(FOUR, "ada", seconds_ago=0.0)

    assert hits(windows, 9) == 4


def test_there_is_room_when_it_says(windows, clock):
    hits(windows, 4)
    clock.now += 60
    assert hits(windows, 1) == 0

    clock.now += windows.seconds_left(FOUR, "ada")

    assert hits(windows, 9) == 1


def test_a_clock_that_is_set_back_gives_no_room(windows, clock):
    hits(windows, 4)

    clock.now -= 600

    assert hits(windows, 9) == 0


def test_those_of_whom_nothing_counts_any_more_are_forgotten(windows, clock):
    hits(windows, 4)
    for number in range(5_000):
        windows.hit(FOUR, str(number))
        clock.now += 0.2

    assert len(windows._counts) < 2_100
    assert hits(windows, 9) == 4


@pytest.mark.parametrize("seed", range(20))
def test_it_decides_as_flask_limiter_does(windows, clock, monkeypatch, seed):
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=clock))
    theirs = SlidingWindowCounterRateLimiter(MemoryStorage())
    item = RateLimitItemPerMinute(4)
    chance = random.Random(seed)
    pauses = [chance.choice([0, 0, 0, 0, 1, 1, 7, 25, 61, 130]) for _ in range(200)]

    def both(pause):
        clock.now += pause + 0.125
        return windows.hit(FOUR, "ada"), theirs.hit(item, "ada")

    ours, expected = zip(*map(both, pauses), strict=True)

    assert ours == expected
    assert 30 < sum(ours) < 180
