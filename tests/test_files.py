"""Images and files on their way to models, fetched where the provider does not."""

import base64
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import MODELS
from sockets import answering, reply, serving
from test_fetch import PDF, PNG, PUBLIC, Names, public

import flask_llm
from flask_llm import File, Image, InvalidRequestError, Message, ToolResult
from flask_llm.emulator import Answer, Fault
from flask_llm.testing import SETTINGS, FakeLLM
from flask_llm.transport import BYTES_MAX, Fetcher

GOOGLE = MODELS["google"]
OPENAI = MODELS["openai"]
IN_BASE64 = base64.b64encode(PNG).decode()


class Web:
    """One host of the web, and the app's way to it."""

    def __init__(self, app, server):
        self.server = server
        self.resolve = Names(pics_example=[[PUBLIC]])
        self.use_in(app)

    def use_in(self, app):
        app.extensions["llm"].client.fetcher = Fetcher(
            resolve=self.resolve, is_public=public, ports={self.server.port}
        )

    def answer(self, *answers):
        """Answer with something else than a picture."""
        self.server.handle = answering(*answers)

    def url(self, path="cat.png"):
        return f"http://pics.example:{self.server.port}/{path}"


@pytest.fixture
def web(app):
    with serving(answering(reply(PNG)), host=PUBLIC) as server:
        yield Web(app, server)


def asking(*parts):
    return Message("user", ["What is this?", *parts])


def images_of(arrival):
    """Return what Google was sent beside text."""
    return [
        part["inlineData"]
        for content in arrival.body["contents"]
        for part in content["parts"]
        if "inlineData" in part
    ]


@pytest.mark.parametrize("way", ["part", "call"])
def test_picture_is_fetched_for_a_provider_that_does_not(app, web, emulator, rows, way):
    part = Image(url=web.url(), fetch=way == "part")

    flask_llm.complete(asking(part), model=GOOGLE, fetch=way == "call")

    (arrival,) = emulator.requests
    assert images_of(arrival) == [{"mimeType": "image/png", "data": IN_BASE64}]
    assert [row.status for row in rows()] == ["ok"]


@pytest.mark.parametrize("fetch", [None, False])
@pytest.mark.parametrize(
    ("model", "part"),
    [
        (GOOGLE, Image(url="https://pics.example/cat.png")),
        (GOOGLE, File(url="https://pics.example/a.pdf")),
        (OPENAI, File(url="https://pics.example/a.pdf")),
        ("ollama/llava", Image(url="https://pics.example/cat.png")),
    ],
)
def test_url_that_the_provider_does_not_fetch_names_the_cure(
    app, web, emulator, rows, model, part, fetch
):
    with pytest.raises(InvalidRequestError, match="fetch=True"):
        flask_llm.complete(asking(part), model=model, fetch=fetch)

    assert (emulator.requests, web.resolve.asked, rows()) == ([], [], [])


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (OPENAI, Image(url="https://pics.example/cat.png", fetch=True)),
        (MODELS["anthropic"], Image(url="https://pics.example/cat.png", fetch=True)),
        (MODELS["anthropic"], File(url="https://pics.example/a.pdf", fetch=True)),
        (GOOGLE, File(url="gs://bucket/a.pdf", fetch=True)),
    ],
)
def test_url_that_the_provider_fetches_is_left_to_it(app, web, emulator, model, part):
    flask_llm.complete(asking(part), model=model)

    assert part.url in json.dumps(emulator.requests[0].body)
    assert web.resolve.asked == []


def test_pdf_is_fetched_for_chat_completions(app, web, emulator):
    web.answer(reply(PDF, "Content-Type: application/octet-stream"))

    flask_llm.complete(
        asking(File(url=web.url("a"), filename="a.pdf", fetch=True)), model=OPENAI
    )

    assert emulator.requests[0].body["messages"][0]["content"][1]["file"] == {
        "filename": "a.pdf",
        "file_data": "data:application/pdf;base64," + base64.b64encode(PDF).decode(),
    }


def test_one_url_is_fetched_once_in_a_call(app, web, emulator):
    part = Image(url=web.url(), fetch=True)
    history = [asking(part, part), Message("assistant", "A cat."), asking(part)]

    flask_llm.complete(history, model=GOOGLE)

    assert len(images_of(emulator.requests[0])) == 3
    assert len(web.server.requests) == 1


def test_stand_in_that_does_not_fetch_gets_the_bytes(app, web, emulator):
    emulator.script(Fault(status=503))

    answer = flask_llm.complete(
        asking(Image(url=web.url())),
        model=OPENAI,
        fallbacks=[GOOGLE],
        retries=0,
        fetch=True,
    )

    first, second = emulator.requests
    assert answer.provider == "google"
    assert web.url() in json.dumps(first.body)
    assert images_of(second) == [{"mimeType": "image/png", "data": IN_BASE64}]


def test_what_is_fetched_for_one_model_is_there_for_the_next(app, web, emulator):
    emulator.script(Fault(status=503))

    flask_llm.complete(
        asking(Image(url=web.url(), fetch=True)),
        model=GOOGLE,
        fallbacks=["google/gemini-2.5-pro"],
        retries=0,
    )

    assert [len(images_of(arrival)) for arrival in emulator.requests] == [1, 1]
    assert len(web.server.requests) == 1


def test_answer_is_mended_without_fetching_again(app, web, emulator):
    emulator.script(Answer(text="{}"), Answer(text='{"animal": "cat"}'))
    schema = {
        "type": "object",
        "properties": {"animal": {"type": "string"}},
        "required": ["animal"],
    }

    answer = flask_llm.complete(
        asking(Image(url=web.url(), fetch=True)),
        model=GOOGLE,
        schema=schema,
        schema_retries=1,
    )

    assert answer.parsed == {"animal": "cat"}
    assert len(web.server.requests) == 1


def test_stream_is_preceded_by_the_fetch(app, web, emulator):
    part = Image(url=web.url(), fetch=True)

    with flask_llm.stream(asking(part), model=GOOGLE) as stream:
        assert [chunk.text for chunk in stream]

    assert images_of(emulator.requests[0])


# --- What goes wrong -------------------------------------------------------------


def test_fetch_that_fails_is_one_refused_row_and_asks_nobody(app, web, emulator, rows):
    web.answer(reply(b"", status="404 Not Found"))

    with pytest.raises(InvalidRequestError, match=r"pics\.example answered") as caught:
        flask_llm.complete(
            asking(Image(url=web.url() + "?sig=5ec7e7", fetch=True)),
            model=GOOGLE,
            fallbacks=[OPENAI],
        )

    (row,) = rows()
    assert (row.status, row.error_code, row.attempts) == ("refused", "not_fetched", 0)
    assert row.request_id == caught.value.request_id
    assert row.cost_nanos in {None, 0}
    assert emulator.requests == []
    assert "5ec7e7" not in str(caught.value) + str(caught.value.__notes__)


def test_real_guard_is_what_an_app_has(app, emulator, rows):
    with (
        serving(answering(reply(PNG))) as server,
        pytest.raises(InvalidRequestError, match="not allowed"),
    ):
        flask_llm.complete(
            asking(Image(url=server.url + "/cat.png", fetch=True)), model=GOOGLE
        )
    with pytest.raises(InvalidRequestError, match="no public address"):
        flask_llm.complete(
            asking(Image(url="http://169.254.169.254/", fetch=True)), model=GOOGLE
        )

    assert server.accepted == 0
    assert [row.status for row in rows()] == ["refused", "refused"]


def test_pdf_is_no_picture(app, web, emulator):
    web.answer(reply(PDF))

    with pytest.raises(InvalidRequestError, match="application/pdf: give it as a File"):
        flask_llm.complete(asking(Image(url=web.url(), fetch=True)), model=GOOGLE)

    assert emulator.requests == []


def test_other_mistakes_are_found_before_anything_is_fetched(app, web, rows):
    with pytest.raises(InvalidRequestError, match="No tool call in the history"):
        flask_llm.complete(
            [asking(Image(url=web.url(), fetch=True)), Message("user", [UNKNOWN])],
            model=GOOGLE,
        )

    assert (web.resolve.asked, rows()) == ([], [])


UNKNOWN = ToolResult("call_9", "4")


def test_all_files_of_a_call_share_one_allowance(app, web, emulator):
    web.answer(reply(PNG + bytes(BYTES_MAX // 2)))

    with pytest.raises(InvalidRequestError, match="has more than"):
        flask_llm.complete(
            asking(Image(url=web.url("a")), Image(url=web.url("b"))),
            model=GOOGLE,
            fetch=True,
        )

    assert len(web.server.requests) == 2
    assert emulator.requests == []


def test_fetch_is_over_by_the_deadline_of_the_call(app, web, rows):
    web.answer([b"HTTP/1.1 200 OK\r\n", 30.0])

    with pytest.raises(flask_llm.DeadlineExceeded):
        flask_llm.complete(
            asking(Image(url=web.url(), fetch=True)), model=GOOGLE, timeout=0.5
        )

    assert [row.status for row in rows()] == ["refused"]


@pytest.mark.parametrize("fetch", ["yes", 1])
def test_fetch_is_true_or_false(app, fetch):
    with pytest.raises(InvalidRequestError, match="fetch"):
        flask_llm.complete("Hi", fetch=fetch)
    with pytest.raises(InvalidRequestError, match="fetch"):
        Image(url="https://pics.example/", fetch=fetch)


@pytest.mark.parametrize("source", [{"data": PNG}, {"file_id": "file_1"}])
def test_what_has_no_url_is_not_fetched(source):
    with pytest.raises(InvalidRequestError, match="has a url"):
        Image(**source, fetch=True)


def test_dicts_do_not_make_the_app_fetch(app, web, emulator):
    part = {"type": "image", "url": web.url(), "fetch": True}

    with pytest.raises(InvalidRequestError, match="fetch=True"):
        flask_llm.complete({"role": "user", "content": [part]}, model=GOOGLE)

    assert web.resolve.asked == []
    assert "fetch" not in Image(url=web.url(), fetch=True).to_dict()


# --- Guards ----------------------------------------------------------------------


def test_quota_is_asked_before_anything_is_fetched(make_app, web, emulator):
    app = make_app("quota", LLM_QUOTAS=["1/day per user"])
    web.use_in(app)
    part = Image(url=web.url(), fetch=True)

    with app.app_context():
        flask_llm.complete(asking(part), model=GOOGLE, user="ann")
        with pytest.raises(flask_llm.QuotaExceeded):
            flask_llm.complete(asking(part), model=GOOGLE, user="ann")

    assert len(web.server.requests) == 1


def test_fetch_that_fails_counts_against_quotas(make_app, web):
    web.answer(reply(b"", status="404 Not Found"))
    app = make_app("quota", LLM_QUOTAS=["1/day per user"])
    web.use_in(app)
    part = Image(url=web.url(), fetch=True)

    with app.app_context():
        with pytest.raises(InvalidRequestError):
            flask_llm.complete(asking(part), model=GOOGLE, user="ann")
        with pytest.raises(flask_llm.QuotaExceeded):
            flask_llm.complete(asking(part), model=GOOGLE, user="ann")

    assert len(web.server.requests) == 1


def test_answer_is_kept_under_what_was_sent_and_not_under_the_url(
    app, web, emulator, rows
):
    def ask(path):
        part = Image(url=web.url(path), fetch=True)
        return flask_llm.complete(asking(part), model=GOOGLE, cache=True)

    ask("cat.png?signed=1")
    same = ask("cat.png?signed=2")
    web.answer(reply(PNG + b"of a dog"))
    other = ask("cat.png?signed=2")

    assert (same.cached, other.cached) == (True, False)
    assert [row.status for row in rows()] == ["ok", "cached", "ok"]


def test_budget_holds_for_what_was_fetched(make_app, web, emulator):
    web.answer(reply(PDF + bytes(2_000_000)))
    app = make_app("budget", LLM_BUDGETS=["$0.05/day"])
    web.use_in(app)
    part = File(url=web.url("a.pdf"), fetch=True)

    with (
        app.app_context(),
        pytest.raises(flask_llm.BudgetExceeded) as caught,
    ):
        flask_llm.complete(asking(part), model=GOOGLE, max_tokens=10)

    assert caught.value.spent_usd == Decimal(0)
    assert emulator.requests == []


# --- Tools -----------------------------------------------------------------------


def test_picture_that_a_tool_returns_is_shown_to_the_model(app, emulator):
    def photo() -> list:
        """Take a photo."""
        return ["The garden:", Image(data=PNG)]

    emulator.script(
        Answer(tool_calls=[{"name": "photo", "arguments": {}}]), Answer(text="A cat.")
    )

    answer = flask_llm.run_tools("Who is there?", tools=[photo], model="openai/gpt-5.4")

    (result,) = answer.messages[-2].tool_results
    assert (result.content, result.media) == ("The garden:", (Image(data=PNG),))
    assert IN_BASE64 in json.dumps(emulator.requests[1].body)


def test_rounds_of_tools_fetch_once(app, web, emulator):
    def name() -> str:
        """Tell the cat's name."""
        return "Tom"

    emulator.script(
        Answer(tool_calls=[{"name": "name", "arguments": {}}]), Answer(text="Tom.")
    )

    flask_llm.run_tools(
        [asking(Image(url=web.url(), fetch=True))], tools=[name], model=GOOGLE
    )

    assert [len(images_of(arrival)) for arrival in emulator.requests] == [1, 1]
    assert len(web.server.requests) == 1


# --- In the tests of apps --------------------------------------------------------


def test_test_kit_answers_for_the_web(make_app):
    app = make_app("kit", **SETTINGS)
    part = Image(url="https://pics.example/cat.png", fetch=True)

    with FakeLLM() as llm, app.app_context():
        llm.answer("A cat.")
        llm.http.get("https://pics.example/cat.png", body=PNG)
        answer = flask_llm.complete(asking(part), model="google/gemini-2.5-flash")

    assert answer.text == "A cat."


def test_test_kit_lets_no_fetch_out(make_app):
    app = make_app("kit", **SETTINGS)
    part = Image(url="https://pics.example/cat.png", fetch=True)

    with (
        pytest.raises(AssertionError, match="would have reached the network"),
        FakeLLM(),
        app.app_context(),
    ):
        flask_llm.complete(asking(part), model="google/gemini-2.5-flash")


DOCUMENT = Message("user", [File(url="https://example.com/a.pdf", fetch=True)])


@pytest.mark.usefixtures("app")
def test_estimate_reckons_with_what_is_yet_to_be_fetched(emulator):
    found = flask_llm.estimate(DOCUMENT, model=GOOGLE)

    assert found.input_tokens > 5_000
    assert not emulator.requests


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    "ask",
    [
        lambda model: flask_llm.estimate(DOCUMENT, model=model, count=True),
        lambda model: flask_llm.batches.submit([DOCUMENT], model=model),
    ],
    ids=["count", "batch"],
)
def test_what_fetches_nothing_wants_the_bytes(emulator, ask):
    with pytest.raises(InvalidRequestError, match="fetches no URLs: give the bytes"):
        ask(GOOGLE)

    assert not emulator.requests


def test_examples_of_the_documentation_run(app, web, emulator, tmp_path, monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "calling.md"
    section = page.read_text("utf-8").partition("\n## Images and files\n")[2]
    code = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "report.pdf").write_bytes(PDF)
    monkeypatch.chdir(tmp_path)
    names = {"flask_llm": flask_llm}

    for example in code:
        exec(example.replace("https://example.com/cat.png", web.url()), names)

    assert len(code) == 2
    assert len(emulator.requests) == 5
    assert len(web.server.requests) == 1
    assert images_of(emulator.requests[-1])[0]["data"] == IN_BASE64
