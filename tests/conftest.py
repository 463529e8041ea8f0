"""Fixtures for all tests: an app, a provider across a real socket, the rows written."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from engines import postgres_server
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sockets import make_certificate, tls_context
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import OperationalError

from flask_llm import llm_bp
from flask_llm.emulator import Emulator, serve
from flask_llm.usage.models import usage

KEY = "sk-test-0123456789abcdef"

MODELS = {
    "openai": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-haiku-4-5",
    "google": "google/gemini-2.5-flash",
}
"""One model for each wire format."""

SERVICES = {
    "postgres": (
        "LLM_TEST_POSTGRES",
        "postgresql+psycopg://postgres@127.0.0.1:5432/test",
    ),
    "mysql": ("LLM_TEST_MYSQL", "mysql+pymysql://root@127.0.0.1:3306/test"),
    "redis": ("LLM_TEST_REDIS", "redis://127.0.0.1:6379/15"),
}


LEDGER = "llm.sqlite"
"""What the tables of an app are in that says nothing of them."""

ELSEWHERE = {"LLM_AUTO_MIGRATE", "LLM_BIND_KEY", "LLM_DATABASE_URI"}
"""Settings of an app that wants its tables elsewhere, or to make them itself."""

REDIS_DATABASES = 16
"""How many a Redis has that was told nothing else."""


def pytest_configure():
    """Let tests interrupt processes, which a shell forbids those in its background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter):
    """Write down which tests were skipped where ``LLM_TEST_SKIPPED`` says so.

    One a line, to be run as ``pytest @file`` where there is what they lacked.
    """
    if path := os.environ.get("LLM_TEST_SKIPPED"):
        skipped = terminalreporter.stats.get("skipped", [])
        tests = dict.fromkeys(f"{report.nodeid}\n" for report in skipped)
        Path(path).write_text("".join(tests), "utf-8")


@pytest.fixture(autouse=True)
def _no_keys_from_outside(monkeypatch):
    """Keep the developer's own keys and proxies out of the tests."""
    for name in list(os.environ):
        ours = name.endswith(("_API_KEY", "_BASE_URL", "_ENDPOINT", "HF_TOKEN"))
        if ours or name.startswith("LLM_DATABASE"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def _emulator_server():
    emulator = Emulator()
    app = Flask("emulator")
    app.register_blueprint(emulator.blueprint, url_prefix="/emulator")
    with serve(app) as url:
        yield emulator, f"{url}/emulator"


@pytest.fixture
def emulator(_emulator_server):
    """The emulated providers: script answers and faults, look at requests."""
    emulator, _ = _emulator_server
    emulator.reset()
    yield emulator
    emulator.reset()


@pytest.fixture
def provider_rows(request, _emulator_server, emulator):
    """LLM_PROVIDERS that lead to the emulator.

    OpenAI is asked by Responses where that is one of a test's parameters.
    """
    _, url = _emulator_server
    case = getattr(request.node, "callspec", None)
    named = case is not None and "responses" in case.params.values()
    newer = {"protocol": "responses"} if named else {}
    return {
        "openai": {"api_key": KEY, "base_url": f"{url}/v1"} | newer,
        "anthropic": {"api_key": KEY, "base_url": url},
        "google": {"api_key": KEY, "base_url": url},
    }


@pytest.fixture
def models():
    """One model for each wire format."""
    return MODELS


@pytest.fixture(scope="session")
def _empty_tables(tmp_path_factory):
    """A file of empty tables; making them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    app = Flask("empty", instance_path=str(folder))
    app.register_blueprint(llm_bp)
    app.extensions["llm"].database.prepare()
    app.extensions["llm"].close()
    return folder / LEDGER


@pytest.fixture
def make_app(tmp_path, provider_rows, _empty_tables):
    """Make an app that is set up, with settings of the test's own."""
    made = []

    def make(name="app", *, register=True, **config):
        folder = tmp_path / f"{name}{len(made)}"
        app = Flask(name, instance_path=str(folder))
        if not config.keys() & ELSEWHERE:
            folder.mkdir()
            shutil.copy(_empty_tables, folder)
        app.config.update(
            {
                "TESTING": True,
                "SECRET_KEY": "test",
                "LLM_PROVIDERS": provider_rows,
                "LLM_MIN_INTERVAL": 0,
                "LLM_BACKOFF": 0.01,
                "LLM_REPORTS_TOKEN": "letmein",
            }
            | config
        )
        if register:
            app.register_blueprint(llm_bp)
        made.append(app)
        return app

    yield make
    for app in made:
        state = app.extensions.get("llm")
        if state is not None:
            state.close()


@pytest.fixture
def app(make_app):
    """An app that is set up, within its context."""
    app = make_app()
    app.extensions["llm"].database.prepare()  # not on the time of a test's first call
    with app.app_context():
        yield app


@pytest.fixture
def launch(tmp_path):
    """Start ``flask llm …`` of a small app in a process of its own."""
    (tmp_path / "host.py").write_text(
        "from flask import Flask\nfrom flask_llm import llm_bp\n"
        "app = Flask(__name__)\napp.register_blueprint(llm_bp)\n"
    )

    def start(*args, before="", environ=None, **streams):
        code = f"{before}\nfrom flask.cli import main; main()"
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(
            [sys.executable, "-c", code, "--app", "host", "llm", *args],
            cwd=tmp_path,
            env=os.environ | path | (environ or {}),
            **streams,
        )

    return start


@pytest.fixture
def make_host(tmp_path, provider_rows):
    """Make an app with a Flask-SQLAlchemy of its own, whose engine is lent to us."""
    made = []

    def make(uri, **config):
        app = Flask("host", instance_path=str(tmp_path / "instance"))
        app.config.update(
            SQLALCHEMY_DATABASE_URI=uri,
            LLM_BIND_KEY="default",
            LLM_AUTO_MIGRATE=True,
            LLM_PROVIDERS=provider_rows,
            LLM_MIN_INTERVAL=0,
        )
        app.config.update(config)
        db = SQLAlchemy()

        class Note(db.Model):
            id = db.Column(db.Integer, primary_key=True)
            body = db.Column(db.String(50))

        app.register_blueprint(llm_bp)
        db.init_app(app)
        with app.app_context():
            db.create_all()
        made.append((app, db))
        return app, db, Note

    yield make
    for app, db in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
        app.extensions["llm"].close()


@pytest.fixture
def run(app):
    """Type a command of ``flask llm``."""
    return lambda *args: app.test_cli_runner().invoke(args=["llm", *args])


@pytest.fixture
def rows(app):
    """Read the ledger's rows, oldest first."""
    return lambda: read_rows(app)


def read_rows(app):
    """Read the ledger's rows of an app, oldest first."""
    with app.extensions["llm"].database.begin() as connection:
        return connection.execute(
            select(usage).order_by(usage.c.created_at, usage.c.id)
        ).all()


def service(name):
    """Return the address of a service, or skip with the reason where it is absent.

    Under CI an absent service is a failure.
    """
    variable, default = SERVICES[name]
    url = os.environ.get(variable, default)
    problem = _unreachable(url)
    if problem and os.environ.get("CI"):
        pytest.fail(f"{name} at {variable}={url}: {problem}")
    if problem:
        pytest.skip(f"{name} is not reachable at {variable}={url}: {problem}")
    return url


def _unreachable(url):
    if url.startswith("redis"):
        redis = pytest.importorskip("redis")
        try:
            with redis.Redis.from_url(url, socket_timeout=2) as client:
                client.ping()
        except redis.RedisError as error:
            return str(error)
        return None
    try:
        engine = create_engine(url)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (OperationalError, ModuleNotFoundError) as error:
        return str(error)
    engine.dispose()
    return None


@pytest.fixture(scope="session")
def _own_database():
    """Make a database for this test process alone, of any kind, dropped at the end."""
    with contextlib.ExitStack() as made:
        yield functools.cache(lambda name: made.enter_context(_database(service(name))))


@contextlib.contextmanager
def _database(url):
    name = f"llm_test_{os.getpid()}"
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    force = " WITH (FORCE)" if server.dialect.name == "postgresql" else ""
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name}{force}"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}{force}"))
    server.dispose()


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def database_uri(request, tmp_path, _own_database):
    """The address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    url = _own_database(request.param)
    _empty(url)
    return url


def _empty(url):
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    name = engine.url.database
    drop, create = f"DROP DATABASE {name}", f"CREATE DATABASE {name}"
    if engine.dialect.name == "postgresql":
        drop, create = "DROP SCHEMA public CASCADE", "CREATE SCHEMA public"
    with engine.connect() as connection:
        connection.execute(text(drop))
        connection.execute(text(create))
    engine.dispose()


def _worker():
    """Return which of the processes this is that share the tests, if there are more."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="module")
def _cluster():
    """A PostgreSQL of a test module's own."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres(_cluster):
    """A PostgreSQL to be stopped; it is started again for the next test."""
    yield _cluster
    if _cluster.process is None:
        _cluster.start()


@pytest.fixture
def redis_url():
    """The address of a Redis database that is emptied before and after."""
    redis = pytest.importorskip("redis")
    address = urlsplit(service("redis"))
    number = (int(address.path.strip("/") or 15) - _worker()) % REDIS_DATABASES
    url = address._replace(path=f"/{number}").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """The files of a certificate for this machine's address, and of its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def tls(certificate):
    return tls_context(*certificate)
