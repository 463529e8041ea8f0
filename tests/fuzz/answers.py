"""Answers and refusals, whole, in every wire format."""

import contextlib
import json

from flask_llm.errors import ProviderError, ResponseError
from flask_llm.protocols import PROTOCOLS
from flask_llm.protocols.counting import parse_count
from flask_llm.wire import Reply
from fuzz import common

SEEDS = common.samples("*.json")


def check(data):
    """Whatever comes is an answer, or an error with a name."""
    for protocol in PROTOCOLS.values():
        for status in (200, 400, 429, 500):
            reply = Reply(status=status, body=data)
            error = protocol.error(reply)
            assert isinstance(error, ProviderError | None)
            assert json.dumps([str(error), getattr(error, "code", None)])
        with contextlib.suppress(ResponseError):
            common.go_on_from(protocol.parse(reply.json))
    with contextlib.suppress(ResponseError):
        assert parse_count(reply.json) >= 0
