"""Google's batches of ``generateContent``, inline."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from flask_llm.emulator.dialect import (
    Call,
    Dialect,
    Problem,
    RejectedError,
    dicts,
    mapping,
)
from flask_llm.emulator.generate_content import GENERATE_CONTENT
from flask_llm.emulator.generate_content.request import camel
from flask_llm.emulator.steps import Plan

from .batch import Batch, Result
from .desk import Desk, Draft, Line
from .pages import after, size

_TYPES = "type.googleapis.com/google.ai.generativelanguage.v1main."
_KNOWN = frozenset({"displayName", "inputConfig", "model", "name", "priority"})
_STATES = {
    "new": "PENDING",
    "working": "RUNNING",
    # Cancelling is asynchronous, and Google has no state for the time it takes.
    "cancelling": "RUNNING",
    "completed": "SUCCEEDED",
}
# Numbers of google.rpc.Code, which a Status carries in the place of an HTTP status.
_CODES = {
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}
_NOT_DONE = {
    "expired": (_CODES["DEADLINE_EXCEEDED"], "The batch expired."),
    "cancelled": (_CODES["CANCELLED"], "The batch was cancelled."),
}


class InlineBatches(Desk):
    """``models/{model}:batchGenerateContent`` and ``batches``."""

    dialect: ClassVar[Dialect] = GENERATE_CONTENT

    def create(self, call: Call) -> Plan:
        """Take the requests; each is looked into when it is answered."""
        self._check_readable(call)
        batch = camel(mapping(camel(call.body).get("batch")))
        if call.strict:
            for name in sorted(set(batch) - _KNOWN):
                message = f'Invalid JSON payload received. Unknown name "{name}".'
                raise _refused(f"{message[:-1]} at 'batch': Cannot find field.")
        if not batch.get("displayName"):
            raise _refused("* BatchGenerateContentRequest.batch.display_name: empty\n")
        kept = {"displayName": batch["displayName"], "model": f"models/{call.model}"}
        lines = _lines(call, camel(mapping(batch.get("inputConfig"))))
        draft = Draft(prefix="batches/", lines=lines, request=kept)
        return self._submit(call, draft, _shown)

    def retrieve(self, call: Call, ident: str) -> Plan:
        """Tell how far a batch is, with its results once it has ended."""
        batch, fault = self._poll(call, f"batches/{ident}")
        return self._told(call, _shown(batch), fault)

    def page(self, call: Call) -> Plan:
        """Tell of all batches, the newest first."""
        query = camel(dict(call.query))
        rest = after(self._store.of(self._owner(call)), query.get("pageToken"))
        limit = size(query.get("pageSize"), usual=50, most=1000)
        if rest is None or limit is None:
            raise _refused("Invalid page token." if rest is None else "Bad page size.")
        body: dict[str, Any] = {}
        if rest:
            body["operations"] = [_shown(batch) for batch in rest[:limit]]
        if len(rest) > limit:
            body["nextPageToken"] = rest[limit - 1].id
        return self._told(call, body)

    def cancel(self, call: Call, ident: str) -> Plan:
        """Begin to cancel, as far as that is still possible: no answer tells."""
        self._cancel(call, f"batches/{ident}")
        return self._told(call, {})

    def delete(self, call: Call, ident: str) -> Plan:
        """Forget a batch, ended or not."""
        self._found(call, f"batches/{ident}")
        self._store.remove(f"batches/{ident}")
        return self._told(call, {})

    def _no_batch(self, _ident: str) -> Problem:
        return Problem(status=404)


def _lines(call: Call, config: dict[str, Any]) -> list[Line]:
    requests = camel(mapping(config.get("requests"))).get("requests")
    if not isinstance(requests, list) or dicts(requests) != requests or not requests:
        raise _refused("* BatchGenerateContentRequest.batch.input_config: not set\n")
    lines = []
    for item in dicts(requests):
        if not isinstance(item.get("request"), dict):
            raise _refused("* InlinedRequest.request: not specified\n")
        lines.append(
            Line(
                item.get("metadata"),
                GENERATE_CONTENT,
                call.model,
                item["request"],
                verb="generateContent",
            )
        )
    return lines


def _shown(batch: Batch) -> dict[str, Any]:
    """Write an ``Operation``; what it came to stands in it twice, as at Google."""
    state = f"BATCH_STATE_{_STATES.get(batch.state, batch.state.upper())}"
    end = {"endTime": _time(batch.ended_at)} if batch.ended else {}
    metadata = {
        "@type": f"{_TYPES}GenerateContentBatch",
        **batch.request,
        "createTime": _time(batch.created),
        **end,
        "updateTime": _time(batch.ended_at if batch.ended else batch.created),
        "batchStats": _stats(batch),
        "state": state,
        "name": batch.id,
    }
    shown: dict[str, Any] = {"name": batch.id, "metadata": metadata}
    if not batch.ended:
        return shown
    if batch.state == "failed":
        message = batch.course.message or "The batch could not be validated."
        error = {"code": _CODES["INVALID_ARGUMENT"], "message": message}
        return {**shown, "done": True, "error": error}
    if batch.state == "completed" or batch.course.done is not None:
        items = [_item(batch, key, result) for key, result in batch.lines]
        output = {"inlinedResponses": {"inlinedResponses": items}}
        metadata["output"] = output
        kind = f"{_TYPES}GenerateContentBatchOutput"
        return {**shown, "done": True, "response": {"@type": kind, **output}}
    code, message = _NOT_DONE[batch.state]
    return {**shown, "done": True, "error": {"code": code, "message": message}}


def _stats(batch: Batch) -> dict[str, str]:
    """Count the lines, as text and without zeros, as Google writes 64-bit numbers."""
    done = [result.ok for _, result in batch.lines if result is not None]
    total = len(batch.keys)
    numbers = {
        "requestCount": total,
        "successfulRequestCount": sum(done),
        "failedRequestCount": len(done) - sum(done),
        "pendingRequestCount": 0 if batch.ended else total - len(done),
    }
    return {name: str(number) for name, number in numbers.items() if number}


def _item(batch: Batch, key: object, result: Result | None) -> dict[str, Any]:
    head = {} if key is None else {"metadata": key}
    if result is None:
        code, message = _NOT_DONE[batch.state]
        return {"error": {"code": code, "message": message}, **head}
    if result.ok:
        return {"response": result.body, **head}
    error = mapping(result.body.get("error"))
    code = _CODES.get(str(error.get("status")), _CODES["UNKNOWN"])
    return {"error": {"code": code, "message": str(error.get("message"))}, **head}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _refused(message: str) -> RejectedError:
    return RejectedError(Problem(status=400, message=message))
