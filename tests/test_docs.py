"""What the documentation says is so."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from flask import Flask

import flask_llm
from flask_llm.chat import Message, Prompt
from flask_llm.chat.prompt import EFFORTS
from flask_llm.emulator import Answer, Fault
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import BUILT_IN, Quirks
from flask_llm.settings import Settings
from flask_llm.usage.reports.query import GROUPS
from flask_llm.web.dashboard.selection import PARAMETERS

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text("utf-8")
CALLING = (ROOT / "docs" / "calling.md").read_text("utf-8")
PROVIDERS = (ROOT / "docs" / "providers.md").read_text("utf-8")
REPORTS = (ROOT / "docs" / "reports.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def test_configuration_lists_every_setting_with_its_default_and_meaning():
    expected = [
        f"| `{key}` | `{value!r}` | {doc} |" for key, value, doc in _described()
    ]

    listed = re.findall(r"^\| `LLM_.*\|$", CONFIGURATION, re.MULTILINE)

    assert listed == expected


def _described():
    return Settings.describe()


@pytest.mark.parametrize("provider", BUILT_IN, ids=lambda provider: provider.name)
def test_configuration_lists_every_provider_with_its_variables(provider):
    section = CONFIGURATION.partition("## Keys and addresses")[2]
    (line,) = [
        line for line in section.splitlines() if f"`{provider.name}`" in line[:30]
    ]

    assert all(f"`{name}`" in line for name in provider.key_names + provider.url_names)


def test_table_of_providers_is_that_of_the_package():
    table = PROVIDERS.partition("\n## ")[0]
    listed = [line for line in table.splitlines() if line.startswith("| `")]

    assert listed == [*map(_line, BUILT_IN)]


def _line(row):
    names = [row.protocol, *(["responses"] if row.mixed else [])]
    quirks = [
        f"{entry.name}={value!r}"
        for entry in fields(Quirks)
        if (value := getattr(row.quirks, entry.name)) != entry.default
    ]
    cells = [[row.name], names, row.key_names, [row.base_url], quirks]
    shown = (", ".join(f"`{word}`" for word in cell if word) for cell in cells)
    return " | ".join(["", *shown, ""]).strip().replace("|  |", "| |")


def test_every_quirk_is_listed_with_its_default():
    listed = re.findall(
        r"^\| `(\w+)` \| `(.*?)` \|", PROVIDERS.partition("## Quirks")[2], re.MULTILINE
    )

    assert listed == [(entry.name, repr(entry.default)) for entry in fields(Quirks)]


@pytest.mark.parametrize("effort", EFFORTS)
def test_table_of_efforts_is_that_of_the_package(effort):
    cells = _cells(effort)

    for model, cell in zip(BY_EFFORT, cells, strict=True):
        told = _told(model, effort)
        assert told in cell, (model, told, cell)


BY_EFFORT = [
    "anthropic/claude-haiku-4-5",
    "anthropic/claude-opus-4-8",
    "google/gemini-2.5-flash",
    "google/gemini-3.8-flash",
]


def _cells(effort):
    section = PROVIDERS.partition("`reasoning` at Anthropic and Google:")[2]
    (line,) = [
        line
        for line in section.partition("##")[0].splitlines()
        if f"`{effort}`" in line.split("|", 2)[:2][-1]
    ]
    return line.strip("| ").split("|")[1:]


def _told(model, effort):
    """Return what is sent for an effort, in the words of the table."""
    name, _, rest = model.partition("/")
    (row,) = [row for row in BUILT_IN if row.name == name]
    prompt = Prompt(
        provider=name,
        model=rest,
        messages=(Message("user", "Hi"),),
        reasoning=effort,
        max_tokens=64_000,
    )
    body = PROTOCOLS[row.protocol].render(prompt, row, stream=False).body
    thinking = body.get("thinking") or body["generationConfig"]["thinkingConfig"]
    budget = thinking.get("budget_tokens", thinking.get("thinkingBudget"))
    if budget is not None:
        return f"budget {budget}"
    said = body.get("output_config", {}).get("effort")
    said = None if effort in {"xhigh", "max"} else said
    return said or thinking.get("thinkingLevel") or thinking["type"]


def test_example_of_a_pause_runs(app, emulator):
    emulator.script(
        Answer(text="Once ", finish_reason="pause"),
        Answer(text="upon ", finish_reason="pause"),
        Answer(text="a time."),
    )
    code = PROVIDERS.partition("## Pauses")[2].partition("```python\n")[2]
    names = {"flask_llm": flask_llm}

    exec(code.partition("```")[0], names)

    assert names["story"] == "Once upon a time."


def test_example_of_a_provider_in_one_row_runs(provider_rows, tmp_path, capsys):
    code = PROVIDERS.partition("## A provider in one row")[2]
    code = code.partition("```python\n")[2].partition("```")[0]
    code = code.replace("http://10.0.0.5:8000/v1", provider_rows["openai"]["base_url"])
    app = Flask("docs", instance_path=str(tmp_path))
    names = {"app": app, "flask_llm": flask_llm, "llm_bp": flask_llm.llm_bp}

    exec(code, names)
    app.extensions["llm"].close()

    assert capsys.readouterr().out == "house stop\n"


def test_readme_app_answers(emulator, provider_rows, tmp_path, monkeypatch):
    code = README.partition("```python\n")[2].partition("```")[0]
    row = provider_rows["openai"]
    monkeypatch.setenv("OPENAI_API_KEY", row["api_key"])
    monkeypatch.setenv("OPENAI_BASE_URL", row["base_url"])
    monkeypatch.setattr(Flask, "auto_find_instance_path", lambda _app: str(tmp_path))
    names = {"__name__": "readme"}

    exec(code, names)
    response = names["app"].test_client().post("/summarise", json={"text": "Flask."})
    names["app"].extensions["llm"].close()

    assert response.status_code == 200, response.text
    assert "Flask." in response.json["summary"]
    assert response.json["cost_usd"].startswith("0.0000")


def test_examples_of_embeddings_run(app, emulator, capsys):
    section = CALLING.partition("## Embeddings\n")[2].partition("\n## ")[0]
    examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names = {"flask_llm": flask_llm}

    for example in examples:
        exec(example, names)

    assert capsys.readouterr().out.startswith("256 array('f'")
    assert len(emulator.requests) == len(examples) == 3
    assert names["best"] in {0, 1}


def test_readme_is_ten_lines_of_app():
    code = README.partition("```python\n")[2].partition("```")[0]

    assert len([line for line in code.splitlines() if line.strip()]) <= 10


CALLING = (ROOT / "docs" / "calling.md").read_text("utf-8")


def examples(heading):
    """Return the examples under a heading, one after the other as they are read."""
    section = CALLING.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def run_examples(heading):
    names = {"flask_llm": flask_llm, "__name__": "docs"}
    for code in examples(heading):
        exec(code, names)
    return names


def test_example_of_a_structured_answer_runs(app, emulator, capsys):
    emulator.script(Answer(text='{"mood": "happy", "stars": 4}'))

    run_examples("Structured answers")

    assert capsys.readouterr().out == "happy 4\n"


def test_examples_of_tools_run(app, emulator, capsys):
    forecast = {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}
    payment = {"name": "pay", "arguments": {"amount": 20, "to": "Ann"}}
    emulator.script(
        Answer(tool_calls=[forecast]),
        Answer(text="Sunny."),
        Answer(tool_calls=[payment]),
        Answer(text="The owner has to agree."),
        Answer(tool_calls=[forecast]),
        Answer(text="Sunny indeed."),
    )

    names = run_examples("Tools")

    assert capsys.readouterr().out.startswith("Sunny. 0.0000")
    sent = [str(arrival.body) for arrival in emulator.requests]
    assert "sunny" in sent[1]
    assert "Too much: ask the owner." in sent[3]
    assert names["answer"].text == "Sunny indeed."


def test_example_of_batches_runs(capsys):
    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    section = page.partition("## Batches\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names = {}

    exec(example, names)

    assert capsys.readouterr().out.startswith("OPENAI_BASE_URL=http://127.0.0.1:")
    control = names["providers"].test_client().get("/control")
    assert control.json["scripted"] == 3


def test_examples_of_estimates_run(app, emulator, capsys):
    emulator.script(Answer(usage={"input_tokens": 1000}))

    run_examples("What will it cost?")

    bound, exact = capsys.readouterr().out.splitlines()
    assert bound.startswith("bound ")
    assert " 300 0.000" in bound
    assert exact == "provider 0.00125"  # at most: it may all be written to a cache
    (request,) = emulator.requests
    assert request.path.endswith("/count_tokens")


def test_example_of_prompt_caching_runs(app, emulator, capsys):
    kept = {"input_tokens": 3000}
    emulator.script(
        Answer(usage=kept | {"cache_write_tokens": 2900}),
        Answer(usage=kept | {"cache_read_tokens": 2900}),
    )

    run_examples("The providers' own prompt caches")

    assert capsys.readouterr().out == "2900 0\n0 2900\n"
    marked = [
        arrival.body["system"][0]["cache_control"] for arrival in emulator.requests
    ]
    assert marked == [{"type": "ephemeral", "ttl": "1h"}] * 2


def test_examples_of_batches_run(app, emulator, capsys):
    usage = {"input_tokens": 1000, "output_tokens": 100}
    emulator.script(Answer(text="In short: …", usage=usage), Fault(status=500))

    names = run_examples("Batches")

    begun, answer, failed = capsys.readouterr().out.splitlines()
    assert begun == f"{names['batch'].id} submitted"
    assert answer.startswith("In short: … 0.00")
    assert failed.startswith("failed: The provider answered 500")


def test_addresses_of_the_dashboard_are_answered(app):
    section = REPORTS.partition("## Dashboard\n")[2].partition("\n## ")[0]
    addresses = re.findall(r"`(/llm/dashboard[^`]*)`", section)
    headers = {"Authorization": "Bearer letmein"}

    found = [
        app.test_client().get(address, headers=headers).status_code
        for address in addresses
    ]

    assert found == [200, 200]


def test_parameters_of_the_dashboard_are_those_it_takes():
    section = REPORTS.partition("## Dashboard\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.*?) \| .*\|$", section, re.MULTILINE)
    listed = {name for line in lines for name in re.findall(r"`(\w+)`", line)}

    assert listed == {*PARAMETERS, *GROUPS}


@pytest.mark.parametrize("name", ["dashboard", "dashboard-phone"])
def test_pictures_are_there_and_small(name):
    picture = ROOT / "docs" / "images" / f"{name}.png"

    assert f"images/{name}.png" in REPORTS
    assert 0 < picture.stat().st_size < 150_000
