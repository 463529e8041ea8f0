"""An app of which the connections, or the locks, are all taken."""

from database_faults.house import (
    BUDGET,
    ask,
    assert_all_is_counted,
    each_budget,
    each_way,
    ledger_of,
)
from flask_llm.emulator import Answer

ONE_CONNECTION = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}


@each_way
@each_budget
def test_host_that_holds_its_only_connection_is_in_nobodys_way(
    make_host, emulator, database_uri, way, budget
):
    app, db, note = make_host(
        database_uri, SQLALCHEMY_ENGINE_OPTIONS=ONE_CONNECTION, **budget
    )
    emulator.script(Answer(text="Yes."), Answer(text="Yes."))
    ask(app, way)

    with app.app_context():
        notes = db.session.query(note).count()
        answer = ask(app, way)

    assert (notes, answer) == (0, "Yes.")
    assert_all_is_counted(app, ok=1)


@each_way
def test_pending_changes_in_the_same_file_hold_up_a_call_but_lose_no_row(
    make_host, emulator, file, way, caplog
):
    options = {"connect_args": {"timeout": 0.1}}
    app, db, note = make_host(f"sqlite:///{file}", SQLALCHEMY_ENGINE_OPTIONS=options)
    emulator.script(Answer(text="Before."), Answer(text="Yes."))
    ask(app, way)

    with app.app_context():
        db.session.add(note(body="mine"))
        db.session.flush()
        answer = ask(app, way)
        db.session.commit()
        notes = db.session.query(note).count()

    assert (answer, notes) == ("Yes.", 1)
    assert "locked; did this request flush changes?" in caplog.text
    assert ledger_of(app).replay() == 1
    assert_all_is_counted(app, ok=1)


@each_way
def test_pending_changes_in_the_same_file_keep_a_budget_shut(
    make_host, emulator, file, way
):
    options = {"connect_args": {"timeout": 0.1}}
    app, db, note = make_host(
        f"sqlite:///{file}", SQLALCHEMY_ENGINE_OPTIONS=options, **BUDGET
    )
    ask(app, way)
    emulator.reset()

    with app.app_context():
        db.session.add(note(body="mine"))
        db.session.flush()
        code = ask(app, way)
        db.session.commit()

    assert (code, emulator.requests) == ("database_failed", [])
    assert ledger_of(app).replay() == 1
    assert_all_is_counted(app, refused=1)
