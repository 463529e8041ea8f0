"""What the documentation says is so."""

import re
from pathlib import Path

import pytest
from flask import Flask

import flask_llm
from flask_llm.emulator import Answer
from flask_llm.providers import BUILT_IN
from flask_llm.settings import Settings

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text("utf-8")
CALLING = (ROOT / "docs" / "calling.md").read_text("utf-8")
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
