"""What commands print at terminals, with rich and without, and elsewhere."""

import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime

import month
import pytest
from flask.cli import ScriptInfo

import flask_llm
from flask_llm.cli.tables import Bar, Column, Table, fit
from flask_llm.cli.terminal import columns_of, cut, harmless
from flask_llm.emulator import Answer

STYLES = re.compile(r"\x1b\[[0-9;]*m")
NASTY = "[red]ann[/red]\x1b[2J\x1b]0;owned\x07"
SPELT = r"[red]ann[/red]\x1b[2J\x1b]0;owned\x07"
LONG = "tenant-of-a-very-long-name/and-a-part-that-tells-it-from-others"


class Screen(io.TextIOWrapper):
    """A terminal that keeps what it was sent."""

    def __init__(self, encoding="utf-8"):
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self):
        return True

    @property
    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(params=["rich", "plain"])
def drawn(request, monkeypatch):
    """Draw by rich, or as where it is not installed."""
    if request.param == "plain":
        known = {name for name in sys.modules if name.split(".")[0] == "rich"}
        for name in known | {"rich", "rich.console", "rich.table", "rich.text"}:
            monkeypatch.setitem(sys.modules, name, None)
    return request.param


@pytest.fixture
def terminal(app, monkeypatch):
    """Run a command as at a terminal; return what that was sent."""

    def run(*args, columns=100, encoding="utf-8", **environ):
        for name in ("NO_COLOR", "COLORTERM", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        environ = {"TERM": "xterm-256color", "COLUMNS": str(columns)} | environ
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        screen = Screen(encoding)
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", screen)
        app.cli.main(
            ["llm", *args],
            obj=ScriptInfo(create_app=lambda: app),
            standalone_mode=False,
        )
        return screen.text

    return run


@pytest.fixture
def spent(app, emulator):
    """Calls of some users to some features, one of them without a price."""
    for number, feature in enumerate(["chat", "search", "a", LONG]):
        usage = {"input_tokens": 12_000 * (number + 1), "output_tokens": 345}
        emulator.script(Answer(usage=usage))
        flask_llm.complete("Hi", feature=feature, user="ann")
    flask_llm.complete("Hi", model="openai/nobody-knows", feature="odd")


def names_in(text):
    """Return what stands at the beginning of lines, in one piece."""
    lines = STYLES.sub("", text).splitlines()
    return "".join(re.split(r" {2,}", line.strip())[0] for line in lines)


# What fits


@pytest.mark.parametrize("columns", [10, 30, 48, 60, 66, 80, 100, 200])
def test_no_figure_and_no_name_is_lost_at_any_width(drawn, terminal, spent, columns):
    text = terminal("usage", "--group-by", "feature", columns=columns)

    assert "12,345" in text
    assert "48,345" in text
    assert "0.007407000" in text
    assert LONG in names_in(text)


@pytest.mark.parametrize("columns", [60, 66, 80, 100, 200])
def test_table_is_not_wider_than_its_terminal(drawn, terminal, spent, columns):
    text = terminal("usage", "--group-by", "feature", columns=columns)

    table = STYLES.sub("", text).partition("1 calls have")[0]
    assert max(map(columns_of, table.splitlines())) <= columns


def test_bar_goes_before_names_are_folded(drawn, terminal, spent):
    wide = terminal("usage", "--group-by", "feature", columns=140)
    narrow = terminal("usage", "--group-by", "feature", columns=112)
    narrowest = terminal("usage", "--group-by", "feature", columns=100)

    assert "█" * 20 in wide
    assert LONG in wide
    assert "█" not in narrowest
    assert LONG in narrow


def test_what_goes_to_a_program_is_plain_and_whole(app, spent, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm-256color")

    args = ["llm", "usage", "--group-by", "feature,user"]
    text = app.test_cli_runner().invoke(args=args).stdout

    (line,) = [line for line in text.splitlines() if LONG in line]
    assert line.split()[:4] == [LONG, "ann", "1", "0"]
    assert "\x1b" not in text


def test_wide_letters_count_twice():
    assert columns_of("日本 e\u0301\ufe0f") == 6
    assert cut("日本語", 4) == ["日本", "語"]
    assert fit(Table(columns=[Column("", "name")], rows=[["日本語"]]), 6)[1] == [6]


@pytest.mark.parametrize("columns", [46, 70, 100])
def test_names_of_other_scripts_are_whole(drawn, terminal, app, columns):
    name = "日本語の長い名前 ภาษาไทยที่ยาว हिन्दी में नाम e\u0301 ❤\ufe0f 👩🏽 한국어"
    flask_llm.complete("Hi", user=name)

    text = terminal("usage", "--group-by", "user", columns=columns)

    assert name.replace(" ", "") in names_in(text).replace(" ", "")


def test_rich_draws_where_it_is_installed(drawn, terminal, spent):
    assert ("─" * 40 in terminal("usage")) == (drawn == "rich")


@pytest.mark.parametrize("missing", ["rich", "none_such"])
def test_real_terminal_is_drawn_to(launch, missing):
    ours, theirs = os.openpty()

    with launch(
        *("prices", "gpt-6-luna"),
        before=f"import sys; sys.modules[{missing!r}] = None",
        environ={"TERM": "xterm", "COLUMNS": "90"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    ) as process:
        _, said = process.communicate(timeout=60)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)

    assert process.returncode == 0, said
    assert ("─" * 40 in shown) == (missing != "rich")
    assert "cache_read" in shown


# Colours


def test_rich_colours_what_failed_and_bars(terminal, spent):
    text = terminal("usage")

    assert "\x1b[36m█" in text
    assert "\x1b[33m" in text


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", ["usage", "doctor", "prices", "budgets"])
def test_no_colours_where_none_are_wanted(drawn, terminal, spent, command, environ):
    assert "\x1b" not in terminal(command, **environ)


def test_terminal_without_blocks_gets_other_characters(drawn, terminal, spent):
    text = terminal("usage", "--group-by", "feature", columns=200, encoding="ascii")

    assert "#" * 24 in text
    assert "?" not in text


# What comes from outside


def test_names_from_outside_steer_no_terminal(drawn, terminal, app):
    flask_llm.complete("Hi", user=NASTY)

    text = terminal("usage", "--group-by", "user")

    assert SPELT in text
    assert "\x1b" not in STYLES.sub("", text)


def test_names_of_budgets_steer_no_terminal(drawn, terminal, make_app):
    app = make_app(LLM_BUDGETS=["$2/month per user"])
    with app.app_context():
        flask_llm.complete("Hi", user=NASTY)
        text = terminal("budgets")

    assert SPELT in text
    assert "\x1b" not in STYLES.sub("", text)


def test_names_of_models_steer_no_terminal(drawn, terminal):
    text = terminal("prices", f"openai/{NASTY}")

    assert SPELT in text
    assert "\x1b" not in STYLES.sub("", text)


def test_error_steers_no_terminal(app):
    args = ["llm", "batch", "fetch", NASTY]

    result = app.test_cli_runner().invoke(args=args)

    assert result.exit_code == 1
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("how", [(), ("--stream",)])
def test_answer_of_a_model_steers_no_terminal(terminal, emulator, how):
    emulator.script(Answer(text="One\n\x1b[2Jtwo"))

    assert terminal("ask", "Hello", *how).startswith("One\n\\x1b[2Jtwo\n")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_steer_no_terminal(terminal, app, form):
    flask_llm.complete("Hi", user=f"{NASTY}\x9b2J")

    text = terminal("export", "--format", form)

    assert "[red]ann[/red]" in text
    assert not {"\x1b", "\x07", "\x9b"} & set(text)


def test_rows_in_a_file_are_as_they_were_written(app):
    flask_llm.complete("Hi", user=NASTY)

    args = ["llm", "export", "--format", "jsonl"]
    result = app.test_cli_runner().invoke(args=args)

    assert json.loads(result.stdout)["user"] == NASTY


def test_answer_in_a_file_is_as_the_model_gave_it(app, emulator):
    emulator.script(Answer(text="One\n\x1b[2Jtwo"))

    result = app.test_cli_runner().invoke(args=["llm", "ask", "Hello"], color=True)

    assert result.stdout == "One\n\x1b[2Jtwo\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Їжак [b] 😀", "Їжак [b] 😀"),
        ("a\u202eb\x9bc\u2028", r"a\u202eb\x9bc\u2028"),
        ("a\nb", r"a\nb"),
    ],
)
def test_what_cannot_be_printed_is_spelt_out(text, shown):
    assert harmless(text) == shown


# Bars


@pytest.mark.parametrize(
    ("bar", "shown"),
    [
        (Bar(0.5), "████"),
        (Bar(0), ""),
        (Bar(0.0001), "▏"),
        (Bar(2), "████████"),
        (Bar(0.25, 0.25, is_meter=True), "██▒▒░░░░"),
        (Bar(0.9, 0.9, is_meter=True), "███████▎"),
    ],
)
def test_bar_is_as_long_as_its_share(bar, shown):
    assert "".join(text for text, _ in bar.pieces(8)) == shown


@pytest.mark.parametrize(
    ("spent", "reserved", "style"),
    [(0.1, 0, "green"), (0.5, 0.3, "yellow"), (0.5, 0.5, "red")],
)
def test_meter_warns_before_it_is_full(spent, reserved, style):
    assert Bar(spent, reserved, is_meter=True).pieces(24)[0][1] == style


# Doctor


@pytest.mark.parametrize("columns", [56, 100])
def test_doctor_keeps_words_whole_and_cures_below(terminal, columns):
    text = terminal("doctor", columns=columns)

    lines = STYLES.sub("", text).splitlines()
    assert max(map(len, lines)) <= columns
    assert [line for line in lines if line.startswith(" " * 18 + "Cure: ")]
    assert re.fullmatch(r"\d+ to mend, \d+ to know, \d+ fine\.", lines[-1])
    assert "\x1b[31m\x1b[1mBAD" in text


# Progress

LONG_WORK = {
    "export": (
        ["export", "--since", "9d", "--output", "calls.csv"],
        "Thousands of rows",
    ),
    "loadtest": (["loadtest", "--calls", "3", "--yes"], "Calls"),
    "purge": (["purge", "--before", "1d", "--yes"], "Rows"),
    "rollup": (["rollup", "--rebuild"], "Weeks"),
}


@pytest.fixture
def filled(app, emulator, tmp_path, monkeypatch):
    """Some weeks of calls, and a folder to export them into."""
    month.fill(app.extensions["llm"].database, datetime.now(UTC), days=3, busiest=5)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", LONG_WORK)
def test_long_work_shows_how_far_it_is(terminal, filled, name):
    arguments, label = LONG_WORK[name]

    assert re.search(rf"{label}  ?\[.*#", terminal(*arguments))


@pytest.mark.parametrize("name", LONG_WORK)
def test_long_work_says_nothing_to_a_log(app, filled, name):
    arguments, _ = LONG_WORK[name]

    result = app.test_cli_runner().invoke(args=["llm", *arguments])

    assert (result.exit_code, result.stderr) == (0, "")


def test_rows_on_a_terminal_are_not_mixed_with_how_far_it_is(terminal, filled):
    assert "Thousands" not in terminal("export", "--since", "9d")
