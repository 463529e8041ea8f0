"""What every wire format has to do, over samples in ``tests/wire/<protocol>/``."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_llm import errors
from flask_llm.chat import Completion, Message
from flask_llm.protocols import PROTOCOLS
from flask_llm.wire import Event, EventReader, Reply

WIRE = Path(__file__).parents[1] / "wire"


def samples(pattern):
    return sorted(
        path.relative_to(WIRE).with_suffix("").as_posix()
        for protocol in PROTOCOLS
        for path in (WIRE / protocol).glob(pattern)
    )


def protocol_of(sample):
    return PROTOCOLS[sample.partition("/")[0]]


def whole(sample):
    return json.loads((WIRE / f"{sample}.json").read_bytes())


def events(sample):
    reader = EventReader()
    return reader.feed((WIRE / f"{sample}.sse").read_bytes()) + reader.close()


def fed(protocol, stream):
    fold = protocol.fold()
    chunks = [chunk for event in stream for chunk in fold.feed(event)]
    return fold, chunks


STREAMS = samples("*.sse")
CUTS = [(sample, cut) for sample in STREAMS for cut in range(len(events(sample)))]


def test_each_protocol_has_the_same_samples():
    names = {
        protocol: {sample.partition("/")[2] for sample in STREAMS if protocol in sample}
        for protocol in PROTOCOLS
    }

    assert set(map(frozenset, names.values())) == {
        frozenset({"length", "reasoning", "refusal", "text", "tools"})
    }


@pytest.mark.parametrize("sample", STREAMS)
def test_streamed_answer_equals_the_whole_one(sample):
    protocol = protocol_of(sample)

    fold, _ = fed(protocol, events(sample))

    streamed, answered = protocol.parse(fold.raw), protocol.parse(whole(sample))
    assert replace(streamed, raw={}) == replace(answered, raw={})


@pytest.mark.parametrize("sample", STREAMS)
def test_chunks_add_up_to_the_answer(sample):
    protocol = protocol_of(sample)

    fold, chunks = fed(protocol, events(sample))

    answer = protocol.parse(fold.raw)
    assert "".join(chunk.text for chunk in chunks) == answer.text
    assert "".join(chunk.reasoning for chunk in chunks) == (answer.reasoning or "")
    assert tuple(c.tool_call for c in chunks if c.tool_call) == answer.tool_calls


@pytest.mark.parametrize(("sample", "cut"), CUTS)
def test_stream_cut_anywhere_leaves_a_partial_answer(sample, cut):
    protocol = protocol_of(sample)

    fold, chunks = fed(protocol, events(sample)[:cut])

    answer = protocol.parse(fold.raw)
    assert answer.text == "".join(chunk.text for chunk in chunks)


@pytest.mark.parametrize("sample", STREAMS)
def test_stream_is_finished_at_its_end_and_not_before(sample):
    protocol = protocol_of(sample)

    assert not fed(protocol, [])[0].finished
    assert fed(protocol, events(sample))[0].finished


@pytest.mark.parametrize("sample", [s for s in STREAMS if "refusal" not in s])
def test_stream_that_broke_off_is_not_finished(sample):
    fold, _ = fed(protocol_of(sample), events(sample)[:1])

    assert not fold.finished


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("name", "finish", "text", "tokens"),
    [
        ("text", "stop", "Hello, wörld 👋", 6),
        ("reasoning", "stop", "Four.", 20),
        ("length", "length", "Once upon", 2),
    ],
)
def test_answers_mean_the_same_in_all_formats(protocol, name, finish, text, tokens):
    answer = PROTOCOLS[protocol].parse(whole(f"{protocol}/{name}"))

    assert (answer.finish_reason, answer.text) == (finish, text)
    assert (answer.usage.output_tokens, answer.usage.source) == (tokens, "provider")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tool_calls_mean_the_same_in_all_formats(protocol):
    answer = PROTOCOLS[protocol].parse(whole(f"{protocol}/tools"))

    called = [(call.name, call.arguments) for call in answer.tool_calls]
    assert called == [("weather", {"city": "Oslo"}), ("time", {})]
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reasoning_is_apart_from_the_text_and_within_the_output(protocol):
    answer = PROTOCOLS[protocol].parse(whole(f"{protocol}/reasoning"))

    assert answer.reasoning == "Two and two make four."
    assert (answer.usage.reasoning_tokens, answer.usage.output_tokens) == (15, 20)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refusal_is_an_answer_that_says_so(protocol):
    answer = PROTOCOLS[protocol].parse(whole(f"{protocol}/refusal"))

    assert answer.finish_reason == "content_filter"
    assert (answer.text, answer.refusal) == ("", "I cannot help with that.")
    assert answer.usage.input_tokens == 9


@pytest.mark.parametrize("sample", STREAMS)
def test_answer_goes_into_the_history_as_json_and_comes_back(sample):
    answer = protocol_of(sample).parse(whole(sample))
    turn = replace(answer, provider="some", model="some/model").to_message()

    stored = json.dumps(turn.to_dict())

    assert Message.from_dict(json.loads(stored)) == turn


KINDS = {
    "error-200-in-band": errors.OverloadedError,
    "error-400": errors.InvalidRequestError,
    "error-400-context": errors.ContextLengthExceeded,
    "error-400-credit": errors.QuotaExhaustedError,
    "error-400-field": errors.InvalidRequestError,
    "error-400-filter": errors.ContentFilteredError,
    "error-400-key": errors.AuthenticationError,
    "error-400-limit": errors.QuotaExhaustedError,
    "error-400-parameter": errors.UnsupportedParameter,
    "error-400-sampling": errors.UnsupportedParameter,
    "error-401": errors.AuthenticationError,
    "error-402": errors.QuotaExhaustedError,
    "error-403": errors.PermissionDeniedError,
    "error-404": errors.NotFoundError,
    "error-409": errors.ServerError,
    "error-413": errors.RequestTooLarge,
    "error-422-detail": errors.InvalidRequestError,
    "error-429": errors.RateLimitError,
    "error-429-day": errors.QuotaExhaustedError,
    "error-429-hours": errors.QuotaExhaustedError,
    "error-429-limit-0": errors.QuotaExhaustedError,
    "error-429-no-tier": errors.QuotaExhaustedError,
    "error-429-quota": errors.QuotaExhaustedError,
    "error-429-ramp": errors.RateLimitError,
    "error-429-spent": errors.QuotaExhaustedError,
    "error-429-too-large": errors.RequestTooLarge,
    "error-500": errors.ServerError,
    "error-502-html": errors.ServerError,
    "error-503": errors.OverloadedError,
    "error-504": errors.ServerError,
    "error-529": errors.OverloadedError,
}
RETRYABLE = {
    errors.OverloadedError,
    errors.RateLimitError,
    errors.ServerError,
}
FAILURES = samples("error-*")


def failure(sample):
    (path,) = WIRE.glob(f"{sample}.*")
    status = int(path.stem.split("-")[1])
    return Reply(status=status, body=path.read_bytes())


@pytest.mark.parametrize("sample", FAILURES)
def test_error_is_told_by_what_to_do_next(sample):
    found = protocol_of(sample).error(failure(sample))

    kind = KINDS[sample.partition("/")[2]]
    if sample == "chat_completions/error-200-in-band":
        kind = errors.ServerError  # OpenRouter's: its code is the status
    assert type(found) is kind
    assert found.is_retryable is (kind in RETRYABLE)
    assert found.provider_message


@pytest.mark.parametrize("sample", FAILURES)
def test_error_message_holds_no_words_of_the_provider(sample):
    found = protocol_of(sample).error(failure(sample))

    assert found.provider_message not in str(found)


@pytest.mark.parametrize("sample", samples("error-200-*"))
def test_error_in_the_middle_of_a_stream_is_raised(sample):
    event = Event(failure(sample).text)

    with pytest.raises(errors.ProviderError) as caught:
        fed(protocol_of(sample), [event])

    assert caught.value.is_retryable


@pytest.mark.parametrize("sample", STREAMS)
def test_answer_is_no_error(sample):
    body = json.dumps(whole(sample)).encode()

    assert protocol_of(sample).error(Reply(status=200, body=body)) is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'"x"', b"{", b"{}"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (418, errors.ProviderError),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (599, errors.ServerError),
    ],
)
def test_error_body_of_any_kind_is_told_by_its_status(protocol, body, status, kind):
    found = PROTOCOLS[protocol].error(Reply(status=status, body=body))

    assert type(found) is kind
    assert found.status == status


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_server_says_how_long_to_wait_and_whether_to_try_again(protocol):
    headers = {"retry-after": "7", "x-should-retry": "false", "request-id": "req_7"}

    found = PROTOCOLS[protocol].error(Reply(status=500, headers=headers))

    assert (found.retry_after, found.provider_request_id) == (7.0, "req_7")
    assert found.is_retryable is False


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS.keys() - {"generate_content"}))
def test_usage_without_counts_is_not_known(protocol):
    """Google is another matter: it leaves out what is zero."""
    raw = whole(f"{protocol}/text")

    found = PROTOCOLS[protocol].parse(raw | {"usage": {"service_tier": "standard"}})

    assert found.usage.source == "estimated"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("raw", [None, [], {}, "text", 5, {"content": 1}])
def test_what_is_no_answer_cannot_be_read(protocol, raw):
    with pytest.raises(errors.ResponseError):
        PROTOCOLS[protocol].parse(raw)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "type", "id"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value, path=()):
    """Yield the path of everything inside a JSON value."""
    inner = enumerate(value) if isinstance(value, list) else ()
    for key, item in value.items() if isinstance(value, dict) else inner:
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def damaged(draw, value):
    """A JSON value with something else in one place."""
    found = list(places(value))
    if not found:
        return draw(JUNK)
    *path, last = draw(st.sampled_from(found))
    damaged = copy.deepcopy(value)
    inner = damaged
    for key in path:
        inner = inner[key]
    inner[last] = draw(JUNK)
    return damaged


def read(protocol, raw):
    """Read an answer that may be unreadable, and what is made of it."""
    try:
        answer = protocol.parse(raw)
    except errors.ResponseError:
        return None
    return json.dumps([answer.to_dict(), answer.to_message().to_dict()]) and answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(raw=JUNK, status=st.sampled_from([200, 400, 403, 429, 503]))
@settings(deadline=None)
def test_any_json_is_read_or_called_unreadable(protocol, raw, status):
    reply = Reply(status=status, body=json.dumps(raw).encode())

    assert isinstance(read(PROTOCOLS[protocol], raw), Completion | None)
    assert isinstance(PROTOCOLS[protocol].error(reply), errors.ProviderError | None)


@given(sample=st.sampled_from(STREAMS), data=st.data())
@settings(deadline=None, max_examples=300)
def test_damaged_answer_is_read_or_called_unreadable(sample, data):
    raw = data.draw(damaged(whole(sample)))

    assert isinstance(read(protocol_of(sample), raw), Completion | None)


@given(sample=st.sampled_from(STREAMS), data=st.data())
@settings(deadline=None, max_examples=300)
def test_damaged_stream_is_read_or_called_unreadable(sample, data):
    stream = events(sample)
    at = data.draw(st.sampled_from(range(len(stream))))
    fold = protocol_of(sample).fold()

    stream[at] = Event(json.dumps(data.draw(damaged(stream[at].json))))
    try:
        chunks = [chunk for event in stream for chunk in fold.feed(event)]
    except errors.ProviderError:
        chunks = []

    assert all(isinstance(chunk.text + chunk.reasoning, str) for chunk in chunks)
    assert isinstance(read(protocol_of(sample), fold.raw), Completion | None)


@given(sample=st.sampled_from([s for s in FAILURES if "html" not in s]), data=st.data())
@settings(deadline=None, max_examples=300)
def test_damaged_error_is_still_an_error(sample, data):
    reply = failure(sample)
    body = json.dumps(data.draw(damaged(reply.json))).encode()

    found = protocol_of(sample).error(replace(reply, status=500, body=body))

    assert isinstance(found, errors.ProviderError)
