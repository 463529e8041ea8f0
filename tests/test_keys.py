"""Keys: several take turns, and one that is rate limited rests."""

import threading
from collections import Counter

import pytest

from flask_llm.settings import Keys


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def taken(keys, times):
    return [keys.next() for _ in range(times)]


def test_several_keys_take_turns(clock):
    keys = Keys(["a", "b", "c"], clock=clock)

    assert taken(keys, 6) == ["a", "b", "c", "a", "b", "c"]


def test_a_key_that_rests_is_left_out_and_the_others_share_its_turns(clock):
    keys = Keys(["a", "b", "c"], clock=clock)

    keys.rest("b", 30)

    assert Counter(taken(keys, 10)) == {"a": 5, "c": 5}


def test_a_key_comes_back_when_it_has_rested(clock):
    keys = Keys(["a", "b"], clock=clock)
    keys.rest("b", 30)

    clock.now += 30

    assert sorted(taken(keys, 2)) == ["a", "b"]


def test_a_key_rests_for_the_longest_time_that_was_asked_for(clock):
    keys = Keys(["a", "b"], clock=clock)
    keys.rest("b", 30)
    keys.rest("b", 5)

    clock.now += 29

    assert taken(keys, 2) == ["a", "a"]


def test_where_all_rest_the_first_to_wake_is_taken(clock):
    keys = Keys(["a", "b", "c"], clock=clock)
    for key, seconds in [("a", 30), ("b", 10), ("c", 20)]:
        keys.rest(key, seconds)

    assert taken(keys, 2) == ["b", "b"]
    assert (keys.awake, keys.wait) == (False, 10)


def test_resting_tells_whether_another_key_is_awake(clock):
    keys = Keys(["a", "b"], clock=clock)

    assert keys.rest("a", 30) is True
    assert (keys.awake, keys.wait) == (True, 0)
    assert keys.rest("b", 30) is False
    assert (keys.awake, keys.wait) == (False, 30)


@pytest.mark.parametrize(
    "source", ["a", ["a"], ["a", "a"], lambda: "a"], ids=["one", "list", "twice", "own"]
)
def test_a_key_that_has_no_other_never_rests(clock, source):
    keys = Keys(source, clock=clock)

    assert keys.rest("a", 30) is False
    assert (keys.awake, keys.wait, keys.next()) == (True, 0, "a")


def test_a_key_of_somebody_else_is_not_kept(clock):
    keys = Keys(["a", "b"], clock=clock)

    assert keys.rest("stranger", 30) is False
    assert taken(keys, 2) == ["a", "b"]


def test_a_function_is_asked_for_each_key():
    keys = Keys(iter(["a", "b"]).__next__)

    assert taken(keys, 2) == ["a", "b"]


def test_no_key_is_shown():
    keys = Keys(["sk-secret", "sk-other"])
    keys.rest("sk-secret", 30)

    assert f"{keys!r} {keys}" == "Keys(***) Keys(***)"


def test_threads_share_the_turns_evenly():
    keys = Keys(["a", "b", "c", "d"])
    counted = Counter()
    lock = threading.Lock()

    def take():
        found = Counter(taken(keys, 500))
        with lock:
            counted.update(found)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counted == dict.fromkeys("abcd", 1000)
