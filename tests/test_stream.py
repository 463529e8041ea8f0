"""stream(), end to end: chunks, every ending, and the row that it leaves."""

import contextlib
import signal
import time
from decimal import Decimal

import pytest
from conftest import KEY, read_rows
from sockets import LAST_CHUNK, STREAM_HEAD, answering, chunk, serving, wait_until

import flask_llm
from flask_llm import signals
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import (
    AuthenticationError,
    ConnectionFailed,
    InvalidRequestError,
    LLMError,
    OverloadedError,
    ProviderError,
    QuotaExhaustedError,
    RateLimitError,
    ReadTimeout,
    ResponseError,
    ServerError,
    StreamInterrupted,
)

each_api = pytest.mark.parametrize("api", ["openai", "anthropic", "google"])

USAGE = {"input_tokens": 1000, "output_tokens": 200}
COSTS = {
    "openai": Decimal("0.00027"),
    "anthropic": Decimal("0.002"),
    "google": Decimal("0.0008"),
}
WORDS = Answer(text="one two three four five six", chunks=6, usage=USAGE)
SOME = {"openai": 3, "anthropic": 4, "google": 2}
"""Events of WORDS after which some of its pieces have been given, but not all."""


def texts(stream):
    return [piece.text for piece in stream if piece.text]


def collected(stream):
    """Read a stream; return the texts, and the error that ended it, if any."""
    said = []
    try:
        for piece in stream:
            said.append(piece.text)  # noqa: PERF401 - what came before an error stays
    except LLMError as error:
        return said, error
    return said, None


def one(rows):
    (row,) = rows()
    return row


# --- To the end ------------------------------------------------------------------


@each_api
def test_a_stream_read_to_its_end(app, rows, emulator, models, api):
    emulator.script(WORDS)

    with flask_llm.stream("Count", model=models[api], user="ada") as stream:
        said = texts(stream)

    answer, row = stream.completion, one(rows)
    assert len(said) > 1
    assert "".join(said) == answer.text == WORDS.text
    assert (answer.finish_reason, answer.attempts) == ("stop", 1)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1000, 200)
    assert (answer.cost_usd, answer.usage.source) == (COSTS[api], "provider")
    assert (row.status, row.streamed, row.user_id) == ("ok", True, "ada")
    assert (row.request_id, row.model) == (answer.request_id, models[api])
    assert (row.input_tokens, row.output_tokens) == (1000, 200)
    assert row.cost_nanos == int(COSTS[api] * 10**9)
    assert (row.finish_reason, row.error_code) == ("stop", None)
    assert 0 <= row.first_token_ms <= row.duration_ms


@each_api
def test_a_stream_ends_as_the_whole_answer_would(app, emulator, models, api):
    emulator.script(WORDS, WORDS)

    whole = flask_llm.complete("Count", model=models[api])
    stream = flask_llm.stream("Count", model=models[api])
    said = texts(stream)

    assert "".join(said) == whole.text
    assert stream.completion.content == whole.content
    assert stream.completion.usage == whole.usage
    assert stream.completion.cost_usd == whole.cost_usd


@each_api
def test_tool_calls_come_whole(app, rows, emulator, models, api):
    call = {"name": "add", "arguments": {"a": 2, "b": 2}}
    emulator.script(Answer(tool_calls=[call]))

    stream = flask_llm.stream("Hi", model=models[api], tools=[flask_llm.Tool("add")])
    calls = [piece.tool_call for piece in stream if piece.tool_call]

    assert [(c.name, c.arguments) for c in calls] == [("add", {"a": 2, "b": 2})]
    assert tuple(calls) == stream.completion.tool_calls
    assert one(rows).finish_reason == "tool_calls"


def test_pieces_come_as_they_are_said(app, emulator):
    emulator.script(Answer(text="a b c d", chunks=4, interval_seconds=0.1))

    stream = flask_llm.stream("Hi")
    began = time.monotonic()
    first = next(stream)
    waited = time.monotonic() - began
    rest = texts(stream)

    assert first.text
    assert len(rest) == 3
    assert waited < 0.3


@each_api
def test_missing_usage_is_estimated_and_never_zero(app, rows, emulator, models, api):
    emulator.script(Fault(answer=WORDS, usage_missing=True))

    stream = flask_llm.stream("Count", model=models[api])
    texts(stream)

    row = one(rows)
    assert stream.completion.usage.source == row.usage_source == "estimated"
    assert min(row.input_tokens, row.output_tokens, row.cost_nanos) > 0


def test_an_unknown_price_is_none(app, rows, emulator):
    emulator.script(WORDS)

    stream = flask_llm.stream("Count", model="openai/no-such")
    texts(stream)

    assert stream.completion.cost_usd is None
    assert (one(rows).cost_nanos, one(rows).cost_source) == (None, "none")


def test_a_stream_that_is_over_stays_over(app, rows, emulator):
    stream = flask_llm.stream("Hi")
    texts(stream)

    stream.close()
    with pytest.raises(StopIteration):
        next(stream)

    assert one(rows).status == "ok"


def test_a_stream_that_runs_has_no_completion_yet(app, emulator):
    with flask_llm.stream("Hi") as stream:
        next(stream)
        with pytest.raises(LLMError, match="read it to its end"):
            _ = stream.completion


def test_an_empty_answer_is_an_answer(app, rows, emulator):
    emulator.script(Answer(text="", usage={"input_tokens": 3, "output_tokens": 0}))

    stream = flask_llm.stream("Hi")

    assert texts(stream) == []
    assert (stream.completion.text, one(rows).status) == ("", "ok")


# --- Left early ------------------------------------------------------------------

SLOW = Answer(text="one two three four five six", chunks=6, interval_seconds=0.05)


@each_api
@pytest.mark.parametrize("way", ["close", "with", "break", "error"])
def test_a_stream_left_early_is_cancelled(app, rows, emulator, models, api, way):
    emulator.script(SLOW)

    stream = leave(flask_llm.stream("Count", model=models[api]), way)

    row = one(rows)
    assert (row.status, row.error_code) == ("cancelled", "stream_left")
    assert (row.usage_source, row.attempts) == ("estimated", 1)
    assert min(row.input_tokens, row.output_tokens, row.cost_nanos) > 0
    assert row.finish_reason == stream.completion.finish_reason == "other"
    assert SLOW.text.startswith(stream.completion.text)
    assert 0 < len(stream.completion.text) < len(SLOW.text)
    assert wait_until(lambda: emulator.abandoned == 1)


def leave(stream, way):
    if way == "close":
        next(stream)
        stream.close()
    elif way == "error":
        with contextlib.suppress(ZeroDivisionError), stream:
            _ = next(stream).text and 1 / 0
    else:
        with stream:
            for _ in stream:
                break
    return stream


@each_api
def test_a_stream_left_before_its_first_piece_is_cancelled(
    app, rows, emulator, models, api
):
    emulator.script(SLOW)

    flask_llm.stream("Count", model=models[api]).close()

    row = one(rows)
    assert (row.status, row.first_token_ms) == ("cancelled", None)
    assert row.input_tokens > 0
    assert wait_until(lambda: emulator.abandoned == 1)


@pytest.mark.parametrize(
    ("kind", "code"), [(KeyboardInterrupt, "KeyboardInterrupt"), (SystemExit, "9")]
)
@each_api
def test_an_interrupt_in_the_middle_settles_first(
    app, rows, emulator, models, api, kind, code
):
    emulator.script(Fault(answer=WORDS, silent_seconds=20))
    stream = flask_llm.stream("Count", model=models[api])
    error = kind(code)

    with pytest.raises(kind) as raised:
        read_until_struck(stream, error)

    assert raised.value is error
    assert (one(rows).status, one(rows).error_code) == ("cancelled", code)
    assert wait_until(lambda: emulator.abandoned == 1)


def read_until_struck(stream, error):
    def strike(*_):
        raise error

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        return list(stream)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- Broken off ------------------------------------------------------------------


@each_api
@pytest.mark.parametrize("way", ["cut", "reset"])
def test_a_stream_that_breaks_off_hands_over_what_came(
    app, rows, emulator, models, api, way
):
    emulator.script(Fault(answer=WORDS, **{f"{way}_after": SOME[api]}))

    stream = flask_llm.stream("Count", model=models[api], retries=2)
    said, error = collected(stream)

    row = one(rows)
    codes = {"cut": "unreadable_answer", "reset": "answer_cut"}
    assert type(error) is StreamInterrupted
    assert "".join(said) == error.text
    assert "one" in error.text
    assert error.completion.text == error.text
    assert (error.usage.source, error.cost_usd) == (
        "estimated",
        error.completion.cost_usd,
    )
    assert error.cost_usd > 0
    assert (row.status, row.error_code) == ("failed", codes[way])
    assert min(row.input_tokens, row.output_tokens, row.cost_nanos) > 0
    assert row.finish_reason == "other"
    assert len(emulator.requests) == 1
    assert isinstance(error.original_error, ProviderError)


@each_api
def test_a_stream_that_broke_has_no_completion(app, emulator, models, api):
    emulator.script(Fault(answer=WORDS, cut_after=SOME[api]))
    stream = flask_llm.stream("Count", model=models[api])

    collected(stream)

    with pytest.raises(LLMError):
        _ = stream.completion


@each_api
def test_an_error_in_mid_stream_keeps_its_facts(app, rows, emulator, models, api):
    emulator.script(
        Fault(answer=WORDS, error_in_stream=SOME[api], status=503, message="full")
    )

    said, error = collected(flask_llm.stream("Count", model=models[api]))

    assert type(error) is StreamInterrupted
    assert "".join(said) == error.text
    assert isinstance(error.original_error, (OverloadedError, ServerError))
    assert error.__cause__ is error.original_error
    assert error.provider_message == "full"
    assert (one(rows).status, one(rows).attempts) == ("failed", 1)
    assert len(emulator.requests) == 1


@each_api
def test_a_stream_that_falls_silent_ends_at_the_deadline(
    app, rows, emulator, models, api
):
    emulator.script(Fault(answer=WORDS, silent_seconds=20))

    stream = flask_llm.stream("Count", model=models[api], timeout=0.4)
    said, error = collected(stream)

    assert type(error) is StreamInterrupted
    assert isinstance(error.original_error, ReadTimeout)
    assert error.text == "".join(said)
    assert (one(rows).status, one(rows).error_code) == ("failed", "read_timeout")
    assert wait_until(lambda: emulator.abandoned == 1)


def app_at(make_app, url):
    return make_app(LLM_PROVIDERS={"openai": {"api_key": KEY, "base_url": url}})


def test_a_finished_stream_whose_connection_hangs_is_whole(make_app):
    pieces = [
        'data: {"choices":[{"delta":{"content":"Four."},"finish_reason":"stop"}]}\n\n',
        'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\n',
        "data: [DONE]\n\n",
    ]
    body = b"".join(chunk(piece.encode()) for piece in pieces)

    with serving(answering([STREAM_HEAD + body, 60.0])) as server:
        app = app_at(make_app, server.url)
        with app.app_context():
            stream = flask_llm.stream("Hi", timeout=20)
            said = texts(stream)

    (row,) = read_rows(app)
    assert said == ["Four."]
    assert stream.completion.usage.output_tokens == 2
    assert row.status == "ok"
    assert row.duration_ms < 5000


# --- Before the first byte -------------------------------------------------------

REFUSALS = [
    (Fault(status=400), InvalidRequestError),
    (Fault(status=401), AuthenticationError),
    (Fault(status=429), RateLimitError),
    (Fault.quota_exhausted(), QuotaExhaustedError),
    (Fault(status=500), ServerError),
    (Fault(status=503), OverloadedError),
    (Fault(reset_after=0), ConnectionFailed),
    (Fault(hang=True), ReadTimeout),
    (Fault(redirect="http://elsewhere.invalid"), ResponseError),
    (Fault(garbage=True, status=502), ServerError),
]


@each_api
@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
def test_a_refusal_is_raised_before_there_is_a_stream(
    app, rows, emulator, models, api, fault, kind
):
    emulator.script(fault)

    with pytest.raises(kind) as raised:
        flask_llm.stream("Hi", model=models[api], retries=0, timeout=2)

    row = one(rows)
    assert type(raised.value) is kind
    assert (row.status, row.streamed, row.attempts) == ("failed", True, 1)
    assert (row.cost_nanos, row.first_token_ms) == (None, None)
    assert raised.value.request_id == row.request_id


@each_api
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after=0),
        Fault(status=503),
        Fault(error_in_stream=0, status=503),
    ],
)
def test_what_may_pass_is_tried_again_before_the_first_event(
    app, rows, emulator, models, api, fault
):
    emulator.script(fault, fault, WORDS)

    stream = flask_llm.stream("Count", model=models[api])
    said = texts(stream)

    assert "".join(said) == WORDS.text
    assert stream.completion.attempts == 3
    assert [(row.status, row.attempts) for row in rows()] == [("ok", 3)]


@each_api
def test_an_error_in_the_first_event_is_raised_when_tries_are_used_up(
    app, rows, emulator, models, api
):
    fault = Fault(error_in_stream=0, status=503)
    emulator.script(fault, fault)

    with pytest.raises((OverloadedError, ServerError)) as raised:
        flask_llm.stream("Hi", model=models[api], retries=1)

    assert raised.value.attempts == 2
    assert [(row.status, row.attempts) for row in rows()] == [("failed", 2)]


@each_api
@pytest.mark.parametrize(
    "fault",
    [
        Fault(empty=True),
        Fault(garbage=True),
        Fault(wrong_shape=True),
        Fault(body=": keep-alive\n\n"),
        Fault(body='data: {"headers":{}}\n\n'),
    ],
)
def test_what_is_no_stream_is_unreadable(app, rows, emulator, models, api, fault):
    emulator.script(fault)

    with pytest.raises(ResponseError) as raised:
        texts(flask_llm.stream("Hi", model=models[api]))

    assert type(raised.value) is ResponseError
    assert raised.value.__cause__ is not raised.value
    assert [(row.status, row.attempts) for row in rows()] == [("failed", 1)]
    assert len(emulator.requests) == 1


@each_api
@pytest.mark.parametrize("fault", [Fault(garbage=True), Fault(wrong_shape=True)])
def test_what_is_no_stream_is_charged_as_the_worst_case(
    make_app, emulator, models, api, fault
):
    app = make_app(LLM_BUDGETS=["$1/day"])
    emulator.script(fault)

    with app.app_context(), pytest.raises(ResponseError) as raised:
        texts(flask_llm.stream("Hi", model=models[api]))

    (row,) = read_rows(app)
    assert (row.cost_source, row.usage_source) == ("reserved", None)
    assert row.cost_nanos == row.reserved_nanos > 0
    assert raised.value.usage is None


# --- Slots, signals, books -------------------------------------------------------


@pytest.mark.parametrize("ending", ["read", "left", "broken", "refused"])
def test_every_ending_gives_the_slot_back(make_app, emulator, ending):
    app = make_app(LLM_MAX_CONCURRENT=1)
    faults = {"broken": Fault(answer=WORDS, cut_after=3), "refused": Fault(status=400)}
    emulator.script(faults.get(ending, WORDS))

    with app.app_context():
        end(ending)
        answer = flask_llm.complete("Next", timeout=2)

    assert answer.finish_reason == "stop"


def end(ending):
    try:
        stream = flask_llm.stream("Hi")
        if ending == "left":
            stream.close()
        else:
            list(stream)
    except LLMError:
        assert ending in {"broken", "refused"}


@pytest.mark.parametrize(
    ("ending", "status"),
    [("read", "ok"), ("left", "cancelled"), ("broken", "failed")],
)
def test_the_end_is_told_once(app, emulator, ending, status):
    faults = {"broken": Fault(answer=WORDS, cut_after=3)}
    emulator.script(faults.get(ending, WORDS))
    told = []

    def listen(sender, **facts):
        told.append(facts)

    with signals.completion_finished.connected_to(listen):
        end(ending)

    assert [facts["status"] for facts in told] == [status]
    assert told[0]["completion"].usage.input_tokens > 0


def test_a_stream_works_on_after_its_context_is_gone(make_app, emulator):
    app = make_app()
    with app.app_context():
        stream = flask_llm.stream("Hi")

    said = texts(stream)

    assert said
    assert [row.status for row in read_rows(app)] == ["ok"]


def test_a_stream_that_ends_with_its_last_event_and_no_blank_line(make_app):
    last = '{"choices":[{"delta":{"content":"Four."},"finish_reason":"stop"}]}'

    with serving(
        answering([STREAM_HEAD + chunk(f"data: {last}".encode()) + LAST_CHUNK])
    ) as server:
        app = app_at(make_app, server.url)
        with app.app_context():
            said = texts(flask_llm.stream("Hi"))

    assert said == ["Four."]
    assert [row.status for row in read_rows(app)] == ["ok"]
