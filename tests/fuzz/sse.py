"""Server-sent events: the same events, however the bytes are cut."""

from flask_llm.wire import EventReader

SEEDS = [
    b"data: a\n\ndata: b\n\n",
    b"\xef\xbb\xbfevent: ping\r\ndata: a\r\rdata:b\n\r\n: comment\n\n",
    b'data: a\n{"error":\n {}}\n\n[{"data": 1}]',
    b"id: 1\nretry: 5\ndata: \xff\xe2\x80\xa8\x00\n\n",
]


def check(data):
    """The first byte says how long the pieces are."""
    size, stream = (data[0] % 7) + 1 if data else 1, data[1:]
    reader = EventReader()
    cut = [
        event
        for at in range(0, len(stream), size)
        for event in reader.feed(stream[at : at + size])
    ]
    whole = EventReader()

    assert cut + reader.close() == whole.feed(stream) + whole.close()
