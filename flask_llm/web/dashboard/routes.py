"""What the dashboard's two routes answer."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, make_response, render_template, request

from flask_llm.errors import LLMError
from flask_llm.state import State
from flask_llm.usage import Scope
from flask_llm.usage.reports import BadQuery
from flask_llm.usage.reports.parameters import one_of
from flask_llm.web.dashboard import drawing
from flask_llm.web.dashboard.charts import read_chart
from flask_llm.web.dashboard.figures import Reader
from flask_llm.web.dashboard.languages import CODES, Language, language
from flask_llm.web.dashboard.page import make_page
from flask_llm.web.dashboard.selection import Selection, read_selection
from flask_llm.web.problem import problem, problem_response

POLICY = (
    "default-src 'self'; script-src 'none'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def show(state: State, scope: Scope) -> Response:
    """Answer with the page; what is wrong with a question is said on a page, too."""
    try:
        selection = _selection(state)
        figures = Reader(state, scope, selection).figures()
    except BadQuery as error:
        return _page("refusal.html", _spoken(), 400, problem=str(error))
    except LLMError as error:
        problem(error)  # which writes the cure of a wrong set-up to the log
        status = error.http_status
        return _page("refusal.html", _spoken(), status, problem=error.title)
    spoken = _spoken()
    page = make_page(figures, selection, spoken, can_draw=drawing.can_draw())
    return _page("dashboard.html", spoken, 200, page=page)


def picture(state: State, scope: Scope, name: str) -> Response:
    """Answer with one chart as SVG.

    :raises BadQuery: where a parameter is wrong.
    """
    selection = _selection(state, "theme", "size")
    themes, sizes = drawing.THEMES, drawing.SIZES
    theme = one_of("theme", request.args.get("theme", "light"), themes)
    size = one_of("size", request.args.get("size", "half"), sizes)
    if not drawing.can_draw():
        return problem_response(
            {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": f"Charts need one more package: {drawing.CURE}",
            }
        )
    reader = Reader(state, scope, selection)
    chart = read_chart(name, reader, selection, _spoken())
    svg = drawing.draw(chart, themes[theme], sizes[size])
    return _guarded(Response(svg, mimetype="image/svg+xml"), drawing.POLICY)


def _selection(state: State, *own: str) -> Selection:
    return read_selection(
        request.args.items(multi=True),
        now=datetime.now(UTC),
        zone=state.settings.timezone,
        own=own,
    )


def _spoken() -> Language:
    """Return the language that was asked for, by the address or by the browser."""
    asked = [request.args.get("lang", ""), *request.accept_languages.values()]
    # By the reader's order; werkzeug's best_match() puts "en" before "uk-UA".
    known = (tag.partition("-")[0].lower() for tag in asked)
    return language(next((code for code in known if code in CODES), CODES[0]))


def _page(template: str, spoken: Language, status: int, **values: object) -> Response:
    text = render_template(f"llm/{template}", t=spoken.text, lang=spoken.code, **values)
    response = make_response(text, status)
    response.headers["Content-Language"] = spoken.code
    response.headers["Referrer-Policy"] = "same-origin"
    response.vary.add("Accept-Language")
    return _guarded(response, POLICY)


def _guarded(response: Response, policy: str) -> Response:
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
