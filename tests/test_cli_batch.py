"""``flask llm batch`` as people type it and as cron runs it."""

import json

import pytest
from conftest import KEY, MODELS, read_rows

from flask_llm import batches
from flask_llm.emulator import Answer, BatchCourse, Fault

PROMPTS = [
    "One?",
    {"role": "user", "content": "Two?"},
    [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Three?"}],
]


@pytest.fixture
def run(app):
    def invoke(*args, **options):
        return app.test_cli_runner().invoke(args=["llm", "batch", *args], **options)

    return invoke


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n\n".join(map(json.dumps, PROMPTS)) + "\n")
    return str(path)


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.split("\n")[:-1]]


def test_prompts_of_a_file_are_answered_in_a_file(app, run, file, emulator):
    emulator.script(Answer(text="1"), Fault(status=400), Answer(text="3\u2028é"))
    options = ("--model", MODELS["anthropic"], "--max-tokens", "50", "--system", "Hm.")

    (batch,) = lines(run("submit", file, *options))
    first, second, third = lines(run("fetch", batch["id"]))

    assert (batch["prompts"], batch["status"]) == (3, "running")
    assert batch["model"] == MODELS["anthropic"]
    assert (first["success"], first["content"], third["content"]) == (
        True,
        "1",
        "3\u2028é",
    )
    assert (second["success"], second["error"]) == (False, "InvalidRequestError")
    assert second["code"] == "invalid_request_error"
    assert {row.feature for row in read_rows(app)} == {"cli"}
    (sent,) = emulator.requests[:1]
    assert sent.body["requests"][2]["params"]["system"] == "Hm.\n\nBrief."


def test_prompts_are_read_from_stdin(run, emulator):
    result = run("submit", "-", input='"Hi"\n"Ho"')

    assert lines(result)[0]["prompts"] == 2


def test_line_that_is_no_json_is_named(run, emulator):
    result = run("submit", "-", input='"Hi"\nHo')

    assert result.exit_code == 2
    assert "line 2 is no JSON" in result.stderr
    assert emulator.requests == []


def test_bad_option_is_one_line(run, file):
    result = run("submit", file, "--temperature", "3")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: temperature=3.0")
    assert len(result.stderr.splitlines()) == 1


def test_list_shows_batches_as_they_stood(run, file, emulator):
    made = [lines(run("submit", file))[0]["id"] for _ in range(2)]
    run("fetch", made[0])

    listed = [batch["id"] for batch in lines(run("list"))]
    left = [batch["id"] for batch in lines(run("list", "--unsettled"))]

    assert listed == made[::-1]
    assert left == [made[1]]


def test_poll_settles_what_has_ended(app, run, file, emulator):
    emulator.script(BatchCourse(), BatchCourse(polls=1))
    made = [lines(run("submit", file))[0]["id"] for _ in range(2)]

    polls = [lines(run("poll")) for _ in range(3)]

    found = [[(batch["id"], batch["status"]) for batch in poll] for poll in polls]
    assert found == [
        [(made[0], "ended"), (made[1], "running")],
        [(made[1], "ended")],
        [],
    ]
    assert polls[0][0]["is_settled"] is True
    assert polls[0][0]["cost_usd"].startswith("0.0000")
    assert {row.status for row in read_rows(app)} == {"ok"}


def test_poll_of_one_asks_about_no_other(run, file, emulator):
    made = [lines(run("submit", file))[0]["id"] for _ in range(2)]

    (polled,) = lines(run("poll", made[1]))

    assert (polled["id"], polled["status"]) == (made[1], "ended")
    assert [batch.id for batch in batches.list(unsettled=True)] == [made[0]]


def test_poll_goes_on_after_one_that_fails(run, file, emulator):
    emulator.script(BatchCourse(on_poll=[Fault(status=401)]))
    made = [lines(run("submit", file))[0]["id"] for _ in range(2)]

    result = run("poll")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"{made[0]}: The provider answered 401")
    assert KEY not in result.output
    assert json.loads(result.stdout)["id"] == made[1]


def test_cancel_gives_a_batch_up(run, file, emulator):
    emulator.script(BatchCourse(outcome="in_progress"))
    (batch,) = lines(run("submit", file))

    (cancelled,) = lines(run("cancel", batch["id"]))

    assert cancelled["status"] == "cancelling"


def test_results_that_are_not_there_yet_are_one_line(run, file, emulator):
    emulator.script(BatchCourse(outcome="in_progress"))
    (batch,) = lines(run("submit", file))

    result = run("fetch", batch["id"])

    assert result.exit_code == 1
    assert "has no results yet" in result.stderr
