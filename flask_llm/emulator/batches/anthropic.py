"""Anthropic's Message Batches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import request

from flask_llm.emulator.dialect import (
    Call,
    Dialect,
    Problem,
    RejectedError,
    dicts,
    mapping,
)
from flask_llm.emulator.messages import MESSAGES
from flask_llm.emulator.messages.request import check_version
from flask_llm.emulator.steps import Plan

from .batch import Batch, Result
from .course import BatchCourse
from .desk import Desk, Draft, Line
from .pages import after, ends, size

_DAY_SECONDS = 86_400
_MOST = 100_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_DONE = {"cancelled": "canceled", "cancelling": "canceled", "expired": "expired"}
_KINDS = ("succeeded", "errored", "canceled", "expired")


class MessageBatches(Desk):
    """``/v1/messages/batches``."""

    dialect: ClassVar[Dialect] = MESSAGES

    def create(self, call: Call) -> Plan:
        """Take the requests; each is looked into when it is answered."""
        check_version(call)
        self._check_readable(call)
        draft = Draft(prefix="msgbatch_", lines=_lines(call), request={})
        return self._submit(call, draft, _shown)

    def retrieve(self, call: Call, ident: str) -> Plan:
        """Tell how far a batch is."""
        check_version(call)
        batch, fault = self._poll(call, ident)
        return self._told(call, _shown(batch), fault)

    def page(self, call: Call) -> Plan:
        """Tell of all batches, the newest first."""
        check_version(call)
        batches = self._store.of(self._owner(call))
        before = call.query.get("before_id")
        if before:
            rest = after(batches[::-1], before)
            rest = None if rest is None else rest[::-1]
        else:
            rest = after(batches, call.query.get("after_id"))
        limit = size(call.query.get("limit"), usual=20, most=1000)
        if rest is None or limit is None:
            name = "limit" if limit is None else "before_id" if before else "after_id"
            raise _refused(f"{name}: Input should be valid")
        chosen = rest[-limit:] if before else rest[:limit]
        data = [_shown(batch) for batch in chosen]
        more = len(rest) > limit
        return self._told(call, {"data": data, "has_more": more, **ends(data)})

    def cancel(self, call: Call, ident: str) -> Plan:
        """Begin to cancel: what is not done by now will not be."""
        check_version(call)
        before, batch = self._cancel(call, ident)
        if before.ended:
            raise _refused(f"Batch {ident} cannot be canceled: it has ended.")
        return self._told(call, _shown(batch))

    def delete(self, call: Call, ident: str) -> Plan:
        """Forget a batch that has ended."""
        check_version(call)
        if not self._found(call, ident).ended:
            raise _refused(f"Batch {ident} cannot be deleted: it has not ended.")
        self._store.remove(ident)
        return self._told(call, {"id": ident, "type": "message_batch_deleted"})

    def results(self, call: Call, ident: str) -> Plan:
        """Send the results, the last request's first."""
        check_version(call)
        batch, fault = self._fetch(call, ident)
        if not batch.ended:
            message = f"Batch {ident} has no results yet: it has not ended."
            raise RejectedError(Problem(status=404, message=message))
        items = [
            {"custom_id": key, "result": _outcome(batch, result)}
            for key, result in reversed(batch.lines)
        ]
        return self._lines_told(call, items, fault)

    def _results(
        self, call: Call, lines: Sequence[Line], course: BatchCourse, serial: int
    ) -> list[Result]:
        if course.outcome != "failed":
            return super()._results(call, lines, course, serial)
        problem = Problem(status=500, message=course.message)
        return [Result(*MESSAGES.error(call.serial, problem)) for _ in lines]

    def _no_batch(self, ident: str) -> Problem:
        return Problem(status=404, message=f"Batch {ident} not found")


def _lines(call: Call) -> list[Line]:
    given = call.body.get("requests")
    if call.strict:
        for name in sorted(set(call.body) - {"requests"}):
            raise _refused(f"{name}: Extra inputs are not permitted")
    if not isinstance(given, list) or dicts(given) != given or not given:
        raise _refused("requests: Input should be a non-empty list of objects")
    if len(given) > _MOST:
        raise _refused(f"requests: List should have at most {_MOST} items")
    seen: set[str] = set()
    lines = []
    for place, item in enumerate(dicts(given)):
        key, params = item.get("custom_id"), item.get("params")
        if not isinstance(key, str) or not _CUSTOM_ID.fullmatch(key):
            raise _refused(
                f"requests.{place}.custom_id: String should match pattern "
                "'^[a-zA-Z0-9_-]{1,64}$'"
            )
        if key in seen:
            raise _refused(f"requests.{place}.custom_id: {key} is not unique")
        if not isinstance(params, dict):
            raise _refused(f"requests.{place}.params: Field required")
        seen.add(key)
        lines.append(Line(key, MESSAGES, str(params.get("model") or ""), params))
    return lines


def _shown(batch: Batch) -> dict[str, Any]:
    cancelled = batch.stopped_at is not None or batch.state == "cancelled"
    status = "canceling" if batch.state == "cancelling" else "in_progress"
    url = f"{request.url_root.rstrip('/')}{_collection()}/{batch.id}/results"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if batch.ended else status,
        "request_counts": _counts(batch),
        "created_at": _time(batch.created),
        "expires_at": _time(batch.created + _DAY_SECONDS),
        "ended_at": _time(batch.ended_at) if batch.ended else None,
        "cancel_initiated_at": _time(batch.ended_at) if cancelled else None,
        "archived_at": None,
        "results_url": url if batch.ended else None,
    }


def _collection() -> str:
    """Find the path of all batches, below whatever prefix this one was asked at."""
    head, path, _ = request.path.partition("/v1/messages/batches")
    return head + path


def _counts(batch: Batch) -> dict[str, int]:
    """Count results by their type: nothing is counted before all has ended."""
    if not batch.ended:
        return {"processing": len(batch.keys), **dict.fromkeys(_KINDS, 0)}
    found = Counter(_kind(batch, result) for _, result in batch.lines)
    return {"processing": 0, **{kind: found[kind] for kind in _KINDS}}


def _kind(batch: Batch, result: Result | None) -> str:
    if result is None:
        return _NOT_DONE[batch.state]
    return "succeeded" if result.ok else "errored"


def _outcome(batch: Batch, result: Result | None) -> dict[str, Any]:
    kind = _kind(batch, result)
    if result is None:
        return {"type": kind}
    if not result.ok:
        return {"type": kind, "error": result.body}
    message = dict(result.body)
    if "usage" in message:
        message["usage"] = {**mapping(message["usage"]), "service_tier": "batch"}
    return {"type": kind, "message": message}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _refused(message: str) -> RejectedError:
    return RejectedError(Problem(status=400, message=message))
