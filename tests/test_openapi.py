"""/llm/openapi.json: what it says of the routes is what they do."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from demo_app import create_app
from flask_llm import llm_bp
from flask_llm.chat import Message, Prompt, Usage
from flask_llm.emulator import serve
from flask_llm.usage import Outcome

LOGIN = {"Authorization": "Bearer letmein"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PATHS = [
    "/usage",
    "/usage.csv",
    "/usage/requests",
    "/usage/requests.csv",
    "/budgets",
    "/health",
    "/openapi.json",
]
PAGES = {"/llm/dashboard"}
"""Routes for people: they answer HTML and what belongs to it."""


def described(app, prefix="/llm"):
    answer = app.test_client().get(f"{prefix}/openapi.json", headers=LOGIN)
    assert answer.status_code == 200
    return answer.json


def test_description_is_valid(app):
    validate(described(app))


def test_description_knows_where_the_blueprint_is(make_app):
    app = make_app(register=False)
    app.register_blueprint(llm_bp, url_prefix="/models")

    assert described(app, "/models")["servers"] == [{"url": "/models"}]


def test_every_route_is_described(app):
    rules = {
        str(rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("llm.")
    }
    paths = {f"/llm{path}" for path in described(app)["paths"]}

    assert {
        rule for rule in rules if not any(rule.startswith(page) for page in PAGES)
    } == paths


def test_description_is_for_those_who_may_see_the_reports(app):
    assert app.test_client().get("/llm/openapi.json").status_code == 401


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The address of the running demo, with some calls in its books."""
    kept = tmp_path_factory.mktemp("demo")
    app = create_app(
        {
            "LLM_DATABASE_URI": f"sqlite:///{kept / 'llm.sqlite'}",
            "LLM_AUTO_MIGRATE": True,
            "LLM_JOURNAL": str(kept / "journal.jsonl"),
            "LLM_REPORTS_TOKEN": "letmein",
            "LLM_BUDGETS": ["$1/day per user", "$200/month"],
        }
    )
    for status in ("ok", "cached", "failed", "refused"):
        write(app.extensions["llm"].ledger, status)
    with serve(app) as url:
        yield url
    app.extensions["llm"].close()


def write(ledger, status):
    asked = Prompt(
        provider="openai",
        model="gpt-6-luna",
        messages=(Message("user", "Hi"),),
        user="ann",
        tags={"page": "1"},
        timeout=30,
    )
    entry = ledger.entry(asked)
    ledger.open(entry)
    used = Usage(input_tokens=10, output_tokens=5) if status == "ok" else None
    nanos = {"ok": 1_500, "cached": 0}.get(status)
    ledger.settle(
        entry, Outcome(status=status, usage=used, cost_nanos=nanos, duration_ms=20)
    )


@pytest.fixture(scope="module")
def schema(demo):
    return schemathesis.openapi.from_url(f"{demo}/llm/openapi.json", headers=LOGIN)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_described(schema, path, mode):
    operation = schema[path]["GET"]
    if mode is GenerationMode.NEGATIVE and not operation.query:
        return  # there is nothing to be wrong
    seen = set()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call_and_validate(headers=LOGIN, checks=CHECKS)
        seen.add(answer.status_code)

    ask()

    assert (200 if mode is GenerationMode.POSITIVE else 400) in seen


def test_every_path_is_asked(schema):
    assert sorted(schema.raw_schema["paths"]) == sorted(PATHS)
