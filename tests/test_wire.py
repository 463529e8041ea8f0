"""The reader of server-sent events, however the bytes are cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_llm.wire import Event, EventReader, Reply


def read(*blocks):
    reader = EventReader()
    return [e for block in blocks for e in reader.feed(block)] + reader.close()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [Event("a"), Event("b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [Event("a"), Event("b")]),
        (b"data: a\r\rdata: b\r\r", [Event("a"), Event("b")]),
        (b"data: a\r\n\ndata: b\n\r\n", [Event("a"), Event("b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
        (b"data:a\n\n", [Event("a")]),
        (b"data:  a\n\n", [Event(" a")]),
        (b"data\n\n", [Event("")]),
        (b"data: a\ndata: b\n\n", [Event("a\nb")]),
        (b"event: ping\ndata: a\n\n", [Event("a", "ping")]),
        (b"event:ping\n\ndata: a\n\n", [Event("a")]),
        (b": keep-alive\n\n:\n\ndata: a\n\n", [Event("a")]),
        (b"id: 1\nretry: 5\nunknown: x\ndata: a\n\n", [Event("a")]),
        (b"data: a", [Event("a")]),
        (b"data: a\n", [Event("a")]),
        (b"\n\n\n", []),
        (b"", []),
        (
            "data: é\u2028\u2029\u0085\x0b\x0c 👋\n\n".encode(),
            [Event("é\u2028\u2029\u0085\x0b\x0c 👋")],
        ),
        (b"data: \xff\n\n", [Event("\ufffd")]),
        (b'{"error": {}}\n\n', [Event('{"error": {}}')]),
        (b'{\n"error":\n {}\n}\n', [Event('{\n"error":\n {}\n}')]),
        (b'[{"data": 1}]', [Event('[{"data": 1}]')]),
        (
            b'data: a\n\n{"error": 1}\r\n\r\n',
            [Event("a"), Event('{"error": 1}')],
        ),
        (b'data: a\n{"error": 1}\n\n', [Event("a"), Event('{"error": 1}')]),
        (b"<html>\n\n", []),
    ],
)
def test_events_are_the_same_on_every_split(stream, expected):
    splits = [read(stream[:at], stream[at:]) for at in range(len(stream) + 1)]

    assert splits == [expected] * (len(stream) + 1)
    assert read(*(bytes([byte]) for byte in stream)) == expected


FIELDS = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12
)


@given(
    texts=st.lists(st.lists(FIELDS, min_size=1, max_size=3), max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
@settings(deadline=None)
def test_what_is_written_is_read_whatever_the_ends_and_cuts(texts, end, cuts):
    written = "".join(
        "".join(f"data: {line}{end}" for line in lines) + end for lines in texts
    ).encode()
    edges = [0, *sorted(cut for cut in cuts if cut < len(written)), len(written)]

    found = read(*(written[a:b] for a, b in pairwise(edges)))

    assert [event.data for event in found] == ["\n".join(lines) for lines in texts]


@given(stream=st.binary(max_size=60), cut=st.integers(0, 60))
@settings(deadline=None)
def test_any_bytes_give_the_same_events_however_they_are_cut(stream, cut):
    assert read(stream) == read(stream[:cut], stream[cut:])


@given(value=st.recursive(st.text(), st.lists, max_leaves=5))
@settings(deadline=None)
def test_json_comes_through(value):
    text = json.dumps(value, ensure_ascii=False)

    (event,) = read(f"data: {text}\n\n".encode(errors="surrogatepass"))

    assert event.json == json.loads(text.encode(errors="replace").decode()) or (
        "\ufffd" in event.data
    )


@pytest.mark.parametrize("text", ["", "[DONE]", "{", "[" * 100_000])
def test_what_is_no_json_is_none(text):
    assert Event(text).json is None
    assert Reply(status=200, body=text.encode()).json is None


def test_body_of_a_reply_is_text_whatever_it_is():
    assert Reply(status=502, body=b"caf\xc3\xa9 \xff").text == "café \ufffd"
