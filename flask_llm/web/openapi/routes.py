"""The routes described for machines, from the names that they themselves go by.

OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask_llm.guards.standings import SUBJECTS_MAX
from flask_llm.settings.rules import SCOPES
from flask_llm.usage.reports import LINES_MAX
from flask_llm.usage.reports.parameters import VALUES_MAX
from flask_llm.usage.reports.query import GROUPS, LIMIT_MAX, SORTS, TIMES
from flask_llm.usage.reports.requests import PAGE_MAX
from flask_llm.usage.reports.scope import REQUEST_FILTERS
from flask_llm.web.openapi import schemas
from flask_llm.web.openapi.schemas import TEXT, Schema, components

_WHEN = "An ISO date or time, `7d`, `24h`, `month` or `now`."
_MOMENT: Schema = {
    "anyOf": [
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
        {"type": "string", "pattern": "^[0-9]{1,5}[dh]$"},
        {"enum": ["month", "now"]},
    ]
}
_VALUES: Mapping[str, Schema] = {
    "day": {"type": "string", "format": "date"},
    "hour": {"type": "string", "format": "date-time"},
}


def description(prefix: str) -> dict[str, Any]:
    """Describe all routes that answer data.

    :param prefix: where the blueprint is, as ``/llm``.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flask_llm",
            "version": "1",
            "description": "What calls of language models cost, by whom, for what.",
        },
        "servers": [{"url": prefix}],
        "security": [{"bearer": []}, {"basic": []}],
        "paths": {path: {"get": operation} for path, operation in _operations()},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
            "schemas": components(),
        },
    }


def _operations() -> Iterable[tuple[str, dict[str, Any]]]:
    spans = _spans()
    usage = [
        *spans,
        _listed("group_by", (*GROUPS, *TIMES), "What lines are made for."),
        *_filters((*GROUPS, *TIMES)),
        _single("sort", {"enum": list(SORTS), "default": "cost_usd"}),
    ]
    rows = [*spans, *_filters(REQUEST_FILTERS)]
    cursor = _single("cursor", TEXT, "`next_cursor` of the page before.")
    yield (
        "/usage",
        _get("Totals and groups", [*usage, _limit(100, LIMIT_MAX)], schemas.usage()),
    )
    yield "/usage.csv", _csv("The same as CSV", [*usage, _limit(LINES_MAX, LIMIT_MAX)])
    calls = [*rows, _limit(50, PAGE_MAX), cursor]
    yield "/usage/requests", _get("Single calls, newest first", calls, schemas.page())
    yield "/usage/requests.csv", _csv("All of them as CSV", rows)
    budgets = [
        _repeated("per", {"enum": list(SCOPES)}, "Budgets for each of these."),
        _repeated("subject", TEXT, "Budgets of these alone."),
        _limit(50, SUBJECTS_MAX),
    ]
    yield (
        "/budgets",
        _get("Where budgets stand", budgets, schemas.listing("budgets", "Budget")),
    )
    health = _get("How the parts are that calls need", [], schemas.health())
    health["responses"]["503"] = health["responses"]["200"] | {
        "description": "The database cannot be used."
    }
    yield "/health", health
    yield "/openapi.json", _get("This description", [], {"type": "object"})


# --- Parameters ------------------------------------------------------------------


def _spans() -> list[Schema]:
    return [
        _single("since", {**_MOMENT, "default": "30d"}, _WHEN),
        _single("until", {**_MOMENT, "default": "now"}, f"{_WHEN} It is not included."),
        _single("tz", {**TEXT, "default": "UTC"}, "A time zone, as `Europe/Kyiv`."),
    ]


def _filters(names: Iterable[str]) -> list[Schema]:
    return [
        _repeated(
            name,
            _VALUES.get(name, TEXT),
            "Calls of these alone; empty stands for none.",
        )
        for name in names
    ]


def _limit(default: int, most: int) -> Schema:
    whole = {"type": "integer", "minimum": 1, "maximum": most}
    return _single("limit", whole, f"{default} by default.")


def _single(name: str, schema: Schema, text: str = "") -> dict[str, Any]:
    said = {"description": text} if text else {}
    return {"name": name, "in": "query", "schema": schema} | said


def _repeated(name: str, items: Schema, text: str) -> Schema:
    schema = {"type": "array", "items": items, "maxItems": VALUES_MAX}
    return _single(name, schema, text) | {"style": "form", "explode": True}


def _listed(name: str, words: Iterable[str], text: str) -> Schema:
    schema = {"type": "array", "items": {"enum": list(words)}}
    return _single(name, schema, text) | {"style": "form", "explode": False}


# --- Operations ------------------------------------------------------------------


def _get(title: str, parameters: list[Schema], schema: Schema) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return _operation(title, parameters, content)


def _csv(title: str, parameters: list[Schema]) -> dict[str, Any]:
    return _operation(title, parameters, {"text/csv": {"schema": TEXT}})


def _operation(
    title: str, parameters: list[Schema], content: Mapping[str, Any]
) -> dict[str, Any]:
    problem = {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    problems = {
        "400": "A parameter is wrong; `parameter` names it.",
        "401": "No token, or a wrong one.",
        "403": "Nobody may see the reports, or not this caller.",
        "429": "Too many wrong tokens came from this address.",
        "500": "The set-up of the app is wrong; its log says how.",
        "503": "The database cannot be used.",
    }
    return {
        "summary": title,
        "parameters": parameters,
        "responses": {
            "200": {"description": title, "content": content},
            **{
                status: {"description": text, "content": problem}
                for status, text in problems.items()
            },
        },
    }
