"""``flask llm loadtest`` as people type it."""

import json
from decimal import Decimal

import pytest
from sockets import wait_until

from flask_llm import LLMError
from flask_llm.chat import Completion
from flask_llm.cli.crowd import is_streamed, together
from flask_llm.cli.loadtest import percentile
from flask_llm.emulator import Answer, Fault


def test_loadtest_counts_failures_by_name(run, emulator):
    emulator.script(*[Fault(status=400) for _ in range(3)])

    result = run("loadtest", "--yes", "--calls", "10")

    assert "7 of 10 answered" in result.output
    assert "3 x InvalidRequestError" in result.output


def test_loadtest_as_json_is_what_the_rows_say(run, emulator, rows):
    emulator.script(Fault(status=400))

    told = json.loads(run("loadtest", "--calls", "6", "--yes", "--json").stdout)

    answered = sorted(row.duration_ms for row in rows() if row.status == "ok")
    nanos = sum(row.cost_nanos for row in rows() if row.status == "ok")
    assert (told["calls"], told["answered"], told["unpriced"]) == (6, 5, 0)
    assert told["failed"] == {"InvalidRequestError": 1}
    assert Decimal(told["cost_usd"]) == Decimal(nanos) / 10**9
    assert told["latency_ms"]["p99"] == answered[-1]
    assert sum(row["calls"] for row in told["histogram"]) == 5


def test_loadtest_knows_no_cost_where_there_is_no_price(run, emulator):
    args = ("loadtest", "--calls", "2", "--yes", "--model", "openai/nobody-knows")

    told = json.loads(run(*args, "--json").stdout)

    assert (told["cost_usd"], told["unpriced"]) == (None, 2)
    assert "cost unknown USD, 2 unpriced" in run(*args).stdout


def test_loadtest_without_an_answer_has_no_latency(run, emulator):
    emulator.script(Fault(status=400), Fault(status=400))
    args = ("loadtest", "--calls", "1", "--yes")

    told = json.loads(run(*args, "--json").stdout)

    assert told["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert told["histogram"] == []
    assert "0 of 1 answered" in run(*args).stdout


def test_loadtest_of_no_calls_is_refused(run):
    assert run("loadtest", "--calls", "0").exit_code == 2


@pytest.mark.parametrize(("share", "value"), [(50, 5), (95, 10), (99, 10), (1, 1)])
def test_percentile_is_the_smallest_value_not_exceeded(share, value):
    assert percentile(range(1, 11), share) == value


def test_streams_are_mixed_in(run, emulator, rows):
    emulator.script(Fault(delay_seconds=0.2))

    told = json.loads(
        run("loadtest", "--calls", "8", "--streams", "0.25", "--json").stdout
    )

    streamed = [row for row in rows() if row.streamed]
    assert [arrival.stream for arrival in emulator.requests].count(True) == 2
    assert (told["answered"], len(streamed)) == (8, 2)
    firsts = sorted(row.first_token_ms for row in streamed)
    assert told["first_token_ms"]["p50"] == firsts[0]
    assert told["first_token_ms"]["p99"] == firsts[1]


def test_stream_that_breaks_off_is_counted_by_name(run, emulator):
    emulator.script(Fault(answer=Answer(text="one two three"), reset_after=3))

    args = ("loadtest", "--calls", "2", "--streams", "1", "--users", "1", "--json")
    told = json.loads(run(*args).stdout)

    assert told["failed"] == {"StreamInterrupted": 1}
    assert told["answered"] == 1


@pytest.mark.parametrize(
    ("share", "streamed"),
    [(0, ""), (0.3, "3 6 9"), (0.5, "1 3 5 7 9"), (1, "0 1 2 3 4 5 6 7 8 9")],
)
def test_streams_are_spread_evenly(share, streamed):
    found = [number for number in range(10) if is_streamed(number, share)]

    assert found == [int(word) for word in streamed.split()]


def test_users_ask_until_the_time_is_over(run, emulator, rows):
    emulator.script(*[Fault(delay_seconds=0.1)] * 40)

    args = ("loadtest", "--seconds", "0.5", "--users", "3", "--json")
    told = json.loads(run(*args).stdout)

    assert told["calls"] == told["answered"] == len(rows()) > 3
    assert told["seconds"] >= 0.5
    assert emulator.max_in_flight <= 3


def test_more_users_than_slots_wait_for_them(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)
    emulator.script(*[Fault(delay_seconds=0.1)] * 8)
    args = ["llm", "loadtest", "--calls", "8", "--users", "4", "--json"]

    told = json.loads(app.test_cli_runner().invoke(args=args).stdout)

    assert emulator.max_in_flight == 1
    # Of four users three wait, but for the first and the last calls.
    assert 0.5 < told["queue_share"] < 0.8


def test_users_who_wait_for_nothing_have_no_queue(run, emulator):
    emulator.script(*[Fault(delay_seconds=0.1)] * 4)

    result = run("loadtest", "--calls", "4", "--users", "2")

    assert "0% of their time waiting for a slot" in result.output
    assert "ms of CPU for each" in result.output


def test_whoever_stops_looking_stops_the_users():
    asked = []

    def ask(number):
        asked.append(number)
        return Completion()

    crowd = together(ask, users=2, calls=1_000_000, seconds=None)
    next(crowd)
    crowd.close()
    before = len(asked)

    assert not wait_until(lambda: len(asked) > before, 0.1)


def test_errors_that_are_not_ours_come_out():
    def ask(number):
        raise ZeroDivisionError if number else LLMError("Ours.")

    with pytest.raises(ZeroDivisionError):
        list(together(ask, users=1, calls=2, seconds=None))
