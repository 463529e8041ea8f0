"""The routes under ``/llm``."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from flask import Blueprint, Response, jsonify, request

from flask_llm.errors import LLMError
from flask_llm.guards.standings import budget_lines, read_budget_query
from flask_llm.state import current_state
from flask_llm.usage import read_query
from flask_llm.usage.reports import LINES_MAX, BadQuery, Line, read_request_query
from flask_llm.usage.reports.csv import csv_lines
from flask_llm.usage.reports.requests import NAMES
from flask_llm.web.access import refusal, scope
from flask_llm.web.dashboard import CHARTS
from flask_llm.web.health import health
from flask_llm.web.openapi import description
from flask_llm.web.problem import problem, problem_response

llm_bp = Blueprint(
    "llm",
    __name__,
    url_prefix="/llm",
    template_folder="templates",
    static_folder="static",
    static_url_path="/dashboard/static",
)
"""Register it on an app, and the app is set up: ``app.register_blueprint(llm_bp)``."""


@llm_bp.before_request
def guard() -> Response | None:
    """Let nobody in who may not see reports."""
    return refusal(current_state())


@llm_bp.after_request
def keep_private(response: Response) -> Response:
    """Keep reports out of every cache on the way."""
    response.headers["Cache-Control"] = "no-store"
    return response


@llm_bp.errorhandler(BadQuery)
def bad_query(error: BadQuery) -> Response:
    """Say which parameter is wrong."""
    return problem_response(
        {
            "type": "about:blank",
            "title": "Bad parameter",
            "status": 400,
            "parameter": error.parameter,
            "detail": str(error),
        }
    )


@llm_bp.errorhandler(LLMError)
def failed(error: LLMError) -> Response:
    """Answer a report that could not be made."""
    return problem(error)


@llm_bp.get("/usage")
def usage() -> Response:
    """Answer what was used and what it cost."""
    state = current_state()
    query = read_query(request.args.items(multi=True))
    return jsonify(state.reports.run(query, scope(state)).to_dict())


@llm_bp.get("/usage.csv")
def usage_csv() -> Response:
    """Answer all groups of a report as CSV; the total where there are none."""
    state = current_state()
    query = read_query(request.args.items(multi=True), limit=LINES_MAX)
    report = state.reports.run(query, scope(state))
    lines = report.groups if query.group_by else (report.total,)
    names = [*query.group_by, *Line().to_dict()]
    return _csv("usage", names, ([line.to_dict()] for line in lines))


@llm_bp.get("/usage/requests")
def usage_requests() -> Response:
    """Answer single calls, newest first, page by page."""
    state = current_state()
    query = read_request_query(request.args.items(multi=True))
    return jsonify(state.requests.page(query, scope(state)).to_dict())


@llm_bp.get("/usage/requests.csv")
def usage_requests_csv() -> Response:
    """Answer single calls as CSV, all of them, read as fast as they are fetched."""
    state = current_state()
    query = read_request_query(request.args.items(multi=True), paged=False)
    batches = state.requests.every(query, scope(state))
    return _csv("requests", NAMES.values(), batches)


@llm_bp.get("/budgets")
def budgets() -> Response:
    """Answer where the budgets stand."""
    state = current_state()
    query = read_budget_query(request.args.items(multi=True))
    lines = budget_lines(state.budgets, state.ledger, query, scope(state))
    return jsonify({"budgets": [line.to_dict() for line in lines]})


@llm_bp.get("/health")
def show_health() -> tuple[Response, int]:
    """Answer how the parts are that calls need."""
    found, status = health(current_state())
    return jsonify(found), status


@llm_bp.get("/dashboard")
def dashboard() -> Response:
    """Answer a page for people."""
    state = current_state()
    answer: Response = _dashboard().show(state, scope(state))
    return answer


@llm_bp.get(f"/dashboard/<any({','.join(CHARTS)}):name>.svg")
def dashboard_picture(name: str) -> Response:
    """Answer a chart of the page."""
    state = current_state()
    answer: Response = _dashboard().picture(state, scope(state), name)
    return answer


@llm_bp.get("/openapi.json")
def openapi() -> Response:
    """Describe the routes for machines."""
    return jsonify(description(request.path.removesuffix("/openapi.json")))


def _dashboard() -> Any:
    """Load the dashboard, which no worker needs before somebody looks."""
    return importlib.import_module("flask_llm.web.dashboard.routes")


def _csv(
    name: str, names: Iterable[str], batches: Iterable[Iterable[Mapping[str, Any]]]
) -> Response:
    """Stream CSV; what fails before the first batch is there still has a status."""
    rest = iter(batches)
    first = next(rest, ())
    response = Response(csv_lines(names, chain([first], rest)), mimetype="text/csv")
    response.headers["Content-Disposition"] = f"attachment; filename=llm-{name}.csv"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
