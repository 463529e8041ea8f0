"""The tables: made, taken down, and out of the host's way."""

import contextlib
import logging
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from conftest import read_rows
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

import flask_llm
from flask_llm import ConfigError, llm_bp
from flask_llm.usage import Database
from flask_llm.usage.migrate import directory
from flask_llm.usage.models import (
    REVISION,
    VERSION_TABLE,
    exclude_name,
    include_name,
    metadata,
)

OURS = {*metadata.tables, VERSION_TABLE}

processes = multiprocessing.get_context("fork")

# Flask-Migrate's template asks Flask-SQLAlchemy for its engine the old way first.
pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated")


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Undo what the env.py of Flask-Migrate does to logging."""
    root, loggers = logging.getLogger(), logging.Logger.manager.loggerDict.values()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    for logger in loggers:
        logger.disabled = False


@pytest.fixture
def stranger(database_uri):
    """The database as somebody else sees it."""
    engine = create_engine(database_uri, poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def made(make_app, database_uri):
    """An app over an empty database of each kind."""
    return make_app(LLM_DATABASE_URI=database_uri)


def tables(engine):
    return set(inspect(engine).get_table_names())


def llm_db(app, *arguments, **options):
    return app.test_cli_runner().invoke(args=["llm", "db", *arguments], **options)


def scripts():
    config = Config()
    config.set_main_option("script_location", str(directory()))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


# flask llm db


def test_upgrade_makes_the_tables_and_says_so(made, stranger):
    result = llm_db(made, "upgrade")

    assert result.exit_code == 0
    assert f"at revision {REVISION}" in result.output
    assert tables(stranger) == OURS


def test_upgrade_a_second_time_changes_nothing(made, stranger):
    llm_db(made, "upgrade")

    result = llm_db(made, "upgrade")

    assert (result.exit_code, tables(stranger)) == (0, OURS)


def test_downgrade_takes_the_tables_down(made, stranger):
    llm_db(made, "upgrade")

    result = llm_db(made, "downgrade", "base", "--yes")

    assert result.exit_code == 0
    assert "at revision base" in result.output
    assert tables(stranger) == {VERSION_TABLE}


def test_tables_come_back_after_a_downgrade(made, stranger):
    llm_db(made, "upgrade")
    llm_db(made, "downgrade", "base", "--yes")

    result = llm_db(made, "upgrade")

    assert (result.exit_code, tables(stranger)) == (0, OURS)


def test_rows_survive_an_upgrade_of_what_is_up_to_date(made, emulator):
    llm_db(made, "upgrade")
    with made.app_context():
        flask_llm.complete("Hi")

    llm_db(made, "upgrade")

    assert len(read_rows(made)) == 1


def test_current_says_base_before_and_the_revision_after(made):
    before = llm_db(made, "current").output
    llm_db(made, "upgrade")

    after = llm_db(made, "current").output

    assert (before, after) == ("base (no tables)\n", f"{REVISION}\n")


def test_sql_is_written_out_and_nothing_is_run(made, stranger):
    result = llm_db(made, "sql")

    assert result.exit_code == 0
    assert "CREATE TABLE llm_usage" in result.output
    assert "INSERT INTO llm_alembic_version" in result.output
    assert tables(stranger) == set()


def test_sql_run_by_hand_makes_the_same_tables(made, stranger, emulator):
    statements = [
        line
        for line in llm_db(made, "sql").output.split(";")
        if line.strip() and line.strip() not in {"BEGIN", "COMMIT"}
    ]

    with stranger.begin() as connection:
        [connection.exec_driver_sql(statement) for statement in statements]

    assert llm_db(made, "current").output == f"{REVISION}\n"
    assert differences(stranger) == []
    with made.app_context():
        flask_llm.complete("Hi")
    assert len(read_rows(made)) == 1


@pytest.mark.parametrize(
    "arguments", [["upgrade", "9999"], ["downgrade", "9999", "--yes"], ["sql", "9999"]]
)
def test_unknown_revision_is_one_line_and_no_traceback(make_app, arguments):
    app = make_app()
    llm_db(app, "upgrade")

    result = llm_db(app, *arguments)

    assert result.exit_code == 1
    assert "9999" in result.output
    assert "Traceback" not in result.output


def test_command_of_an_app_that_lacks_the_set_up_says_so(monkeypatch):
    app = Flask("bare")
    app.cli.add_command(flask_llm.extension.llm_cli)

    result = llm_db(app, "current")

    assert result.exit_code == 1
    assert "register_blueprint" in result.output


# The scripts


def test_upgraded_tables_equal_the_models(made, stranger):
    llm_db(made, "upgrade")

    assert differences(stranger) == []


def differences(engine):
    options = {
        "include_name": include_name,
        "version_table": VERSION_TABLE,
        "compare_type": True,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, metadata)


def test_upgraded_tables_have_the_indexes_that_the_models_name(made, stranger):
    llm_db(made, "upgrade")

    found = {index["name"] for index in inspect(stranger).get_indexes("llm_usage")}

    assert found == {index.name for index in metadata.tables["llm_usage"].indexes}


def test_revision_is_alembics_head_and_the_only_one():
    assert scripts().get_heads() == [REVISION]


def test_every_script_can_be_taken_back():
    assert all(script.module.downgrade for script in scripts().walk_revisions())


def test_every_table_has_our_prefix():
    assert all(name.startswith("llm_") for name in OURS)


def test_environment_works_from_the_repository_too(tmp_path, database_uri, stranger):
    config = Config(str(directory() / "alembic.ini"))
    config.set_main_option("sqlalchemy.url", database_uri)

    flask_migrate.command.upgrade(config, "head")

    assert tables(stranger) == OURS


# At the same time


def test_two_processes_that_upgrade_at_once_both_succeed(database_uri, stranger):
    start = processes.Barrier(2)

    def work():
        database = Database(database_uri, auto_migrate=True)
        start.wait(30)
        database.prepare()
        os._exit(0 if database.revision() == REVISION else 1)

    children = [processes.Process(target=work) for _ in range(2)]
    [child.start() for child in children]
    [child.join(30) for child in children]

    assert [child.exitcode for child in children] == [0, 0]
    assert differences(stranger) == []


def test_process_that_upgraded_does_not_keep_the_next_one_waiting(
    database_uri, stranger
):
    first = Database(database_uri, auto_migrate=True)
    second = Database(database_uri, auto_migrate=True)
    first.prepare()
    waiter = threading.Thread(
        target=second.migrations().upgrade, args=(second.engine,), daemon=True
    )

    waiter.start()
    waiter.join(10)

    assert not waiter.is_alive()
    first.close()
    second.close()


def test_lock_is_given_back_where_an_upgrade_fails(database_uri):
    first = Database(database_uri)
    second = Database(database_uri, auto_migrate=True)
    with pytest.raises(ConfigError):
        first.migrations().upgrade(first.engine, "9999")
    waiter = threading.Thread(target=second.prepare, daemon=True)

    waiter.start()
    waiter.join(10)

    assert not waiter.is_alive()
    assert second.revision() == REVISION
    first.close()
    second.close()


def test_threads_that_find_no_tables_make_them_once(make_app, database_uri, emulator):
    app = make_app(LLM_DATABASE_URI=database_uri, LLM_AUTO_MIGRATE=True)

    def call(number):
        with app.app_context():
            return flask_llm.complete(f"Hi {number}").request_id

    with ThreadPoolExecutor(8) as pool:
        answered = set(pool.map(call, range(8)))

    assert {row.request_id for row in read_rows(app)} == answered


def test_apps_that_migrate_in_threads_do_not_mix_up_their_databases(tmp_path):
    databases = [
        Database(f"sqlite:///{tmp_path}/{number}.sqlite", auto_migrate=True)
        for number in range(8)
    ]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Database.prepare, databases))

    assert [database.revision() for database in databases] == [REVISION] * 8
    [database.close() for database in databases]


# Before the tables are there


@pytest.mark.parametrize("ask", [flask_llm.complete, flask_llm.stream])
def test_missing_tables_are_told_before_any_provider_is_asked(made, emulator, ask):
    with made.app_context(), pytest.raises(ConfigError) as caught:
        ask("Hi")

    assert "flask llm db upgrade" in str(caught.value)
    assert caught.value.code == "not_migrated"
    assert emulator.requests == []


def test_tables_of_another_version_are_told_too(made, stranger, emulator):
    llm_db(made, "upgrade")
    with stranger.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0000'"))

    with made.app_context(), pytest.raises(ConfigError, match="at revision 0000"):
        flask_llm.complete("Hi")

    assert emulator.requests == []


def test_upgrade_is_noticed_without_a_restart(made, emulator):
    with made.app_context(), contextlib.suppress(ConfigError):
        flask_llm.complete("Hi")
    llm_db(made, "upgrade")

    with made.app_context():
        flask_llm.complete("Hi")

    assert len(read_rows(made)) == 1


def test_default_file_migrates_itself(make_app, emulator):
    app = make_app()

    with app.app_context():
        flask_llm.complete("Hi")

    assert Path(app.instance_path, "llm.sqlite").exists()
    assert llm_db(app, "current").output == f"{REVISION}\n"


def test_default_file_does_not_migrate_itself_where_that_is_unwanted(make_app):
    app = make_app(LLM_AUTO_MIGRATE=False)

    with app.app_context(), pytest.raises(ConfigError, match="flask llm db upgrade"):
        flask_llm.complete("Hi")


def test_apps_in_one_process_have_tables_of_their_own(make_app, emulator):
    first, second = make_app("first"), make_app("second")

    with first.app_context():
        flask_llm.complete("Hi")

    assert len(read_rows(first)) == 1
    assert read_rows(second) == []


# The names that are ours


@pytest.mark.parametrize(
    ("name", "type_", "ours"),
    [
        ("llm_usage", "table", True),
        ("llm_alembic_version", "table", True),
        ("llm_conversations", "table", False),
        ("alembic_version", "table", False),
        ("note", "table", False),
        (None, "schema", None),
        ("llm_usage", "column", None),
        ("ix_llm_usage_created_at", "index", None),
    ],
)
def test_only_our_tables_are_ours(name, type_, ours):
    seen = (include_name(name, type_, {}), exclude_name(name, type_, {}))

    assert seen == ((True, True) if ours is None else (ours, not ours))


# A host with Flask-Migrate on the same database


class Host:
    """An app with models and migrations of its own beside ours."""

    def __init__(self, folder, uri, order, **options):
        self.directory = str(folder / "host_migrations")
        self.db = SQLAlchemy()
        self.app = Flask("host", instance_path=str(folder / "instance"))
        self.app.config.update(
            SQLALCHEMY_DATABASE_URI=uri, LLM_BIND_KEY="default", LLM_AUTO_MIGRATE=None
        )
        self.migrate = Migrate(directory=self.directory, **options)
        {"before": self._before, "after": self._after, "late": self._late}[order]()

    def _before(self):
        self.app.register_blueprint(llm_bp)
        self._own()

    def _after(self):
        self._own()
        self.app.register_blueprint(llm_bp)

    def _late(self):
        """Run once before Migrate is there, as factories that seed tables do."""
        self.app.register_blueprint(llm_bp)
        with self.app.app_context():
            pass
        self._own()

    def _own(self):
        self.db.init_app(self.app)
        self.migrate.init_app(self.app, self.db)

    def model(self, name):
        db = self.db
        columns = {"__tablename__": name, "id": db.Column(db.Integer, primary_key=True)}
        return type(name, (db.Model,), columns)

    def flask(self, *arguments):
        result = self.app.test_cli_runner().invoke(args=arguments)
        # Its env.py leaves this behind, which is for one command and process only.
        arguments = self.app.extensions["migrate"].configure_args
        arguments.pop("process_revision_directives", None)
        return result

    def revision(self, message):
        """Autogenerate a migration and return its text."""
        with self.app.app_context():
            script = flask_migrate.command.revision(
                self.migrate.get_config(self.directory), message, autogenerate=True
            )
        return Path(script.path).read_text()

    def tables(self):
        with self.app.app_context():
            return tables(self.db.engine)

    def close(self):
        self.app.extensions["llm"].close()
        with self.app.app_context():
            self.db.engine.dispose()


@pytest.fixture
def make_host(tmp_path, database_uri):
    made = []

    def make(order, **options):
        host = Host(tmp_path, database_uri, order, **options)
        made.append(host)
        return host

    yield make
    [host.close() for host in made]


each_order = pytest.mark.parametrize("order", ["before", "after", "late"])


@each_order
def test_hosts_autogenerate_neither_drops_nor_sees_our_tables(make_host, order):
    host = make_host(order)
    host.model("note")
    assert host.flask("llm", "db", "upgrade").exit_code == 0
    assert host.flask("db", "init").exit_code == 0

    script = host.revision("first")

    assert "create_table('note'" in script
    assert "llm_" not in script


@each_order
def test_hosts_upgrade_and_check_are_unaffected(make_host, order):
    host = make_host(order)
    host.model("note")
    host.flask("llm", "db", "upgrade")
    host.flask("db", "init")
    host.flask("db", "migrate")

    upgraded = host.flask("db", "upgrade")
    checked = host.flask("db", "check")

    assert (upgraded.exit_code, checked.exit_code) == (0, 0), checked.output
    assert host.tables() == {*OURS, "note", "alembic_version"}


def test_our_upgrade_and_downgrade_leave_the_hosts_tables_alone(make_host):
    host = make_host("before")
    host.model("note")
    host.flask("db", "init")
    host.flask("db", "migrate")
    host.flask("db", "upgrade")

    up = host.flask("llm", "db", "upgrade")
    down = host.flask("llm", "db", "downgrade", "base", "--yes")

    assert (up.exit_code, down.exit_code) == (0, 0)
    assert host.tables() == {"note", "alembic_version", VERSION_TABLE}
    assert host.flask("db", "check").exit_code == 0


def test_host_may_have_a_table_with_our_prefix(make_host):
    host = make_host("before")
    host.model("llm_conversations")
    host.flask("llm", "db", "upgrade")
    host.flask("db", "init")
    host.flask("db", "migrate")
    host.flask("db", "upgrade")

    checked = host.flask("db", "check")

    assert checked.exit_code == 0, checked.output
    assert "llm_conversations" in host.tables()


@each_order
def test_hosts_own_include_name_still_works(make_host, order):
    seen = []

    def include(name, type_, parents):
        seen.append(name)
        return name != "legacy"

    host = make_host(order, include_name=include)
    host.flask("llm", "db", "upgrade")
    host.flask("db", "init")
    with host.app.app_context(), host.db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE legacy (id INTEGER)"))
        connection.execute(text("CREATE TABLE stale (id INTEGER)"))

    script = host.revision("first")

    assert "drop_table('stale')" in script
    assert "legacy" not in script
    assert "llm_" not in script
    assert "stale" in seen


def test_apps_that_share_one_migrate_each_keep_our_tables_out(tmp_path):
    migrate = Migrate()
    hosts = [
        Host(tmp_path / name, f"sqlite:///{tmp_path}/{name}.sqlite", "before")
        for name in ("first", "second")
    ]
    [migrate.init_app(host.app, host.db, directory=host.directory) for host in hosts]
    [(tmp_path / name).mkdir() for name in ("first", "second")]

    [host.flask("llm", "db", "upgrade") for host in hosts]
    [host.flask("db", "init") for host in hosts]
    scripts = [host.revision("first") for host in hosts]

    assert "llm_" not in "".join(scripts)
    [host.close() for host in hosts]
