"""Batches: their states, pages of them, and lines of results."""

import contextlib

from flask_llm.errors import ProviderError, ResponseError
from flask_llm.protocols import PROTOCOLS
from flask_llm.protocols.batches import BATCHES
from flask_llm.usage import key_of, place_of
from fuzz import common

_OPENAI = {
    "id": "batch_1",
    "status": "completed",
    "created_at": 1790000000,
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "metadata": {"flask_llm_batch": "b"},
    "errors": {"data": [{"code": "c", "message": "m"}]},
    "output_file_id": "file-1",
}
_ANTHROPIC = {
    "id": "msgbatch_1",
    "processing_status": "ended",
    "created_at": "2026-11-23T10:00:00Z",
    "results_url": "https://example.com/x",
    "request_counts": {"processing": 0, "succeeded": 1, "errored": 0, "expired": 1},
}
_GOOGLE = {
    "name": "batches/1",
    "metadata": {
        "state": "BATCH_STATE_SUCCEEDED",
        "createTime": "2026-11-23T10:00:00.123Z",
        "batchStats": {"requestCount": "3", "failedRequestCount": "1"},
        "output": {"responsesFile": "files/1"},
    },
    "error": {"code": 8, "message": "m"},
}
_MESSAGE = {"id": "m", "type": "message", "content": [{"type": "text", "text": "Hi"}]}
SEEDS = common.seeds(
    _OPENAI,
    _ANTHROPIC,
    _GOOGLE,
    {"data": [_OPENAI], "has_more": True},
    {"data": [_ANTHROPIC], "has_more": True, "last_id": "msgbatch_1"},
    {"operations": [_GOOGLE], "nextPageToken": "t"},
    {
        "custom_id": "b" * 26 + "000001",
        "response": {"status_code": 200, "body": {"choices": []}},
    },
    {"custom_id": "b", "error": {"code": "batch_expired", "message": "m"}},
    {"custom_id": "b", "result": {"type": "succeeded", "message": _MESSAGE}},
    {"custom_id": "b", "result": {"type": "errored", "error": {"type": "error"}}},
    {"key": "b", "response": {"candidates": []}},
    {"key": "b", "error": {"code": 4, "message": "m"}},
)


def check(data):
    """Whatever comes is read, or called unreadable; no path leads elsewhere."""
    raw = common.load(data)
    for name, form in BATCHES.items():
        with contextlib.suppress(ResponseError):
            state = form.state(raw)
            calls = [*form.answers(state), form.look(state.provider_id)]
            assert all(call.path.startswith("/") for call in calls)
        with contextlib.suppress(ResponseError):
            _, after = form.listed(raw)
            assert form.listing(after).path.startswith("/")
        with contextlib.suppress(ResponseError):
            _settle(form.result(raw), PROTOCOLS[name])


def _settle(result, protocol):
    batch_id = "b" * 32
    place = place_of(batch_id, result.key)
    assert place is None or key_of(batch_id, place) == result.key
    if result.reply is not None:
        assert isinstance(protocol.error(result.reply), ProviderError | None)
        with contextlib.suppress(ResponseError):
            protocol.parse(result.reply.json)
