"""OpenAI's Batch API: files in, a batch, files out."""

from __future__ import annotations

from typing import Any, ClassVar

from flask import request

from flask_llm.emulator.chat_completions import CHAT_COMPLETIONS
from flask_llm.emulator.dialect import (
    Call,
    Dialect,
    Problem,
    RejectedError,
    dumps,
    mapping,
)
from flask_llm.emulator.plan import whole
from flask_llm.emulator.steps import Plan

from .batch import Batch, fault_at
from .desk import Desk, Draft, House
from .openai_files import File, Files
from .openai_input import ENDPOINTS, read_input
from .openai_shapes import items_of, shown
from .pages import after, ends, size

_KNOWN = frozenset(
    {
        "completion_window",
        "endpoint",
        "input_file_id",
        "metadata",
        "output_expires_after",
    }
)
_PAIRS = 16


class FileBatches(Desk):
    """``/v1/files`` and ``/v1/batches``."""

    dialect: ClassVar[Dialect] = CHAT_COMPLETIONS

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._files = Files()

    def reset(self) -> None:
        """Forget the files as well."""
        super().reset()
        self._files.clear()

    def upload(self, call: Call) -> Plan:
        """Keep a file."""
        sent, purpose = request.files.get("file"), request.form.get("purpose")
        if sent is None:
            raise _missing("file")
        if not purpose:
            raise _missing("purpose")
        if purpose != "batch":
            message = f"'{purpose}' is not one of ['batch'] - 'purpose'"
            raise _refused(message, "purpose")
        file = File(
            id=f"file-{self._files.number():024x}",
            owner=self._owner(call),
            name=sent.filename or "file",
            purpose=purpose,
            created=int(self._house.clock()),
            content=sent.read(),
        )
        self._files.put(file)
        return self._told(call, file.shown())

    def file(self, call: Call, ident: str) -> Plan:
        """Tell of a file."""
        return self._told(call, self._file(call, ident).shown())

    def content(self, call: Call, ident: str) -> Plan:
        """Send a file."""
        file = self._file(call, ident)
        fault = None
        if file.batch:
            batch, _ = self._changed(call, file.batch, Batch.fetch)
            fault = fault_at(batch.course.on_results, batch.fetched)
        plan = whole(file.content, "application/octet-stream")
        return self._sent(call, plan, fault)

    def delete_file(self, call: Call, ident: str) -> Plan:
        """Forget a file."""
        if not self._files.remove(self._owner(call), ident):
            raise RejectedError(_no_file(ident))
        return self._told(call, {"id": ident, "object": "file", "deleted": True})

    def create(self, call: Call) -> Plan:
        """Make a batch of a file; one with mistakes in it fails as a whole."""
        self._check_readable(call)
        body = call.body
        _check_create(body, strict=call.strict)
        file = self._files.get(self._owner(call), body["input_file_id"])
        if file is None:
            problem = _no_file(body["input_file_id"])
            raise _refused(str(problem.message), "input_file_id")
        found = read_input(file.content, body["endpoint"])
        kept = {
            "endpoint": body["endpoint"],
            "input_file_id": file.id,
            "completion_window": body["completion_window"],
            "metadata": body.get("metadata"),
            "model": found.model or None,
        }
        draft = Draft(
            prefix="batch_", lines=found.lines, request=kept, errors=found.errors
        )
        return self._submit(call, draft, self._shown)

    def retrieve(self, call: Call, ident: str) -> Plan:
        """Tell how far a batch is."""
        batch, fault = self._poll(call, ident)
        return self._told(call, self._shown(batch), fault)

    def page(self, call: Call) -> Plan:
        """Tell of all batches, the newest first."""
        ident = call.query.get("after")
        rest = after(self._store.of(self._owner(call)), ident)
        if rest is None:
            raise RejectedError(self._no_batch(str(ident)))
        limit = size(call.query.get("limit"), usual=20, most=100)
        if limit is None:
            raise _refused("Invalid 'limit': expected 1 to 100.", "limit")
        data = [self._shown(batch) for batch in rest[:limit]]
        more = len(rest) > limit
        body = {"object": "list", "data": data, "has_more": more, **ends(data)}
        return self._told(call, body)

    def cancel(self, call: Call, ident: str) -> Plan:
        """Begin to cancel: what is not done by now will not be."""
        before, batch = self._cancel(call, ident)
        if before.ended:
            message = f"Cannot cancel a batch with status '{before.state}'."
            raise RejectedError(Problem(status=409, message=message))
        return self._told(call, self._shown(batch))

    def _file(self, call: Call, ident: str) -> File:
        file = self._files.get(self._owner(call), ident)
        if file is None:
            raise RejectedError(_no_file(ident))
        return file

    def _no_batch(self, ident: str) -> Problem:
        message = f"No batch found with id '{ident}'."
        return Problem(status=404, message=message, code="")

    def _shown(self, batch: Batch) -> dict[str, Any]:
        ids: dict[str, str] = {}
        if batch.ended and batch.state != "failed":
            good = [result is not None and result.ok for _, result in batch.lines]
            if any(good):
                ids["output"] = self._written(batch, "output", good=True)
            if not all(good):
                ids["error"] = self._written(batch, "error", good=False)
        return shown(batch, ids.get("output"), ids.get("error"))

    def _written(self, batch: Batch, kind: str, *, good: bool) -> str:
        """Write one of the two files of a batch that has ended; returns its id."""
        ident = f"file-{kind}-{batch.id.removeprefix('batch_')}"

        def write() -> File:
            items = "".join(f"{dumps(item)}\n" for item in items_of(batch, good=good))
            return File(
                id=ident,
                owner=batch.owner,
                name=f"{batch.id}_{kind}.jsonl",
                purpose="batch_output",
                created=batch.ended_at,
                content=items.encode(),
                batch=batch.id,
            )

        self._files.write_once(ident, write)
        return ident


def _check_create(body: dict[str, Any], *, strict: bool) -> None:
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise _missing(name)
    for name in sorted(set(body) - _KNOWN):
        if strict:
            raise _refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    for name, known in (("endpoint", ENDPOINTS), ("completion_window", ["24h"])):
        if body[name] not in known:
            values = ", ".join(f"'{value}'" for value in known)
            message = f"Invalid value: '{body[name]}'. Supported values are: {values}."
            raise _refused(message, name, "invalid_value")
    metadata = body.get("metadata")
    pairs = mapping(metadata)
    if metadata is not None and (
        not isinstance(metadata, dict)
        or len(pairs) > _PAIRS
        or not all(isinstance(value, str) for value in pairs.values())
    ):
        message = f"Invalid 'metadata': expected at most {_PAIRS} pairs of strings."
        raise _refused(message, "metadata", "invalid_type")


def _no_file(ident: str) -> Problem:
    message = f"No such File object: {ident}"
    return Problem(status=404, message=message, param="id", code="")


def _missing(name: str) -> RejectedError:
    message = f"Missing required parameter: '{name}'."
    return _refused(message, name, "missing_required_parameter")


def _refused(
    message: str, param: str | None = None, code: str | None = None
) -> RejectedError:
    return RejectedError(Problem(status=400, message=message, param=param, code=code))
