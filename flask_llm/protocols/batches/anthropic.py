"""Batches as Anthropic has them: the requests in one body, the results in one file.

Source: https://platform.claude.com/docs/en/api/creating-message-batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from flask_llm.protocols.anthropic_messages.request import VERSION
from flask_llm.protocols.base import array, dig, readable, string
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

CAPS = BatchCaps(prompts=100_000, size_bytes=256 * 10**6)

KEEPS_NAMES = False

_PATH = "/v1/messages/batches"
_HEADERS = {"anthropic-version": VERSION}

_STATUS = {"in_progress": "running", "canceling": "cancelling"}

_STATUS_OF_ERROR = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What each kind of error has for a status where it is an answer of its own
(https://platform.claude.com/docs/en/api/errors)."""


def upload(batch_id: str, requests: Requests) -> Call | None:
    """Return nothing: the prompts go with the request."""
    del batch_id, requests
    return None


def create(
    batch_id: str, requests: Requests, uploaded: Mapping[str, Any] | None
) -> Call:
    """Return what begins a batch; it has no field for our name of it."""
    del batch_id, uploaded
    items = [
        {"custom_id": key, "params": dict(call.body)} for key, call in requests.items()
    ]
    headers = next(iter(requests.values())).headers
    body = {"requests": items}
    return Call(path=_PATH, body=body, headers=headers, bulk=True, once=True)


def look(provider_id: str) -> Call:
    """Return what asks for a batch's state."""
    return _get(f"/{quote(provider_id)}")


def cancel(provider_id: str) -> Call:
    """Return what asks to give a batch up."""
    path = f"{_PATH}/{quote(provider_id)}/cancel"
    return Call(path=path, headers=_HEADERS, bulk=True)


def listing(after: str | None) -> Call:
    """Return what asks for the account's batches, the newest first."""
    return _get("?limit=100" + (f"&after_id={quote(after)}" if after else ""))


def _get(rest: str) -> Call:
    return Call(method="GET", path=_PATH + rest, headers=_HEADERS, bulk=True)


@readable
def listed(raw: Mapping[str, Any]) -> tuple[list[BatchState], str | None]:
    """Read a page of batches, and where it ended if there are more."""
    found = [state(item) for item in array(raw["data"])]
    more = found and raw.get("has_more")
    return found, found[-1].provider_id if more else None


@readable
def state(raw: Mapping[str, Any]) -> BatchState:
    """Read a batch's state."""
    counts = {name: number(count) for name, count in raw["request_counts"].items()}
    left = counts["canceled"], counts["expired"]
    return BatchState(
        provider_id=reference(raw["id"]),
        status=_STATUS.get(raw["processing_status"]) or _ending(*left),
        prompts=sum(filter(None, counts.values())),
        succeeded=counts["succeeded"],
        failed=sum(filter(None, (counts["errored"], *left))),
        created_at=moment(raw.get("created_at")),
        ended_at=moment(raw.get("ended_at")),
        files=(reference(raw["id"]),) if raw.get("results_url") else (),
    )


def _ending(cancelled: int | None, expired: int | None) -> str:
    """Tell how a batch ended, which Anthropic says of each prompt only."""
    if cancelled:
        return "cancelled"
    return "expired" if expired else "ended"


def answers(state: BatchState) -> Iterator[Call]:
    """Return what fetches the results."""
    for file in state.files:
        yield _get(f"/{quote(file)}/results")


@readable
def result(raw: Mapping[str, Any]) -> Result:
    """Read one line of the results."""
    key, found = string(raw["custom_id"]), raw["result"]
    match found["type"]:
        case "succeeded":
            return Result(key, Reply.of(found["message"]))
        case "expired":
            return Result(key, left="expired")
        case "canceled":
            return Result(key, left="cancelled")
    kind = dig(found["error"], "error", "type")
    return Result(key, Reply.of(found["error"], _STATUS_OF_ERROR.get(kind, 500)))
