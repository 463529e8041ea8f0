"""The routes under ``/llm``."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from flask_llm.errors import LLMError
from flask_llm.state import current_state
from flask_llm.usage import EVERYTHING, read_query
from flask_llm.usage.reports import BadQuery
from flask_llm.web.access import refusal
from flask_llm.web.health import health
from flask_llm.web.problem import problem, problem_response

llm_bp = Blueprint("llm", __name__, url_prefix="/llm")
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
    query = read_query(request.args.items(multi=True))
    return jsonify(current_state().reports.run(query, EVERYTHING).to_dict())


@llm_bp.get("/health")
def show_health() -> tuple[Response, int]:
    """Answer how the parts are that calls need."""
    found, status = health(current_state())
    return jsonify(found), status
