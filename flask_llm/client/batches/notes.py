"""What a provider's word of a batch changes in its row."""

from __future__ import annotations

from typing import Any

from flask_llm.chat import OVER
from flask_llm.protocols import PROTOCOLS
from flask_llm.protocols.batches import BatchState

_ORDER = ("preparing", "submitted", "running", "cancelling")
"""A batch does not go back: Google says of one that is given up that it runs."""


def changes(row: Any, state: BatchState) -> dict[str, Any]:
    """Return what is to be noted of a batch; what was not said stays as it was."""
    status = state.status
    if status not in OVER and row.status in _ORDER:
        status = max(row.status, status, key=_ORDER.index)
    said = {
        "succeeded": state.succeeded,
        "failed": state.failed,
        "ended_at": state.ended_at if status in OVER else None,
        "error_code": _code(row, state),
    }
    known = {name: value for name, value in said.items() if value is not None}
    return {"status": status, "provider_id": state.provider_id, **known}


def _code(row: Any, state: BatchState) -> str | None:
    """Return why all of it failed, as long as its column is."""
    if state.problem is None:
        return None
    error = PROTOCOLS[row.protocol].error(state.problem)
    return error.code[:64] if error and error.code else None
