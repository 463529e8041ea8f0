"""Batches as OpenAI has them: a file of requests, and files of results.

Source: https://platform.openai.com/docs/api-reference/batch.
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
from flask_llm.wire import Call, Reply, Upload, written

CAPS = BatchCaps(prompts=50_000, size_bytes=200 * 10**6)

KEEPS_NAMES = True

_NAME = "flask_llm_batch"

_STATUS = {
    "validating": "submitted",
    "in_progress": "running",
    "finalizing": "running",
    "completed": "ended",
    "failed": "failed",
    "expired": "expired",
    "cancelling": "cancelling",
    "cancelled": "cancelled",
}
_ENDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")

_LEFT = {"batch_expired": "expired", "batch_cancelled": "cancelled"}


def upload(batch_id: str, requests: Requests) -> Call | None:
    """Return what hands the prompts over: a file with a line for each."""
    lines = [_line(key, call) for key, call in requests.items()]
    file = Upload(f"{batch_id}.jsonl", b"".join(lines), "application/jsonl")
    return Call(path="/files", body={"purpose": "batch"}, upload=file, bulk=True)


def _line(key: str, call: Call) -> bytes:
    line = {
        "custom_id": key,
        "method": "POST",
        "url": f"/v1{call.path}",
        "body": call.body,
    }
    return written(line) + b"\n"


def create(
    batch_id: str, requests: Requests, uploaded: Mapping[str, Any] | None
) -> Call:
    """Return what begins a batch."""
    body = {
        "input_file_id": _file(uploaded or {}),
        "endpoint": f"/v1{next(iter(requests.values())).path}",
        "completion_window": "24h",
        "metadata": {_NAME: batch_id},
    }
    return Call(path="/batches", body=body, bulk=True, once=True)


@readable
def _file(raw: Mapping[str, Any]) -> str:
    return reference(raw["id"])


def look(provider_id: str) -> Call:
    """Return what asks for a batch's state."""
    return Call(method="GET", path=f"/batches/{quote(provider_id)}", bulk=True)


def cancel(provider_id: str) -> Call:
    """Return what asks to give a batch up."""
    return Call(path=f"/batches/{quote(provider_id)}/cancel", bulk=True)


def listing(after: str | None) -> Call:
    """Return what asks for the account's batches, the newest first."""
    rest = f"&after={quote(after)}" if after else ""
    return Call(method="GET", path=f"/batches?limit=100{rest}", bulk=True)


@readable
def listed(raw: Mapping[str, Any]) -> tuple[list[BatchState], str | None]:
    """Read a page of batches, and where it ended if there are more."""
    found = [state(item) for item in array(raw["data"])]
    more = found and raw.get("has_more")
    return found, found[-1].provider_id if more else None


@readable
def state(raw: Mapping[str, Any]) -> BatchState:
    """Read a batch's state."""
    files = (raw.get("output_file_id"), raw.get("error_file_id"))
    return BatchState(
        provider_id=reference(raw["id"]),
        status=_STATUS.get(raw["status"], "running"),
        name=word(dig(raw, "metadata", _NAME)),
        prompts=number(dig(raw, "request_counts", "total")),
        succeeded=number(dig(raw, "request_counts", "completed")),
        failed=number(dig(raw, "request_counts", "failed")),
        created_at=moment(raw.get("created_at")),
        ended_at=next(filter(None, (moment(raw.get(name)) for name in _ENDS)), None),
        problem=_problem(raw),
        files=tuple(reference(file) for file in files if file),
    )


def _problem(raw: Mapping[str, Any]) -> Reply | None:
    """Return the first of the errors for which the file of requests was refused."""
    errors = dig(raw, "errors", "data") or []
    return Reply.of({"error": errors[0]}, status=400) if errors else None


def answers(state: BatchState) -> Iterator[Call]:
    """Return what fetches the results: those that succeeded, and those that failed."""
    for file in state.files:
        yield Call(method="GET", path=f"/files/{quote(file)}/content", bulk=True)


@readable
def result(raw: Mapping[str, Any]) -> Result:
    """Read one line of the results."""
    key = string(raw["custom_id"])
    response = raw.get("response")
    if response:
        headers = {"x-request-id": word(response.get("request_id")) or ""}
        status = int(response["status_code"])
        reply = Reply.of(response["body"], status, headers)
        return Result(key, reply)
    error = raw["error"]
    left = _LEFT.get(error["code"])
    return Result(key, None if left else Reply.of({"error": error}, 500), left)
