"""What the routes answer, as JSON schemas of the names that it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask_llm.settings.rules import SCOPES
from flask_llm.usage.reports import Line
from flask_llm.usage.reports.query import GROUPS, TIMES
from flask_llm.usage.reports.requests import NAMES

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
_USD: Schema = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}
_MAYBE_USD: Schema = {"type": ["string", "null"], "pattern": r"^-?\d+(\.\d+)?$"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}


def components() -> dict[str, Schema]:
    """Return the schemas that have a name."""
    return {
        "Line": _line(),
        "Request": _request(),
        "Budget": _budget(),
        "Problem": _problem(),
    }


def _object(fields: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    return {
        "type": "object",
        "properties": dict(fields),
        "required": [name for name in fields if name not in set(optional)],
        "additionalProperties": False,
    }


def _many(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def listing(field: str, name: str) -> Schema:
    """Describe an object with a list of some kind."""
    return _object({field: _many(name)})


def _line() -> Schema:
    """Describe a line: its figures, and the names that it was grouped by."""
    names = dict.fromkeys((*GROUPS, *TIMES), _MAYBE_TEXT)
    figures = {name: _figure(name) for name in Line().to_dict()}
    return _object(names | figures, optional=names)


def _figure(name: str) -> Schema:
    if name.endswith("_usd"):
        return _USD
    if name.endswith("_ms"):
        return _MAYBE_COUNT
    if name.endswith("_share"):
        return {"type": "number", "minimum": 0, "maximum": 1}
    return _COUNT


def usage() -> Schema:
    """Describe a report."""
    return _object(
        {
            "since": _TIME,
            "until": _TIME,
            "tz": TEXT,
            "group_by": {"type": "array", "items": TEXT},
            "source": {"enum": ["rollup", "rows"]},
            "pending": _COUNT,
            "total": {"$ref": "#/components/schemas/Line"},
            "groups": _many("Line"),
            "truncated": {"type": "boolean"},
        }
    )


_TYPES: Mapping[str, Schema] = {
    "id": TEXT,
    "request_id": TEXT,
    "created_at": _TIME,
    "finished_at": _MAYBE_TIME,
    "streamed": {"type": ["boolean", "null"]},
    "tags": {"type": ["object", "null"], "additionalProperties": TEXT},
}


def _request() -> Schema:
    return _object({name: _value(name) for name in NAMES.values()})


def _value(name: str) -> Schema:
    if name in _TYPES:
        return _TYPES[name]
    if name.endswith("_usd"):
        return _MAYBE_USD
    if name.endswith(("_tokens", "_ms")) or name in {"attempts", "error_status"}:
        return _MAYBE_COUNT
    return _MAYBE_TEXT


def page() -> Schema:
    """Describe a page of single calls."""
    return _object({"requests": _many("Request"), "next_cursor": _MAYBE_TEXT})


def _budget() -> Schema:
    subject = _object(
        {
            "subject": _MAYBE_TEXT,
            "period": TEXT,
            **dict.fromkeys(("limit_usd", "spent_usd", "reserved_usd"), _USD),
            "left_usd": _USD,
            "resets_at": _TIME,
        }
    )
    return _object(
        {
            "budget": TEXT,
            "per": {"enum": list(SCOPES)},
            "period": TEXT,
            "limit_usd": _USD,
            "subjects": {"type": "array", "items": subject},
            "truncated": {"type": "boolean"},
        }
    )


def health() -> Schema:
    """Describe how the parts are."""
    provider = _object(
        {
            "name": TEXT,
            "circuit": TEXT,
            "failures_in_a_row": _COUNT,
            "left_alone_seconds": {"type": "number", "minimum": 0},
        }
    )
    return _object(
        {
            "status": {"enum": ["ok", "degraded", "down"]},
            "database": TEXT,
            "redis": _MAYBE_TEXT,
            "journal": TEXT,
            "providers": {"type": "array", "items": provider},
        }
    )


def _problem() -> Schema:
    return {
        "type": "object",
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "parameter": TEXT,
            "code": TEXT,
            "request_id": TEXT,
            "retry_after": {"type": "number"},
        },
        "required": ["type", "title", "status"],
    }
