"""Streams, from the bytes to the completion, in every wire format."""

import contextlib

from flask_llm.errors import ProviderError, ResponseError
from flask_llm.protocols import PROTOCOLS
from flask_llm.wire import EventReader
from fuzz import common

SEEDS = common.samples("*.sse")


def check(data):
    """What has come can be read wherever the stream broke off."""
    reader = EventReader()
    events = reader.feed(data) + reader.close()
    for protocol in PROTOCOLS.values():
        fold = protocol.fold()
        with contextlib.suppress(ProviderError):
            for event in events:
                for chunk in fold.feed(event):
                    assert isinstance(chunk.text + chunk.reasoning, str)
        with contextlib.suppress(ResponseError):
            common.go_on_from(protocol.parse(fold.raw))
