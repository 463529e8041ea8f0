"""OpenAI's batch object, and the lines of its output and error files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask_llm.emulator.dialect import mapping

from .batch import Batch, Result

_DAY_SECONDS = 86_400
_STATUSES = {"new": "validating", "working": "in_progress"}
_NOT_DONE = {
    "expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    "cancelled": (
        "batch_cancelled",
        "This request was not executed because the batch was cancelled.",
    ),
}


def shown(batch: Batch, output: str | None, errors: str | None) -> dict[str, Any]:
    """Write a ``batch``, whose results are in these files."""
    return {
        "id": batch.id,
        "object": "batch",
        **batch.request,
        "errors": _errors(batch),
        "status": _status(batch),
        "output_file_id": output,
        "error_file_id": errors,
        "created_at": batch.created,
        "expires_at": batch.created + _DAY_SECONDS,
        **_times(batch),
        "request_counts": _counts(batch),
        "usage": _usage(batch),
    }


def items_of(batch: Batch, *, good: bool) -> list[dict[str, Any]]:
    """Write the lines of one of the two files.

    The last line comes first: OpenAI does not keep their order either.
    """
    return [
        _item(batch, place, key, result)
        for place, (key, result) in reversed(list(enumerate(batch.lines)))
        if (result is not None and result.ok) == good
    ]


def _status(batch: Batch) -> str:
    if batch.state == "working" and 1 < batch.polls == batch.polled:
        return "finalizing"
    return _STATUSES.get(batch.state, batch.state)


def _times(batch: Batch) -> dict[str, int | None]:
    """Tell when a batch came to each of the states that it has seen."""
    state, end = batch.state, batch.ended_at
    started = state not in {"new", "failed"}
    cancelled = batch.stopped_at is not None or state == "cancelled"
    finalized = state == "completed" or _status(batch) == "finalizing"
    return {
        "in_progress_at": batch.created if started else None,
        "finalizing_at": end if finalized else None,
        "completed_at": end if state == "completed" else None,
        "failed_at": end if state == "failed" else None,
        "expired_at": end if state == "expired" else None,
        "cancelling_at": end if cancelled else None,
        "cancelled_at": end if state == "cancelled" else None,
    }


def _counts(batch: Batch) -> dict[str, int]:
    if batch.state in ("new", "failed"):
        return {"total": 0, "completed": 0, "failed": 0}
    done = [result.ok for _, result in batch.lines if result is not None]
    return {
        "total": len(batch.keys),
        "completed": sum(done),
        "failed": len(done) - sum(done),
    }


def _errors(batch: Batch) -> dict[str, Any] | None:
    if batch.state != "failed":
        return None
    scripted = {
        "code": batch.course.code or "invalid_request",
        "message": batch.course.message or "The batch could not be validated.",
        "param": None,
        "line": batch.course.line,
    }
    return {"object": "list", "data": list(batch.errors) or [scripted]}


def _usage(batch: Batch) -> dict[str, Any]:
    """Add up the tokens of all lines, whatever their endpoint calls them."""
    bodies = [result.body for _, result in batch.lines if result is not None]
    usages = [mapping(body.get("usage")) for body in bodies]
    counted = _sum(usages, "input_tokens", "prompt_tokens")
    said = _sum(usages, "output_tokens", "completion_tokens")
    read = [_details(usage, "input", "prompt") for usage in usages]
    written = [_details(usage, "output", "completion") for usage in usages]
    reasoning = _sum(written, "reasoning_tokens")
    return {
        "input_tokens": counted,
        "input_tokens_details": {"cached_tokens": _sum(read, "cached_tokens")},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": counted + said,
    }


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    found = (usage.get(f"{name}_tokens_details") for name in names)
    return next((mapping(details) for details in found if details), {})


def _sum(usages: Iterable[dict[str, Any]], *names: str) -> int:
    return sum(usage.get(name, 0) for usage in usages for name in names)


def _item(batch: Batch, place: int, key: Any, result: Result | None) -> dict[str, Any]:
    ident = f"{batch.id.removeprefix('batch_')}{place:06x}"
    head = {"id": f"batch_req_{ident}", "custom_id": key}
    if result is None:
        code, message = _NOT_DONE[batch.state]
        return {**head, "response": None, "error": {"code": code, "message": message}}
    response = {
        "status_code": result.status,
        "request_id": f"req_{ident}",
        "body": result.body,
    }
    return {**head, "response": response, "error": None}
