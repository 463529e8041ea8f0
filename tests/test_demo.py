"""The demo: its page, its conversation with itself, its choice of providers."""

import json
import os
import re
import time

import pytest
import requests
from flask.cli import run_command
from sqlalchemy import select

from demo_app import create_app
from demo_app.address import own_url
from demo_app.offer import Offer
from flask_llm.emulator import serve
from flask_llm.usage.models import usage

QUESTION = {
    "model": "openai/gpt-6-luna",
    "messages": [{"role": "user", "content": "Good morning"}],
}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in list(os.environ):
        if name == "PORT" or name.startswith("FLASK_"):
            monkeypatch.delenv(name)


@pytest.fixture
def make_demo(tmp_path):
    made = []

    def make(**config):
        database = f"sqlite:///{tmp_path / 'demo.sqlite'}"
        journal = str(tmp_path / "journal.jsonl")
        app = create_app(
            {
                "TESTING": True,
                "LLM_DATABASE_URI": database,
                "LLM_AUTO_MIGRATE": True,
                "LLM_JOURNAL": journal,
                **config,
            }
        )
        made.append(app)
        return app

    yield make
    for app in made:
        app.extensions["llm"].close()


@pytest.fixture
def served(make_demo, monkeypatch):
    """The demo on a real socket, and its address: it calls itself."""
    apps = []

    def forward(environ, start_response):
        return apps[0](environ, start_response)

    with serve(forward) as url:
        monkeypatch.setenv("PORT", url.rpartition(":")[2])
        apps.append(make_demo())
        yield apps[0], url


def read_events(response):
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", response.text)
    return [(name, json.loads(data)) for name, data in found]


def statuses(app):
    with app.extensions["llm"].database.begin() as connection:
        return connection.execute(select(usage.c.status).order_by(usage.c.id)).all()


def eventually(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_page_carries_a_strict_policy(make_demo):
    response = make_demo().test_client().get("/")

    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_page_has_no_inline_script_or_style(make_demo):
    page = make_demo().test_client().get("/").text

    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)


def test_everything_the_page_loads_is_there(make_demo):
    client = make_demo().test_client()
    page = client.get("/").text
    script = client.get("/static/chat.js", buffered=True).text

    paths = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    paths |= {f"/static/{name}" for name in re.findall(r'from "\./(.+?)"', script)}

    assert len(paths) == 6
    found = {client.get(path, buffered=True).status_code for path in paths}
    assert found == {200}


def test_dashboard_is_a_link_away_under_its_own_policy(make_demo):
    client = make_demo().test_client()
    (path,) = re.findall(r'href="([^"]+)">Dashboard<', client.get("/").text)

    answer = client.get(path)

    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "script-src 'none'" in answer.headers["Content-Security-Policy"]


def test_page_says_that_it_is_an_emulator(make_demo):
    page = make_demo().test_client().get("/").text

    assert "This is an emulator." in page
    assert "OPENAI_API_KEY" in page
    assert '<option value="google/gemini-3.8-flash">' in page


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-6-luna",
        "anthropic/claude-haiku-5-5",
        "google/gemini-3.1-flash-lite",
    ],
)
def test_chat_streams_from_the_demo_itself(served, model):
    _, url = served

    response = requests.post(f"{url}/chat", json=QUESTION | {"model": model}, timeout=9)

    *deltas, (last, done) = read_events(response)
    text = "".join(data["text"] for _, data in deltas)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert len(deltas) > 5
    assert last == "done"
    assert done["content"] == text
    assert "Good morning" in text
    assert done["model"] == model
    assert done["usage"]["output_tokens"] > 5
    assert float(done["cost_usd"]) > 0


def test_reader_who_stops_is_written_down_as_cancelled(served):
    app, url = served

    with requests.post(
        f"{url}/chat", json=QUESTION, stream=True, timeout=9
    ) as response:
        next(response.iter_content(1))

    assert eventually(lambda: statuses(app) == [("cancelled",)])


def test_refusal_is_problem_json_with_retry_after(served):
    _, url = served

    body = QUESTION | {"model": "openai/fault-429-300"}
    response = requests.post(f"{url}/chat", json=body, timeout=9)

    assert response.status_code == 429
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Retry-After"] == "300"
    assert "rate limiting" in response.json()["title"]


def test_answer_that_breaks_off_ends_with_the_reason(served):
    _, url = served

    body = QUESTION | {"model": "openai/cut-20"}
    response = requests.post(f"{url}/chat", json=body, timeout=9)

    (first, _), *_, (last, problem) = read_events(response)
    assert (response.status_code, first, last) == (200, "delta", "error")
    assert "broke off" in problem["title"]


def test_second_summary_comes_from_the_cache(served):
    _, url = served

    first = requests.post(f"{url}/summarise", json=QUESTION, timeout=9).json()
    second = requests.post(f"{url}/summarise", json=QUESTION, timeout=9).json()

    assert (first["cached"], second["cached"]) == (False, True)
    assert second["content"] == first["content"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"model": "openai/gpt-6-luna"},
        {"messages": QUESTION["messages"]},
        QUESTION | {"model": "openai/o1-pro"},
        QUESTION | {"model": ["openai/gpt-6-luna"]},
        QUESTION | {"messages": "Hello"},
        QUESTION | {"messages": [{"role": "system", "content": "Obey."}]},
        QUESTION | {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        QUESTION | {"messages": []},
    ],
)
def test_bad_request_is_refused_as_problem_json(make_demo, body):
    response = make_demo().test_client().post("/chat", json=body)

    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"
    assert response.get_json(force=True)["title"]


@pytest.mark.parametrize("group", ["model", "day", "status"])
def test_page_links_to_reports_that_open_from_this_machine(make_demo, group):
    client = make_demo().test_client()
    link = f"/llm/usage?group_by={group}"

    assert f'href="{link}"' in client.get("/").text
    assert client.get(link).get_json()["group_by"] == [group]


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", ""])
def test_reports_stay_closed_from_elsewhere(make_demo, address):
    client = make_demo().test_client()

    response = client.get("/llm/usage", environ_base={"REMOTE_ADDR": address})

    assert response.status_code == 403


@pytest.mark.parametrize(
    ("variable", "provider", "host"),
    [
        ("OPENAI_API_KEY", "openai", "api.openai.com"),
        ("ANTHROPIC_API_KEY", "anthropic", "api.anthropic.com"),
        ("GOOGLE_API_KEY", "google", "generativelanguage.googleapis.com"),
        ("GEMINI_API_KEY", "google", "generativelanguage.googleapis.com"),
    ],
)
def test_key_leads_to_the_real_provider(
    make_demo, monkeypatch, variable, provider, host
):
    monkeypatch.setenv(variable, "sk-real")
    app = make_demo()
    page = app.test_client().get("/").text

    model = app.config["LLM_MODEL"]
    found, _ = app.extensions["llm"].client.providers.resolve(model)
    assert (found.name, found.host, found.keys.next()) == (provider, host, "sk-real")
    assert "This is an emulator." not in page
    assert set(re.findall(r'option value="(\w+)/', page)) == {provider}
    assert "emulator" not in app.blueprints


@pytest.mark.parametrize(
    ("variable", "provider"),
    [("OLLAMA_BASE_URL", "ollama"), ("OPENAI_BASE_URL", "openai")],
)
def test_base_url_leads_to_a_server_of_ones_own(
    make_demo, monkeypatch, variable, provider
):
    def models(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"data": [{"id": "qwen:4b"}]}']

    with serve(models) as url:
        monkeypatch.setenv(variable, f"{url}/v1")
        app = make_demo()
        page = app.test_client().get("/").text

    found, _ = app.extensions["llm"].client.providers.resolve(f"{provider}/qwen:4b")
    assert (found.base_url, found.keys.next()) == (f"{url}/v1", "none")
    assert f'<option value="{provider}/qwen:4b">' in page
    assert "gpt-6" not in page


def test_server_that_is_down_is_named(make_demo, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9/v1")

    page = make_demo().test_client().get("/").text

    assert "No models from ollama." in page


def test_model_of_the_settings_comes_first(make_demo):
    app = make_demo(LLM_MODEL="groq/llama-4")

    page = app.test_client().get("/").text

    assert re.findall(r'option value="(.+?)"', page) == ["groq/llama-4"]
    assert app.config["LLM_MODEL"] == "groq/llama-4"


def test_offer_takes_the_server_before_the_public_models():
    environ = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": "http://proxy/v1/"}

    offer = Offer.read(environ)

    assert offer.hosted == ()
    assert offer.servers == {"openai": "http://proxy/v1"}
    assert offer.rows("unused") == {"openai": {"api_key": "sk-x"}}


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ([], "http://127.0.0.1:5000"),
        (["--port", "8000"], "http://127.0.0.1:8000"),
        (["--host", "0.0.0.0"], "http://127.0.0.1:5000"),
        (["--host", "::", "-p", "81"], "http://[::1]:81"),
    ],
)
def test_flask_run_tells_the_address(arguments, url):
    with run_command.make_context("run", arguments):
        assert own_url() == url


def test_port_tells_the_address_elsewhere(monkeypatch):
    monkeypatch.setenv("PORT", "8000")
    assert own_url() == "http://127.0.0.1:8000"

    monkeypatch.setenv("FLASK_RUN_PORT", "9000")
    assert own_url() == "http://127.0.0.1:9000"
