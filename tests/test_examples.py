"""Every Python example of the documentation, run as a reader would run it.

The examples under one heading run one after the other in one namespace, in an app whose
providers are emulated. What only the reader has (a Limiter, a list of texts) is lent by
name. A section that needs a script, or more than running, has a test of its own.
"""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_caching import Cache
from flask_limiter import Limiter
from sqlalchemy import MetaData, create_engine

import flask_llm
from flask_llm import LLM, llm_bp
from flask_llm.testing import SETTINGS, FakeLLM

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MIGRATIONS = ROOT / "migrations"

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)

SHOWN_ELSEWHERE = {
    "README.md#flask_llm": "test_docs.py::test_readme_app_answers",
    "calling.md#Embeddings": "test_docs.py::test_examples_of_embeddings_run",
    "calling.md#Images and files": (
        "test_files.py::test_examples_of_the_documentation_run"
    ),
    "calling.md#Structured answers": (
        "test_docs.py::test_example_of_a_structured_answer_runs"
    ),
    "calling.md#Tools": "test_docs.py::test_examples_of_tools_run",
    "configuration.md#Database": "test_examples.py::test_line_for_env_py_runs",
    "providers.md#A provider in one row": (
        "test_docs.py::test_example_of_a_provider_in_one_row_runs"
    ),
    "providers.md#Pauses": "test_docs.py::test_example_of_a_pause_runs",
    "operations.md#Logs": "test_operations.py::test_example_of_logs_as_json_runs",
    "operations.md#Metrics": (
        "test_operations.py::test_examples_of_metrics_serve_what_calls_cost"
    ),
    "operations.md#Tracing": (
        "test_operations.py::test_example_of_tracing_runs_and_its_names_are_those_in_use"
    ),
    "operations.md#Receivers of your own": (
        "test_operations.py::test_example_of_a_receiver_runs"
    ),
    "operations.md#Access to the reports": (
        "test_operations.py::test_examples_of_access_let_in_whom_they_say"
    ),
    "testing.md#A whole test file": (
        "test_testing.py::test_test_file_of_the_documentation_passes"
    ),
    "testing.md#Batches": "test_docs.py::test_example_of_batches_runs",
    "testing.md#No way out": (
        "test_testing.py::test_test_file_of_the_documentation_passes"
    ),
    "testing.md#Recordings": "test_testing.py::test_recording_of_the_documentation",
    "testing.md#The app of a test": (
        "test_testing.py::test_settings_of_the_documentation_are_those_of_the_package"
    ),
}
"""Sections whose examples a test of their own runs."""


class Section(NamedTuple):
    """The examples under one heading."""

    name: str
    """``page.md#Heading``."""
    examples: list[str]

    @property
    def is_settings(self):
        """Whether it says how an app is set up, and not what is called."""
        return "app.config[" in self.examples[0] or "@llm." in self.examples[0]


def sections(page):
    """Return the sections of a page that hold Python."""
    parts = re.split(r"(?:\A#|^##) (.+)\n", page.read_text("utf-8"), flags=re.MULTILINE)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        found = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if found:
            yield Section(f"{page.name}#{heading}", found)


SECTIONS = {section.name: section for page in PAGES for section in sections(page)}
HERE = [one for one in SECTIONS.values() if one.name not in SHOWN_ELSEWHERE]


def run(section, **names):
    """Run the examples of a section with what is lent to them; return all names."""
    names = {"flask_llm": flask_llm, "__name__": "example"} | names
    for code in section.examples:
        exec(compile(code, section.name, "exec"), names)
    return names


def named(section):
    return section.name


def of_kind(*, settings):
    kind = [section for section in HERE if section.is_settings == settings]
    return pytest.mark.parametrize("section", kind, ids=named)


@pytest.mark.parametrize("name", SHOWN_ELSEWHERE)
def test_section_shown_elsewhere_is_there_and_so_is_its_test(name):
    file, _, function = SHOWN_ELSEWHERE[name].partition("::")

    assert name in SECTIONS
    assert f"def {function}(" in (ROOT / "tests" / file).read_text("utf-8")


@of_kind(settings=False)
def test_examples_of_calls_run(section, app, emulator, tmp_path, monkeypatch):
    (tmp_path / "cat.png").write_bytes(PIXEL)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7\n")
    monkeypatch.chdir(tmp_path)

    names = run(
        section,
        app=app,
        request=SimpleNamespace(json={"messages": [{"role": "user", "content": "Hi"}]}),
        current_user=SimpleNamespace(id="ann"),
        texts=["One.", "Two."],
        FakeLLM=FakeLLM,
        SETTINGS=SETTINGS,
        create_app=summaries,
    )

    assert emulator.requests or "llm" in names


def summaries(settings):
    """Make the app of a reader: it shortens texts."""
    app = Flask("summaries")
    app.config.update(settings)
    app.register_blueprint(llm_bp)

    @app.post("/summarise")
    def summarise():
        return {"summary": flask_llm.complete("Summarise.").text}

    return app


@of_kind(settings=True)
def test_examples_of_settings_set_an_app_up(section, make_app, emulator):
    app, llm = make_app(register=False), LLM()
    calls = [code for code in section.examples if code.startswith("flask_llm.")]
    settings = [code for code in section.examples if code not in calls]

    names = run(
        section._replace(examples=settings),
        app=app,
        llm=llm,
        limiter=Limiter(lambda: "", app=app, storage_uri="memory://"),
        cache=Cache(app, config={"CACHE_TYPE": "SimpleCache"}),
        vault=SimpleNamespace(read=str),
        plan_of=lambda _: SimpleNamespace(dollars_a_day=1),
        current_user=SimpleNamespace(is_authenticated=True, is_admin=True),
        os=SimpleNamespace(environ={"REPORTS_TOKEN": "a-long-secret"}),
        LLM=LLM,
    )
    if "llm" not in app.extensions:
        names["llm"].init_app(app)
    with app.app_context():
        run(section._replace(examples=calls))

    assert app.extensions["llm"].settings.reports_token == "a-long-secret" or not any(
        "REPORTS_TOKEN" in code for code in settings
    )
    assert len(emulator.requests) == len(calls)


def test_line_for_env_py_runs(tmp_path):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    engine = create_engine(f"sqlite:///{tmp_path / 'host.sqlite'}")

    with EnvironmentContext(config, script) as context, engine.connect() as connection:
        run(
            SECTIONS["configuration.md#Database"],
            connection=connection,
            metadata=MetaData(),
        )
        options = context.get_context().opts

    assert options["include_name"]("llm_usage", "table", {}) is False
    assert options["include_name"]("users", "table", {}) is True
