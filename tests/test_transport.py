"""Transport over real sockets: deadlines, retries, connections, and where keys go."""

import gzip
import json
import os
import signal
import socket
import threading
import time

import pytest
import responses
from conftest import KEY
from leaks import foreign_frames, requests_in, shown_in
from sockets import (
    LAST_CHUNK,
    STREAM_HEAD,
    answering,
    chunk,
    deaf,
    free_port,
    interrupt,
    names,
    relaying,
    reply,
    reset,
    serving,
    silent_names,
    wait_until,
)

import flask_llm
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import (
    AuthenticationError,
    ConfigError,
    ConnectionFailed,
    InvalidRequestError,
    OverloadedError,
    ProviderError,
    QuotaExhaustedError,
    RateLimitError,
    ReadTimeout,
    ResponseError,
    ServerError,
)
from flask_llm.providers import Provider
from flask_llm.settings import Keys
from flask_llm.transport import Transport
from flask_llm.wire import Call

WHOLE = Call(path="/x", body={"model": "m"})
STREAM = Call(path="/x", body={"model": "m"}, stream=True)
GOOD = reply(b'{"fine":true}')
SLACK_SECONDS = 0.8
"""How much later than its deadline a call may end on a busy machine."""


def provider_at(url, **options):
    return Provider(name="openai", base_url=url, keys=Keys(KEY), **options)


def event(number):
    return b"data: %d\n\n" % number


@pytest.fixture
def transport():
    transport = Transport(backoff=0.01, connect_timeout=1.0, environ={})
    yield transport
    transport.close()


@pytest.fixture
def send(transport):
    def send(url, *, seconds=5.0, retries=0, call=WHOLE, **options):
        retry = transport.retry(retries, seconds)
        return transport.send(call, provider_at(url, **options), retry)

    return send


@pytest.fixture
def open_stream(transport):
    def open_stream(url, *, seconds=5.0, retries=0, **options):
        retry = transport.retry(retries, seconds)
        return transport.stream(STREAM, provider_at(url, **options), retry)

    return open_stream


def timed(action):
    """Do something that fails; return the error and the seconds it took."""
    began = time.monotonic()
    with pytest.raises(ProviderError) as raised:
        action()
    return raised.value, time.monotonic() - began


def trickling(*pieces, every=0.1):
    """Make a handler that sends its last piece byte by byte."""
    *head, slow = pieces

    def handle(server, connection):
        server.read_request(connection)
        connection.sendall(b"".join(head))
        for byte in slow:
            if server.closing.wait(every):
                return
            connection.sendall(bytes([byte]))

    return handle


def resetting(*, times, after=b"", then=GOOD):
    """Make a handler that resets so many requests, and answers the ones after."""
    left = [None] * times

    def handle(server, connection):
        server.read_request(connection)
        if left:
            left.pop()
            connection.sendall(after)
            time.sleep(0.02 if after else 0)
            reset(server, connection)
        else:
            connection.sendall(then)

    return handle


# --- The deadline ----------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\n"
GZIPPED = HEAD + b"Content-Encoding: gzip\r\n\r\n"
NAMED_GZIP = (
    gzip.compress(b"{}", mtime=0)[:3] + b"\x08" + gzip.compress(b"{}", mtime=0)[4:10]
)
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.invalid/\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param((b"", HEAD + b"X: " + b"x" * 90), id="head"),
        pytest.param((HEAD, b"Content-Length: 90\r\n\r\n", b"x" * 90), id="body"),
        pytest.param((HEAD, b"\r\n", b"x" * 90), id="body-until-close"),
        pytest.param((STREAM_HEAD, chunk(b"x") * 20), id="chunks"),
        pytest.param((STREAM_HEAD, b"5;" + b"x" * 90), id="chunk-head"),
        pytest.param((GZIPPED, NAMED_GZIP + b"x" * 90), id="gzip"),
        pytest.param(
            (b"HTTP/1.1 500 Broken\r\n", b"Content-Length: 90\r\n\r\n", b"x" * 90),
            id="error",
        ),
    ],
)
def test_a_trickle_ends_at_the_deadline(send, pieces):
    with serving(trickling(*pieces)) as server:
        error, seconds = timed(lambda: send(server.url, seconds=0.5, retries=2))

    assert type(error) is ReadTimeout
    assert seconds < 0.5 + SLACK_SECONDS
    assert len(server.requests) == 1


def test_a_stream_that_trickles_ends_at_the_deadline(open_stream):
    handle = trickling(STREAM_HEAD, chunk(event(1)), chunk(b"data: " + b"x" * 90))

    with serving(handle) as server:
        stream = open_stream(server.url, seconds=0.5)
        error, seconds = timed(lambda: list(stream.events()))
        stream.close()

    assert type(error) is ReadTimeout
    assert seconds < 0.5 + SLACK_SECONDS


def test_a_stream_that_never_begins_ends_at_the_deadline(open_stream):
    with serving(answering([STREAM_HEAD, 60.0])) as server:
        error, seconds = timed(lambda: open_stream(server.url, seconds=0.3, retries=2))

    assert type(error) is ReadTimeout
    assert seconds < 0.3 + SLACK_SECONDS
    assert len(server.requests) == 1


def test_the_body_of_a_redirect_is_not_waited_for(send):
    pieces = (REDIRECT, b"Content-Length: 90\r\n\r\n", b"x" * 90)

    with serving(trickling(*pieces)) as server:
        error, seconds = timed(lambda: send(server.url, seconds=5))

    assert type(error) is ResponseError
    assert seconds < SLACK_SECONDS


def test_connects_that_failed_take_their_time_off_the_deadline():
    port = free_port()
    listening = []

    def pause(seconds):
        time.sleep(0.3)
        listening.append(socket.create_server(("127.0.0.1", port)))

    transport = Transport(backoff=0.3, connect_timeout=0.1, sleep=pause)
    retry = transport.retry(2, 0.8)
    provider = provider_at(f"http://127.0.0.1:{port}")

    error, seconds = timed(lambda: transport.send(WHOLE, provider, retry))

    listening[0].close()
    assert type(error) is ReadTimeout
    assert seconds < 0.8 + 0.25
    assert retry.attempts == 2


def test_a_server_that_hangs_costs_the_deadline_and_no_second_try(send):
    with serving(answering([60.0])) as server:
        error, seconds = timed(lambda: send(server.url, seconds=0.3, retries=2))

    assert type(error) is ReadTimeout
    assert seconds < 0.3 + SLACK_SECONDS
    assert len(server.requests) == 1


def test_no_request_is_sent_once_the_deadline_has_passed():
    transport = Transport(clock=iter([0.0, 9.0, 9.0]).__next__)

    with serving(answering(GOOD)) as server:
        retry = transport.retry(0, 5)
        error, _ = timed(lambda: transport.send(WHOLE, provider_at(server.url), retry))

    assert type(error) is ReadTimeout
    assert server.accepted == 0


def test_a_large_request_may_take_longer_than_a_connect():
    transport = Transport(connect_timeout=0.1)
    call = Call(path="/x", body={"image": "x" * 16_000_000})

    def late(server, connection):
        time.sleep(0.4)
        server.read_request(connection)
        connection.sendall(GOOD)

    with serving(late) as server:
        retry = transport.retry(0, 20)
        answer = transport.send(call, provider_at(server.url), retry)

    assert answer.json == {"fine": True}
    transport.close()


def test_a_request_that_nobody_reads_ends_at_the_deadline(send):
    call = Call(path="/x", body={"image": "x" * 16_000_000})

    with serving(lambda server, _: server.closing.wait(60)) as server:
        error, seconds = timed(lambda: send(server.url, call=call, seconds=0.5))

    assert type(error) is ReadTimeout
    assert seconds < 0.5 + SLACK_SECONDS


# --- What comes back -------------------------------------------------------------


def small():
    return Transport(max_response_bytes=1000)


@pytest.mark.parametrize(
    ("body", "fits"), [(b"x" * 1000, True), (b"x" * 1001, False)], ids=["fits", "not"]
)
def test_an_answer_may_be_so_large_and_no_larger(body, fits):
    transport = small()

    with serving(answering(reply(body))) as server:
        retry = transport.retry(2, 5)
        outcome = outcome_of(transport, provider_at(server.url), retry)

    assert outcome == ("answer" if fits else "answer_too_large")
    assert len(server.requests) == 1


def outcome_of(transport, provider, retry):
    try:
        transport.send(WHOLE, provider, retry)
    except ProviderError as error:
        return error.code
    return "answer"


def test_what_a_body_unpacks_to_counts_against_its_size():
    packed = gzip.compress(b"x" * 100_000)

    with serving(answering(reply(packed, "Content-Encoding: gzip"))) as server:
        retry = small().retry(0, 5)
        outcome = outcome_of(small(), provider_at(server.url), retry)

    assert len(packed) < 1000
    assert outcome == "answer_too_large"


def test_a_stream_may_be_so_large_and_no_larger():
    transport = small()
    pieces = [STREAM_HEAD + chunk(event(1)), 0.05, chunk(b"data: " + b"x" * 1000)]

    with serving(answering([*pieces, 60.0])) as server:
        retry = transport.retry(0, 5)
        stream = transport.stream(STREAM, provider_at(server.url), retry)
        error, _ = timed(lambda: list(stream.events()))
        stream.close()

    assert (type(error), error.code) == (ResponseError, "answer_too_large")


def test_a_compressed_answer_is_read(send):
    packed = gzip.compress(b'{"fine":true}')

    with serving(answering(reply(packed, "Content-Encoding: gzip"))) as server:
        answer = send(server.url)

    assert answer.json == {"fine": True}
    assert b"Accept-Encoding: gzip, deflate" in server.requests[0]


def test_a_stream_is_asked_for_uncompressed(open_stream):
    with serving(answering(STREAM_HEAD + chunk(event(1)) + LAST_CHUNK)) as server:
        open_stream(server.url).close()

    assert b"Accept-Encoding: identity" in server.requests[0]


def test_an_answer_that_does_not_unpack_is_unreadable(send):
    broken = gzip.compress(b"x")[:10] + b"\xff" * 20

    with serving(answering(reply(broken, "Content-Encoding: gzip"))) as server:
        error, _ = timed(lambda: send(server.url, retries=2))

    assert type(error) is ResponseError
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", id="length"),
        pytest.param(STREAM_HEAD + chunk(b"{"), id="chunks"),
        pytest.param(STREAM_HEAD + b"9\r\n{", id="in-a-chunk"),
    ],
)
def test_a_body_cut_short_is_an_error_and_not_sent_again(send, answer):
    def handle(server, connection):
        server.read_request(connection)
        connection.sendall(answer)

    with serving(handle) as server:
        error, _ = timed(lambda: send(server.url, retries=2))

    assert (type(error), error.code) == (ConnectionFailed, "answer_cut")
    assert len(server.requests) == 1


def test_what_is_no_http_is_a_failed_connection(send):
    with serving(answering(b"SSH-2.0-OpenSSH_9.2\r\n")) as server:
        error, _ = timed(lambda: send(server.url))

    assert type(error) is ConnectionFailed


def test_header_names_come_in_lower_case(send):
    with serving(answering(reply(b"{}", "X-Request-ID: 7"))) as server:
        answer = send(server.url)

    assert answer.headers["x-request-id"] == "7"


def test_a_text_that_has_no_utf8_is_sent_all_the_same(send):
    with serving(answering(GOOD)) as server:
        send(server.url, call=Call(path="/x", body={"text": "half \ud83d emoji é"}))

    sent = server.requests[0].partition(b"\r\n\r\n")[2]
    assert json.loads(sent) == {"text": "half ? emoji é"}


def test_it_works_under_the_responses_library_too(send):
    with responses.RequestsMock() as api:
        api.post("http://api.example/x", json={"fine": True})

        answer = send("http://api.example")

    assert answer.json == {"fine": True}


# --- Trying again ----------------------------------------------------------------


def kept_then_reset(*, then=GOOD):
    """Make a handler whose first connection is reset at its second request."""
    first = [None]

    def handle(server, connection):
        server.read_request(connection)
        if not first:
            connection.sendall(then)
            return
        first.pop()
        connection.sendall(GOOD)
        server.read_request(connection)
        reset(server, connection)

    return handle


def test_a_reset_of_a_kept_connection_is_tried_again(transport):
    retry = transport.retry(2, 5)

    with serving(kept_then_reset()) as server:
        provider = provider_at(server.url)
        transport.send(WHOLE, provider, transport.retry(0, 5))
        answer = transport.send(WHOLE, provider, retry)

    assert answer.json == {"fine": True}
    assert (len(server.requests), retry.attempts) == (3, 2)


def test_a_stream_on_a_kept_connection_that_is_reset_is_tried_again(transport):
    good = STREAM_HEAD + chunk(event(1)) + LAST_CHUNK

    with serving(kept_then_reset(then=good)) as server:
        provider = provider_at(server.url)
        transport.send(WHOLE, provider, transport.retry(0, 5))
        stream = transport.stream(STREAM, provider, transport.retry(2, 5))
        events = [entry.data for entry in stream.events()]

    assert events == ["1"]
    assert len(server.requests) == 3


def test_a_reset_of_a_new_connection_may_have_been_billed_and_is_not(send):
    with serving(resetting(times=9)) as server:
        error, _ = timed(lambda: send(server.url, retries=2))

    assert (type(error), error.code) == (ConnectionFailed, "connection_reset")
    assert len(server.requests) == 1


def test_a_reset_in_the_middle_of_a_body_is_not_tried_again(send):
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"

    with serving(resetting(times=1, after=half)) as server:
        error, _ = timed(lambda: send(server.url, retries=2))

    assert (type(error), error.code) == (ConnectionFailed, "answer_cut")
    assert len(server.requests) == 1


def test_a_reset_in_the_middle_of_a_stream_is_not_tried_again(open_stream):
    begun = STREAM_HEAD + chunk(event(1))

    with serving(resetting(times=1, after=begun)) as server:
        stream = open_stream(server.url, retries=2)
        error, _ = timed(lambda: list(stream.events()))

    assert (type(error), error.code) == (ConnectionFailed, "answer_cut")
    assert len(server.requests) == 1


BUSY = reply(b'{"error":{"message":"busy"}}', status="503 Busy")
WRONG = reply(b'{"error":{"message":"no"}}', status="400 Bad Request")


def with_header(answer, header):
    return answer.replace(b"\r\n", b"\r\n" + header + b"\r\n", 1)


@pytest.mark.parametrize(
    ("refusal", "tries", "kind"),
    [
        (BUSY, 3, OverloadedError),
        (with_header(BUSY, b"x-should-retry: false"), 1, OverloadedError),
        (WRONG, 1, InvalidRequestError),
        (with_header(WRONG, b"x-should-retry: true"), 3, InvalidRequestError),
        (with_header(BUSY, b"Retry-After: 60"), 1, OverloadedError),
        (with_header(BUSY, b"retry-after-ms: 1"), 3, OverloadedError),
    ],
)
@pytest.mark.parametrize("verb", ["send", "stream"])
def test_a_status_is_tried_again_as_the_provider_wants(
    transport, verb, refusal, tries, kind
):
    retry = transport.retry(2, 5)
    call = {"send": WHOLE, "stream": STREAM}[verb]

    with serving(answering(refusal)) as server:
        provider = provider_at(server.url)
        error, _ = timed(lambda: getattr(transport, verb)(call, provider, retry))

    assert type(error) is kind
    assert (len(server.requests), retry.attempts) == (tries, tries)


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (408, ServerError, 2),
        (409, ServerError, 2),
        (429, RateLimitError, 2),
        (500, ServerError, 2),
        (502, ServerError, 2),
        (503, OverloadedError, 2),
        (504, ServerError, 2),
        (529, OverloadedError, 2),
        (401, AuthenticationError, 1),
        (402, QuotaExhaustedError, 1),
    ],
)
def test_which_statuses_are_tried_again(send, status, kind, tries):
    refusal = reply(b"<html>", status=f"{status} No")

    with serving(answering(refusal)) as server:
        error, _ = timed(lambda: send(server.url, retries=1))

    assert (type(error), error.status) == (kind, status)
    assert len(server.requests) == tries


def test_a_name_that_nobody_knows(send):
    error, _ = timed(lambda: send("http://nobody.invalid", retries=0))

    assert (type(error), error.code) == (ConnectionFailed, "dns_failed")
    assert error.is_retryable


def test_a_resolver_that_says_nothing_costs_the_deadline(send):
    with silent_names():
        error, seconds = timed(lambda: send("http://slow.test", seconds=0.3, retries=2))

    assert (type(error), error.code) == (ConnectionFailed, "dns_failed")
    assert seconds < 0.3 + SLACK_SECONDS


def test_all_addresses_of_a_name_share_the_deadline():
    transport = Transport(connect_timeout=0.4)
    retry = transport.retry(0, 0.6)

    with deaf("0.0.0.0") as url, names(lambda _: [f"127.0.0.{n}" for n in range(1, 9)]):
        provider = provider_at(url.replace("127.0.0.1", "many.test"))
        error, seconds = timed(lambda: transport.send(WHOLE, provider, retry))

    assert (type(error), error.code) == (ConnectionFailed, "connect_timeout")
    assert seconds < 0.6 + SLACK_SECONDS


def test_where_one_address_refuses_the_next_is_asked(send):
    with (
        serving(answering(GOOD)) as server,
        names(lambda _: ["127.0.0.9", "127.0.0.1"]),
    ):
        answer = send(server.url.replace("127.0.0.1", "two.test"))

    assert answer.json == {"fine": True}
    assert b"Host: two.test" in server.requests[0]


def test_an_address_that_is_none(send):
    error, _ = timed(lambda: send(f"http://{'a' * 70}.example"))

    assert type(error) is ConnectionFailed
    assert KEY not in shown_in(error)


def test_a_connect_that_nobody_picks_up():
    transport = Transport(connect_timeout=0.2)

    with deaf() as url:
        retry = transport.retry(0, 5)
        provider = provider_at(url)
        error, seconds = timed(lambda: transport.send(WHOLE, provider, retry))

    assert (type(error), error.code) == (ConnectionFailed, "connect_timeout")
    assert seconds < 0.2 + SLACK_SECONDS


# --- Several keys ----------------------------------------------------------------

KEYS = [f"sk-key-{letter}-0123456789" for letter in "abc"]
LIMITED = reply(b'{"error":{"message":"slower"}}', status="429 Too Many Requests")
USED_UP = reply(b'{"error":{"message":"pay"}}', status="402 Payment Required")
REFUSED = reply(b'{"error":{"message":"who?"}}', status="401 Unauthorized")
LATER = with_header(LIMITED, b"Retry-After: 20")


class Told:
    """A transport, and what it told of: sleeps, holds, headers."""

    def __init__(self):
        self.sleeps, self.holds, self.heeded = [], [], []
        self.transport = Transport(
            backoff=0.01,
            environ={},
            sleep=self.sleeps.append,
            heed=lambda _, headers: self.heeded.append(headers),
            hold=lambda provider, seconds: self.holds.append((provider.name, seconds)),
        )

    def ask(self, url, keys, *, retries=2, verb="send"):
        """Return the status of the error, 200 where there is none."""
        retry = self.transport.retry(retries, 60)
        provider = Provider(name="openai", base_url=url, keys=keys)
        call = {"send": WHOLE, "stream": STREAM}[verb]
        try:
            answer = getattr(self.transport, verb)(call, provider, retry)
        except ProviderError as error:
            self.error = error
            return error.status, retry.attempts
        if verb == "stream":
            answer.close()
        return 200, retry.attempts


@pytest.fixture
def told():
    told = Told()
    yield told
    told.transport.close()


def keys_used(server):
    """Return the letters of the keys that a server has seen."""
    return [
        request.partition(b"sk-key-")[2][:1].decode() for request in server.requests
    ]


@pytest.mark.parametrize("refusal", [LIMITED, LATER, USED_UP])
@pytest.mark.parametrize("verb", ["send", "stream"])
def test_another_key_takes_over_at_once(told, refusal, verb):
    good = {"send": GOOD, "stream": STREAM_HEAD + chunk(event(1)) + LAST_CHUNK}[verb]

    with serving(answering(refusal, good)) as server:
        outcome = told.ask(server.url, Keys(KEYS[:2]), verb=verb)

    assert outcome == (200, 2)
    assert keys_used(server) == ["a", "b"]
    assert (told.sleeps, told.holds) == ([], [])


def test_a_rate_limited_key_rests_in_later_calls_too(told):
    keys = Keys(KEYS)

    with serving(answering(LATER, GOOD)) as server:
        outcomes = [told.ask(server.url, keys, retries=0) for _ in range(5)]

    assert [status for status, _ in outcomes] == [429, 200, 200, 200, 200]
    assert "a" not in keys_used(server)[1:]
    assert sorted(set(keys_used(server)[1:])) == ["b", "c"]


@pytest.mark.parametrize(
    ("refusal", "seconds"),
    [
        (LATER, 20),
        (LIMITED, 30),
        (with_header(LIMITED, b"Retry-After: 86400"), 600),
        (USED_UP, 600),
    ],
)
def test_how_long_a_key_rests(told, refusal, seconds):
    keys = Keys(KEYS)

    with serving(answering(refusal)) as server:
        told.ask(server.url, keys, retries=2)

    assert sorted(keys_used(server)) == ["a", "b", "c"]
    assert keys.wait == pytest.approx(seconds, abs=5)


def test_a_key_that_is_refused_does_not_rest_and_no_other_is_tried(told):
    keys = Keys(KEYS)

    with serving(answering(REFUSED)) as server:
        outcome = told.ask(server.url, keys)

    assert outcome == (401, 1)
    assert keys_used(server) == ["a"]
    assert (keys.next(), keys.wait) == (KEYS[1], 0)


def test_another_key_counts_as_a_try(told):
    with serving(answering(LATER)) as server:
        outcome = told.ask(server.url, Keys(KEYS), retries=1)

    assert outcome == (429, 2)
    assert len(set(keys_used(server))) == 2


def test_where_all_keys_rest_the_first_to_wake_is_waited_for(told):
    sooner = with_header(LIMITED, b"Retry-After: 5")

    with serving(answering(sooner, LATER, GOOD)) as server:
        outcome = told.ask(server.url, Keys(KEYS[:2]))

    assert outcome == (200, 3)
    assert keys_used(server) == ["a", "b", "a"]
    assert told.sleeps == [pytest.approx(5, abs=2)]
    assert told.holds == [("openai", told.sleeps[0])]


@pytest.mark.parametrize(
    ("refusal", "held"),
    [
        (LATER, [("openai", 20)]),
        (with_header(BUSY, b"Retry-After: 7"), [("openai", 7)]),
        (LIMITED, []),
        (BUSY, []),
        (with_header(WRONG, b"Retry-After: 7"), []),
    ],
)
def test_all_callers_are_held_where_the_provider_says_for_how_long(told, refusal, held):
    with serving(answering(refusal, GOOD)) as server:
        told.ask(server.url, Keys(KEY), retries=0)

    assert told.holds == held


@pytest.mark.parametrize("keys", [Keys(KEY), Keys(lambda: KEY), None])
def test_a_key_without_another_waits_as_it_is_told(told, keys):
    with serving(answering(LATER, GOOD)) as server:
        outcome = told.ask(server.url, keys)

    assert outcome == (200, 2)
    assert told.sleeps == [20]


@pytest.mark.parametrize("verb", ["send", "stream"])
def test_the_headers_of_every_answer_are_heeded(told, verb):
    good = {"send": GOOD, "stream": STREAM_HEAD + chunk(event(1)) + LAST_CHUNK}[verb]
    answers = [
        with_header(answer, b"X-RateLimit-Remaining-Requests: %d" % left)
        for left, answer in [(2, LIMITED), (1, BUSY), (0, good)]
    ]

    with serving(answering(*answers)) as server:
        told.ask(server.url, Keys(KEY), verb=verb)

    left = [headers["x-ratelimit-remaining-requests"] for headers in told.heeded]
    assert left == ["2", "1", "0"]


def test_headers_are_heeded_before_the_body_has_come(told):
    head = with_header(STREAM_HEAD, b"X-Now: 1")
    heeded = []

    def handle(server, connection):
        server.read_request(connection)
        connection.sendall(head)
        heeded.append(wait_until(lambda: told.heeded))
        connection.sendall(chunk(event(1)) + LAST_CHUNK)

    with serving(handle) as server:
        told.ask(server.url, Keys(KEY), verb="stream")

    assert heeded == [True]


@pytest.mark.parametrize("refusal", [LATER, USED_UP, REFUSED])
def test_no_error_holds_any_of_several_keys(told, refusal):
    with serving(answering(refusal)) as server:
        told.ask(server.url, Keys(KEYS))

    assert "sk-key" not in shown_in(told.error)


# --- TLS -------------------------------------------------------------------------


def test_a_certificate_that_nobody_vouches_for_is_refused_and_not_tried_again(
    transport, tls
):
    retry = transport.retry(2, 5)

    with serving(answering(GOOD), tls=tls) as server:
        provider = provider_at(server.url)
        error, _ = timed(lambda: transport.send(WHOLE, provider, retry))

    assert (type(error), error.code) == (ConnectionFailed, "tls_failed")
    assert (server.accepted, server.requests, retry.attempts) == (1, [], 1)


@pytest.mark.parametrize("way", ["row", "bundle"])
def test_a_certificate_of_ones_own_is_trusted(certificate, tls, way):
    environ = {"REQUESTS_CA_BUNDLE": certificate[0]} if way == "bundle" else {}
    options = {"verify": certificate[0]} if way == "row" else {}
    transport = Transport(environ=environ)

    with serving(answering(GOOD), tls=tls) as server:
        provider = provider_at(server.url, **options)
        answer = transport.send(WHOLE, provider, transport.retry(0, 5))

    assert answer.json == {"fine": True}
    transport.close()


def test_a_server_that_speaks_no_tls_is_not_tried_again(transport):
    retry = transport.retry(2, 5)

    with serving(answering(GOOD)) as server:
        provider = provider_at(server.url.replace("http:", "https:"))
        connection = threading.Timer(0.1, server.close)
        connection.start()
        error, _ = timed(lambda: transport.send(WHOLE, provider, retry))
        connection.join()

    assert type(error) is ConnectionFailed


def mute(server, connection):
    server.closing.wait(60)


@pytest.mark.parametrize(
    ("handle", "code"),
    [(mute, "connect_timeout"), (interrupt, "connect_refused")],
    ids=["silence", "reset"],
)
def test_a_handshake_that_fails_is_a_connect_that_failed(handle, code):
    transport = Transport(connect_timeout=0.2, backoff=0.01)
    retry = transport.retry(1, 5)

    with serving(handle) as server:
        provider = provider_at(server.url.replace("http:", "https:"))
        error, seconds = timed(lambda: transport.send(WHOLE, provider, retry))

    assert (type(error), error.code) == (ConnectionFailed, code)
    assert (retry.attempts, server.accepted) == (2, 2)
    assert seconds < 0.4 + SLACK_SECONDS


# --- Silence ---------------------------------------------------------------------


@pytest.fixture(params=["plain", "tls"])
def line(request):
    """How to serve, and how to ask what serves."""
    if request.param == "plain":
        return None, {}
    certificate = request.getfixturevalue("certificate")
    return request.getfixturevalue("tls"), {"verify": certificate[0]}


def heard(stream, heartbeat):
    """Read a stream; return events' data and None for heartbeats, and when they came.

    Neighbouring heartbeats are one.
    """
    began = time.monotonic()
    parts, times = [], []
    for entry in stream.events(heartbeat=heartbeat):
        if entry is not None or not parts or parts[-1] is not None:
            parts.append(entry and entry.data)
            times.append(time.monotonic() - began)
    return parts, times


PIECES = {
    "one-by-one": [chunk(event(1)), 0.3, chunk(event(2)), 0.3, chunk(event(3))],
    "coalesced": [chunk(event(1)), 0.3, chunk(event(2)) + chunk(event(3)), 0.3],
    "two-in-a-chunk": [chunk(event(1)), 0.3, chunk(event(2) + event(3)), 0.3],
    "split-at-the-chunk's-end": [
        chunk(event(1))[:-2],
        0.02,
        b"\r\n",
        0.3,
        chunk(event(2)) + chunk(event(3))[:-2],
        0.3,
        b"\r\n",
    ],
    "split-in-an-event": [
        chunk(event(1)),
        0.3,
        chunk(event(2)) + chunk(b"data: "),
        0.3,
        chunk(b"3\n\n"),
    ],
}
HEARD = {
    "one-by-one": ["1", None, "2", None, "3"],
    "coalesced": ["1", None, "2", "3", None],
    "two-in-a-chunk": ["1", None, "2", "3", None],
    "split-at-the-chunk's-end": ["1", None, "2", "3", None],
    "split-in-an-event": ["1", None, "2", None, "3"],
}


@pytest.mark.parametrize("way", PIECES)
def test_silence_is_told_of_and_nothing_is_lost_or_late(open_stream, line, way):
    tls, options = line

    with serving(answering([STREAM_HEAD, *PIECES[way], LAST_CHUNK]), tls=tls) as server:
        stream = open_stream(server.url, **options)
        parts, times = heard(stream, heartbeat=0.05)

    assert parts == HEARD[way]
    assert times[parts.index("2")] < 0.3 + 0.25


def test_a_stream_that_ends_with_its_connection_tells_of_silence_too(open_stream):
    def close_delimited(server, connection):
        server.read_request(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + event(1))
        server.closing.wait(0.3)
        connection.sendall(event(2))

    with serving(close_delimited) as server:
        parts, _ = heard(open_stream(server.url), heartbeat=0.05)

    assert parts == ["1", None, "2"]


def test_a_flood_is_read_without_heartbeats(open_stream, line):
    tls, options = line
    flood = b"".join(chunk(event(number)) for number in range(5000))

    with serving(answering(STREAM_HEAD + flood + LAST_CHUNK), tls=tls) as server:
        parts, _ = heard(open_stream(server.url, **options), heartbeat=0.5)

    assert parts == [str(number) for number in range(5000)]


def test_silence_past_the_deadline_is_a_timeout(open_stream, line):
    tls, options = line

    with serving(answering([STREAM_HEAD + chunk(event(1)), 60.0]), tls=tls) as server:
        stream = open_stream(server.url, seconds=0.4, **options)
        error, seconds = timed(lambda: heard(stream, heartbeat=0.1))
        stream.close()

    assert type(error) is ReadTimeout
    assert seconds < 0.4 + SLACK_SECONDS


def test_a_line_that_breaks_in_silence_is_told_at_once(open_stream):
    def leave(server, connection):
        server.read_request(connection)
        connection.sendall(STREAM_HEAD + chunk(event(1)))
        server.closing.wait(0.2)

    with serving(leave) as server:
        stream = open_stream(server.url)
        error, seconds = timed(lambda: heard(stream, heartbeat=0.05))

    assert (type(error), error.code) == (ConnectionFailed, "answer_cut")
    assert seconds < 0.2 + SLACK_SECONDS


# --- Connections -----------------------------------------------------------------


def repeat(times, action):
    return [action() for _ in range(times)]


def read_whole(stream):
    events = [entry.data for entry in stream.events()]
    stream.close()
    return events


def test_calls_share_one_connection(send, line):
    tls, options = line

    with serving(answering(GOOD), tls=tls) as server:
        repeat(5, lambda: send(server.url, **options))

    assert (len(server.requests), server.accepted) == (5, 1)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(b"{}"), id="length"),
        pytest.param(STREAM_HEAD + chunk(b"{}") + LAST_CHUNK, id="chunks"),
        pytest.param(
            reply(gzip.compress(b"{}", mtime=0), "Content-Encoding: gzip"), id="gzip"
        ),
        pytest.param(reply(b""), id="empty"),
        pytest.param(BUSY, id="refusal"),
    ],
)
def test_whatever_the_body_its_connection_goes_back(transport, answer):
    with serving(answering(answer)) as server:
        provider = provider_at(server.url)
        repeat(4, lambda: outcome_of(transport, provider, transport.retry(0, 5)))

    assert (len(server.requests), server.accepted) == (4, 1)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([chunk(event(1)) + LAST_CHUNK], id="at-once"),
        pytest.param([chunk(event(1)), 0.02, LAST_CHUNK], id="end-by-itself"),
        pytest.param(
            [chunk(event(1)), chunk(b"data: [DONE]\n\n"), 0.02, LAST_CHUNK],
            id="after-done",
        ),
    ],
)
def test_streams_read_to_their_end_share_one_connection(open_stream, line, pieces):
    tls, options = line

    with serving(answering([STREAM_HEAD, *pieces]), tls=tls) as server:
        repeat(4, lambda: read_whole(open_stream(server.url, **options)))

    assert (len(server.requests), server.accepted) == (4, 1)


CHUNKS = b"".join(
    [
        chunk(event(1)),
        chunk(event(2)),
        b"0009;of=three\r\n" + event(3) + b"\r\n",
        chunk(b"data: 4"),
        chunk(b"\n\n" + event(5)),
        b"0A\r\n" + event(66) + b"\r\n",
        b"0\r\nX-Trailer: 7\r\n\r\n",
    ]
)


@pytest.mark.parametrize("at", range(1, len(CHUNKS)))
def test_wherever_a_chunked_stream_is_cut_it_is_read_whole(open_stream, at):
    pieces = [STREAM_HEAD, CHUNKS[:at], 0.005, CHUNKS[at:]]

    with serving(answering(pieces)) as server:
        events = repeat(2, lambda: read_whole(open_stream(server.url)))

    assert events == [["1", "2", "3", "4", "5", "66"]] * 2
    assert server.accepted == 1


def test_a_compressed_stream_is_unpacked(open_stream):
    packed = gzip.compress(event(1) + event(2), mtime=0)
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    pieces = [head, chunk(packed[:9]), chunk(packed[9:]), LAST_CHUNK]

    with serving(answering(pieces)) as server:
        events = read_whole(open_stream(server.url))

    assert events == ["1", "2"]


def test_streams_with_heartbeats_share_one_connection(open_stream, line):
    tls, options = line
    pieces = [STREAM_HEAD + chunk(event(1)), 0.1, chunk(event(2)), 0.1, LAST_CHUNK]

    with serving(answering(pieces), tls=tls) as server:
        repeat(3, lambda: heard(open_stream(server.url, **options), heartbeat=0.03))

    assert (len(server.requests), server.accepted) == (3, 1)


def test_a_stream_that_lingers_is_hung_up_on(open_stream, monkeypatch):
    monkeypatch.setattr("flask_llm.transport.body.LINGER_SECONDS", 0.1)

    with serving(answering([STREAM_HEAD + chunk(event(1)), 60.0])) as server:
        stream = open_stream(server.url, seconds=30)
        stream.linger()
        began = time.monotonic()
        events = read_whole(stream)

    assert events == ["1"]
    assert time.monotonic() - began < 0.1 + SLACK_SECONDS


def test_a_stream_left_early_is_hung_up_on(open_stream):
    left = threading.Event()

    def watch(server, connection):
        server.read_request(connection)
        connection.sendall(STREAM_HEAD + chunk(event(1)))
        connection.recv(1)
        left.set()

    with serving(watch) as server:
        open_stream(server.url).close()

        assert left.wait(5)


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(send):
    def once(server, connection):
        server.read_request(connection)
        connection.sendall(GOOD)

    with serving(once) as server:
        send(server.url)
        time.sleep(0.05)
        send(server.url)

    assert (len(server.requests), server.accepted) == (2, 2)


@pytest.mark.parametrize("api", ["openai", "anthropic", "google"])
def test_calls_and_streams_of_an_app_use_one_connection(
    make_app, emulator, provider_rows, models, api
):
    url = provider_rows[api]["base_url"]

    with serving(relaying(url)) as relay:
        port = url.split(":")[2].partition("/")[0]
        row = provider_rows[api] | {"base_url": url.replace(port, str(relay.port))}
        app = make_app(LLM_PROVIDERS=provider_rows | {api: row})
        with app.app_context():
            repeat(3, lambda: flask_llm.complete("Hi", model=models[api]))
            repeat(3, lambda: list(flask_llm.stream("Hi", model=models[api])))

    assert (len(emulator.requests), relay.accepted) == (6, 1)


def test_connections_are_closed_at_once_though_an_error_leads_to_them(send, transport):
    left = threading.Event()

    def handle(server, connection):
        answering(LIMITED)(server, connection)
        left.set()

    with serving(handle) as server:
        error, _ = timed(lambda: send(server.url))
        transport.close()
        gone = left.wait(5)

    assert gone
    assert error.__traceback__ is not None


def test_threads_share_the_session(transport):
    sessions = []
    threads = [
        threading.Thread(target=lambda: sessions.append(transport.session))
        for _ in range(8)
    ]

    repeat_each(threads)

    assert len({id(session) for session in sessions}) == 1


def repeat_each(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_makes_a_session_and_connections_of_its_own(send, transport):
    with serving(answering(GOOD)) as server:
        send(server.url)
        session = transport.session
        worker = os.fork()
        if worker == 0:
            # Nothing of pytest's may run in the child, whatever happens.
            signal.alarm(5)
            fine = send(server.url).json == {"fine": True}
            os._exit(0 if fine and transport.session is not session else 1)
        _, status = os.waitpid(worker, 0)
        send(server.url)

    assert os.waitstatus_to_exitcode(status) == 0
    assert (len(server.requests), server.accepted) == (3, 2)
    assert transport.session is session


# --- Where keys go ---------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(send, status):
    with serving(answering(GOOD)) as second:
        there = reply(b"", f"Location: {second.url}/", status=f"{status} Moved")
        with serving(answering(there)) as first:
            error, _ = timed(lambda: send(first.url, retries=2))

    assert (type(error), error.status) == (ResponseError, status)
    assert "base_url" in str(error)
    assert (len(first.requests), second.accepted) == (1, 0)


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("bearer", f"Authorization: Bearer {KEY}"),
        ("x-api-key", f"x-api-key: {KEY}"),
        ("x-goog-api-key", f"x-goog-api-key: {KEY}"),
        ("api-key", f"api-key: {KEY}"),
    ],
)
def test_the_key_goes_into_the_providers_header(send, auth, header):
    with serving(answering(GOOD)) as server:
        send(server.url, auth=auth)

    assert header.encode() in server.requests[0]
    assert KEY.encode() not in server.requests[0].partition(b"\r\n")[0]


def test_a_server_without_a_key_is_sent_none(transport):
    with serving(answering(GOOD)) as server:
        provider = Provider(name="vllm", base_url=server.url)
        transport.send(WHOLE, provider, transport.retry(0, 5))

    assert b"authorization" not in server.requests[0].lower()


def test_several_keys_take_turns(send):
    keys = Keys(["first-key", "second-key"])

    with serving(answering(GOOD)) as server:
        provider = Provider(name="openai", base_url=server.url, keys=keys)
        transport = Transport()
        retries = iter([transport.retry(0, 5), transport.retry(0, 5)])
        repeat(2, lambda: transport.send(WHOLE, provider, next(retries)))
        transport.close()

    assert b"Bearer first-key" in server.requests[0]
    assert b"Bearer second-key" in server.requests[1]


@pytest.mark.parametrize("key", ["sk-line\nbreak", "sk-test\r", "sk-café", None, 50])
def test_a_key_that_no_header_can_carry_is_named_and_not_shown(transport, key):
    provider = Provider(
        name="openai", base_url="http://127.0.0.1:1", keys=Keys(lambda: key)
    )

    with pytest.raises(ConfigError, match="The key of openai") as raised:
        transport.send(WHOLE, provider, transport.retry(0, 5))

    assert not isinstance(key, str) or repr(key) not in shown_in(raised.value)


def test_netrc_cannot_replace_the_key(monkeypatch, tmp_path, send):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))

    with serving(answering(GOOD)) as server:
        send(server.url)

    assert f"Authorization: Bearer {KEY}\r\n".encode() in server.requests[0]
    assert b"Basic" not in server.requests[0]


def test_a_proxy_of_the_environment_is_used_and_cannot_replace_the_key(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(answering(GOOD)) as proxy:
        credentials = proxy.url.replace("http://", "http://somebody:secret@")
        monkeypatch.setenv("http_proxy", credentials)
        transport = Transport()

        provider = provider_at("http://api.invalid/v1")
        transport.send(WHOLE, provider, transport.retry(0, 5))

    request = proxy.requests[0]
    assert request.startswith(b"POST http://api.invalid/v1/x HTTP/1.1")
    assert f"Authorization: Bearer {KEY}\r\n".encode() in request
    assert b"\r\nProxy-Authorization: Basic " in request
    transport.close()


def test_no_proxy_is_obeyed(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    transport = Transport()

    with serving(answering(GOOD)) as server:
        provider = provider_at(server.url)
        answer = transport.send(WHOLE, provider, transport.retry(0, 5))

    assert answer.json == {"fine": True}
    transport.close()


def test_a_proxy_of_the_providers_own_is_used(transport):
    with serving(answering(GOOD)) as proxy:
        provider = provider_at("http://api.invalid", proxies={"http": proxy.url})
        transport.send(WHOLE, provider, transport.retry(0, 5))

    assert proxy.requests[0].startswith(b"POST http://api.invalid/x")


def test_a_proxy_that_is_not_there(transport):
    proxies = {"http": f"http://127.0.0.1:{free_port()}"}
    provider = provider_at("http://api.invalid", proxies=proxies)

    error, _ = timed(lambda: transport.send(WHOLE, provider, transport.retry(1, 5)))

    assert (type(error), error.code) == (ConnectionFailed, "proxy_failed")


def test_a_trickle_through_a_proxy_ends_at_the_deadline(transport):
    pieces = (HEAD, b"Content-Length: 90\r\n\r\n", b"x" * 90)

    with serving(trickling(*pieces)) as proxy:
        provider = provider_at("http://api.invalid", proxies={"http": proxy.url})
        retry = transport.retry(0, 0.5)
        error, seconds = timed(lambda: transport.send(WHOLE, provider, retry))

    assert type(error) is ReadTimeout
    assert seconds < 0.5 + SLACK_SECONDS


def test_cookies_are_never_sent_back(send):
    with serving(answering(reply(b"{}", "Set-Cookie: who=you; Path=/"))) as server:
        repeat(2, lambda: send(server.url))

    assert b"cookie" not in server.requests[1].lower()


ECHO = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}."}})


@pytest.mark.parametrize("auth", ["bearer", "x-api-key", "x-goog-api-key", "api-key"])
def test_a_key_that_the_server_echoes_is_struck_out(send, auth):
    with serving(answering(reply(ECHO.encode(), status="401 No"))) as server:
        error, _ = timed(lambda: send(server.url, auth=auth))

    assert error.provider_message == "Incorrect API key provided: ***."


def test_a_key_that_a_streams_first_event_echoes_is_struck_out(open_stream):
    echo = STREAM_HEAD + chunk(f"data: {ECHO}\n\n".encode()) + LAST_CHUNK

    with serving(answering(echo)) as server:
        error, _ = timed(lambda: open_stream(server.url))

    assert error.provider_message == "Incorrect API key provided: ***."


def test_an_error_in_a_streams_first_event_keeps_the_providers_id(open_stream):
    head = with_header(STREAM_HEAD, b"x-request-id: req_7")
    echo = head + chunk(b'data: {"error":{"message":"no"}}\n\n') + LAST_CHUNK

    with serving(answering(echo)) as server:
        error, _ = timed(lambda: open_stream(server.url))

    assert error.provider_request_id == "req_7"


# --- What errors hold ------------------------------------------------------------


FIELDS = ("choices", "output", "content", "candidates")
"""Where an answer stands in each wire format."""

FAILURES = {
    "refused": Fault(status=401, message=f"Incorrect API key provided: {KEY}"),
    "rate-limited": Fault(status=429, retry_after=60),
    "reset": Fault(reset_after=0),
    "hang": Fault(hang=True),
    "slow": Fault(trickle_seconds=0.1),
    "garbage": Fault(garbage=True),
    "wrong-shape": Fault(wrong_shape=True),
    "page": Fault(body=f"<html>{KEY}</html>"),
    "echo": Fault(body=json.dumps({"headers": {"authorization": KEY}})),
    "echo-within": Fault(body=json.dumps(dict.fromkeys(FIELDS, KEY))),
    "empty": Fault(empty=True),
    "gzip": Fault(broken_gzip=True),
    "cut": Fault(content_length=100_000),
    "redirect": Fault(redirect="http://elsewhere.invalid/"),
    "huge": Fault(huge_bytes=3000),
    "in-band": Fault(error_in_stream=1, message=f"Who is {KEY}?"),
}


@pytest.mark.parametrize("verb", ["complete", "stream"])
@pytest.mark.parametrize("api", ["openai", "anthropic", "google"])
@pytest.mark.parametrize("failure", FAILURES)
def test_no_error_holds_the_key(make_app, emulator, models, failure, api, verb):
    app = make_app(LLM_LOG_CONTENT=True, LLM_MAX_RESPONSE_BYTES=2048)
    emulator.script(FAILURES[failure])

    with app.app_context(), pytest.raises(flask_llm.ProviderError) as raised:
        ask(verb, model=models[api])

    shown = shown_in(raised.value)
    assert KEY not in shown
    assert foreign_frames(raised.value) == requests_in(raised.value) == []


def ask(verb, **options):
    answer = getattr(flask_llm, verb)("Hi", timeout=0.4, retries=0, **options)
    return answer.text if verb == "complete" else list(answer)


@pytest.mark.parametrize(
    "url", ["http://nobody.invalid", "http://127.0.0.1:{port}", "https://127.0.0.1:1"]
)
def test_no_error_of_a_failed_connect_holds_the_key(send, url):
    error, _ = timed(lambda: send(url.format(port=free_port()), retries=1))

    assert KEY not in shown_in(error)
    assert foreign_frames(error) == requests_in(error) == []


def test_an_abandoned_call_leaves_the_emulator(app, emulator):
    emulator.script(Fault(answer=Answer(text="late"), hang=True))

    with pytest.raises(ReadTimeout):
        flask_llm.complete("Hi", timeout=0.2)

    assert wait_until(lambda: emulator.abandoned == 1)
