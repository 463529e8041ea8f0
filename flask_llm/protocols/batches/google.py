"""Batches as Google has them: requests and results within the bodies.

Source: https://ai.google.dev/gemini-api/docs/batch-api.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from flask_llm.protocols.base import array, dig, readable, string, word
from flask_llm.protocols.batches.base import (
    BatchCaps,
    BatchState,
    Requests,
    Result,
    moment,
    number,
    reference,
)
from flask_llm.wire import Call, Reply

CAPS = BatchCaps(prompts=100_000, size_bytes=20 * 10**6, window_seconds=48 * 3600)
"""The size is that of a request; 24 hours are the aim, and 48 the end."""

KEEPS_NAMES = True

_STATUS = {
    "PENDING": "submitted",
    "RUNNING": "running",
    "SUCCEEDED": "ended",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
_LEFT = {1: "cancelled", 4: "expired"}
"""Codes, as those below, of prompts that were not worked on."""

_HTTP = {
    3: (400, "INVALID_ARGUMENT"),
    5: (404, "NOT_FOUND"),
    7: (403, "PERMISSION_DENIED"),
    8: (429, "RESOURCE_EXHAUSTED"),
    9: (400, "FAILED_PRECONDITION"),
    10: (409, "ABORTED"),
    11: (400, "OUT_OF_RANGE"),
    12: (501, "UNIMPLEMENTED"),
    13: (500, "INTERNAL"),
    14: (503, "UNAVAILABLE"),
    16: (401, "UNAUTHENTICATED"),
}
"""The codes of google.rpc.Code as statuses
(https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto)."""


def upload(batch_id: str, requests: Requests) -> Call | None:
    """Return nothing: the prompts go with the request."""
    del batch_id, requests
    return None


def create(
    batch_id: str, requests: Requests, uploaded: Mapping[str, Any] | None
) -> Call:
    """Return what begins a batch."""
    del uploaded
    items = [
        {"request": call.body, "metadata": {"key": key}}
        for key, call in requests.items()
    ]
    batch = {
        "displayName": batch_id,
        "inputConfig": {"requests": {"requests": items}},
    }
    model, _, _ = next(iter(requests.values())).path.rpartition(":")
    path = f"{model}:batchGenerateContent"
    return Call(path=path, body={"batch": batch}, bulk=True, once=True)


def look(provider_id: str) -> Call:
    """Return what asks for a batch's state."""
    return Call(method="GET", path=f"/v1/{quote(provider_id)}", bulk=True)


def cancel(provider_id: str) -> Call:
    """Return what asks to give a batch up."""
    return Call(path=f"/v1/{quote(provider_id)}:cancel", bulk=True)


def listing(after: str | None) -> Call:
    """Return what asks for the account's batches; each may come with its results."""
    rest = f"&pageToken={quote(after, safe='', errors='replace')}" if after else ""
    return Call(method="GET", path=f"/v1/batches?pageSize=20{rest}", bulk=True)


@readable
def listed(raw: Mapping[str, Any]) -> tuple[list[BatchState], str | None]:
    """Read a page of batches, and where it ended if there are more."""
    found = [state(item) for item in array(raw.get("operations") or [])]
    return found, word(raw.get("nextPageToken"))


@readable
def state(raw: Mapping[str, Any]) -> BatchState:
    """Read a batch's state: that of an operation, with its metadata."""
    about = raw["metadata"]
    status = string(about["state"]).removeprefix("BATCH_STATE_")
    output = about.get("output") or raw.get("response") or {}
    file = word(output.get("responsesFile"))
    stats = about.get("batchStats")
    error = raw.get("error") or about.get("error")
    return BatchState(
        provider_id=reference(raw["name"]),
        status=_STATUS.get(status, "submitted"),
        name=word(about.get("displayName")),
        prompts=number(dig(stats, "requestCount")),
        succeeded=number(dig(stats, "successfulRequestCount")),
        failed=number(dig(stats, "failedRequestCount")),
        created_at=moment(about.get("createTime")),
        ended_at=moment(about.get("endTime")),
        problem=_problem(error) if error else None,
        files=(reference(file),) if file else (),
        inlined=tuple(dig(output, "inlinedResponses", "inlinedResponses") or ()),
    )


def answers(state: BatchState) -> Iterator[Call]:
    """Return what fetches the results, where they are in a file."""
    for file in state.files:
        path = f"/v1/{quote(file)}:download?alt=media"
        yield Call(method="GET", path=path, bulk=True)


@readable
def result(raw: Mapping[str, Any]) -> Result:
    """Read one result, be it from the state or from a file."""
    key = string(raw.get("key") or dig(raw, "metadata", "key"))
    if raw.get("response"):
        return Result(key, Reply.of(raw["response"]))
    error = raw["error"]
    left = _LEFT.get(error.get("code"))
    return Result(key, None if left else _problem(error), left)


def _problem(error: Mapping[str, Any]) -> Reply:
    """Put an error of gRPC into the words of HTTP."""
    status, name = _HTTP.get(error.get("code") or 0, (500, "INTERNAL"))
    return Reply.of({"error": {"status": name, **error, "code": status}}, status)
