"""Keys go to their provider and nowhere else; what a provider says stays here."""

import json

import pytest
from conftest import KEY
from leaks import foreign_frames, requests_in, shown_in
from sockets import (
    LAST_CHUNK,
    STREAM_HEAD,
    answering,
    chunk,
    free_port,
    reply,
    serving,
)

import flask_llm
from flask_llm import LLMError, batches
from flask_llm.emulator import Answer, BatchCourse, Fault
from flask_llm.errors import ConnectionFailed, ResponseError, StreamInterrupted
from flask_llm.protocols.batches import BATCHES
from flask_llm.providers import Provider
from flask_llm.settings import Keys
from flask_llm.transport import Transport
from flask_llm.wire import Call

each_api = pytest.mark.parametrize("api", ["openai", "anthropic", "google"])


def assert_nothing_is_held(error):
    assert KEY not in shown_in(error)
    assert foreign_frames(error) == []
    assert requests_in(error) == []


# --- What errors hold, whatever was asked ----------------------------------------

BROKEN = {
    "refused": Fault(status=401, message=f"Incorrect API key provided: {KEY}"),
    "reset": Fault(reset_after=0),
    "hang": Fault(hang=True),
    "gzip": Fault(broken_gzip=True),
    "cut": Fault(content_length=100_000),
    "redirect": Fault(redirect="http://elsewhere.invalid/"),
}

each_break = pytest.mark.parametrize("broken", BROKEN)


SECONDS = {"timeout": 0.4, "retries": 0}


def embed():
    return flask_llm.embed("Hi", model="openai/text-embedding-3-small", **SECONDS)


def count():
    model = "anthropic/claude-haiku-4-5"
    return flask_llm.estimate("Hi", model=model, count=True, **SECONDS)


def run_tools():
    return flask_llm.run_tools("Hi", tools=[flask_llm.Tool("add")], **SECONDS)


def many():
    (found,) = flask_llm.complete_many(["Hi"], **SECONDS)
    raise found


@each_break
@pytest.mark.parametrize(
    "ask", [embed, count, run_tools, many], ids=lambda ask: ask.__name__
)
def test_no_error_of_a_verb_holds_the_key(make_app, emulator, ask, broken):
    app = make_app(LLM_LOG_CONTENT=True)
    emulator.script(BROKEN[broken])

    with app.app_context(), pytest.raises(LLMError) as raised:
        ask()

    assert_nothing_is_held(raised.value)


@each_api
@pytest.mark.parametrize("way", ["cut", "reset"])
def test_no_error_of_a_stream_that_breaks_off_holds_the_key(
    app, emulator, models, api, way
):
    emulator.script(
        Fault(answer=Answer(text="a b c d", chunks=4), **{f"{way}_after": 2})
    )

    with pytest.raises(StreamInterrupted) as raised:
        list(flask_llm.stream("Hi", model=models[api]))

    assert_nothing_is_held(raised.value)


ASKED = {"on_poll": batches.status, "on_results": batches.results}


@each_break
@pytest.mark.parametrize(
    ("api", "step"),
    [
        ("openai", "on_poll"),
        ("openai", "on_results"),
        ("anthropic", "on_poll"),
        ("anthropic", "on_results"),
        ("google", "on_poll"),
    ],
)
def test_no_error_of_a_batch_holds_the_key(app, emulator, models, api, broken, step):
    course = BatchCourse(**{step: [BROKEN[broken]] * 2})
    emulator.script(Answer(text="1"), course)
    batch = batches.submit(["One?"], model=models[api])

    with pytest.raises(LLMError) as raised:
        ASKED[step](batch.id, **SECONDS)

    assert_nothing_is_held(raised.value)


def test_no_error_of_a_proxy_holds_its_credentials():
    transport = Transport(environ={})
    proxies = {"http": f"http://somebody:{KEY}@127.0.0.1:{free_port()}"}
    provider = Provider(name="p", base_url="http://api.invalid", proxies=proxies)

    with pytest.raises(ConnectionFailed) as raised:
        transport.send(Call(path="/x"), provider, transport.retry(0, 5))

    transport.close()
    assert_nothing_is_held(raised.value)


# --- A key belongs to a host -----------------------------------------------------


@pytest.mark.parametrize("option", ["base_url", "api_key", "headers", "proxies"])
def test_no_call_says_where_a_key_goes(app, emulator, option):
    with pytest.raises(LLMError, match=f"Unknown option '{option}'"):
        flask_llm.complete("Hi", **{option: "http://127.0.0.1:9"})

    assert emulator.requests == []


SENT = {
    "whole": lambda transport, *asked: transport.send(Call(path="/x"), *asked),
    "stream": lambda transport, *asked: transport.stream(
        Call(path="/x", stream=True), *asked
    ),
    "lines": lambda transport, *asked: next(
        transport.lines(Call(path="/x", method="GET", bulk=True), *asked)
    ),
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["elsewhere", "here"])
@pytest.mark.parametrize("sent", SENT)
def test_no_redirect_is_followed_to_whatever_host(sent, where, status):
    transport = Transport(environ={})
    with serving(answering(reply(b"{}"))) as elsewhere:
        target = f"{elsewhere.url}/y" if where == "elsewhere" else "/y"
        onward = reply(b"", f"Location: {target}", status=f"{status} Onward")
        with serving(answering(onward)) as here:
            provider = Provider(name="p", base_url=here.url, keys=Keys(KEY))

            with pytest.raises(ResponseError, match="never followed"):
                SENT[sent](transport, provider, transport.retry(2, 5))

    transport.close()
    assert (len(here.requests), elsewhere.accepted) == (1, 0)


def ended(url):
    """Return what each provider says of a batch that is over, with a link to follow."""
    counts = {
        "processing": 0,
        "succeeded": 1,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    }
    return {
        "anthropic_messages": {
            "id": "batch_1",
            "processing_status": "ended",
            "results_url": url,
            "request_counts": counts,
        },
        "generate_content": {
            "name": "batches/1",
            "metadata": {
                "state": "BATCH_STATE_SUCCEEDED",
                "output": {"responsesFile": url},
            },
        },
        "chat_completions": {"id": "b", "status": "completed", "output_file_id": url},
    }


@pytest.mark.parametrize("protocol", ended(""))
@pytest.mark.parametrize("link", ["{url}/file", "//{host}/file", "@{host}/file"])
def test_no_link_of_a_provider_takes_the_key_along(protocol, link):
    transport = Transport(environ={})
    with serving(answering(reply(b"{}"))) as elsewhere:
        host = elsewhere.url.removeprefix("http://")
        said = ended(link.format(url=elsewhere.url, host=host))[protocol]
        with serving(answering(reply(b"{}"))) as here:
            provider = Provider(
                name="p", base_url=here.url, protocol=protocol, keys=Keys(KEY)
            )
            form = BATCHES[protocol]
            for call in form.answers(form.state(said)):
                list(transport.lines(call, provider, transport.retry(0, 5)))

    transport.close()
    assert len(here.requests) == 1
    assert elsewhere.accepted == 0


# --- What a provider says stays here ---------------------------------------------

CANARY = "canary-of-the-provider"
ITS_HEADERS = [
    f"Set-Cookie: session={CANARY}",
    f"openai-organization: {CANARY}",
    f"x-request-id: {CANARY}",
    f"anthropic-organization-id: {CANARY}",
    f"X-Frame-Options: {CANARY}",
    f"Server: {CANARY}",
    f"Retry-After: {CANARY}",
]


@pytest.fixture
def site(make_app):
    """Make an app that hands its visitors what a server of the test's own answers."""

    def make(server):
        row = {"api_key": KEY, "base_url": server.url, "protocol": "chat_completions"}
        app = make_app(LLM_PROVIDERS={"openai": row}, LLM_MAX_RETRIES=0)
        app.add_url_rule("/whole", "whole", lambda: flask_llm.complete("Hi").text)
        app.add_url_rule("/stream", "stream", lambda: flask_llm.stream_response("Hi"))
        return app.test_client()

    return make


SAID = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
PIECE = {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}
WHOLE = reply(json.dumps(SAID).encode(), *ITS_HEADERS)
PIECES = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\n") + "\r\n".join(ITS_HEADERS).encode()
PIECES += b"\r\n\r\n" + chunk(f"data: {json.dumps(PIECE)}\n\n".encode()) + LAST_CHUNK
REFUSAL = reply(b'{"error": {"message": "no"}}', *ITS_HEADERS, status="429 Too Many")


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/whole", WHOLE, 200),
        ("/stream", PIECES, 200),
        ("/whole", REFUSAL, 429),
        ("/stream", REFUSAL, 429),
    ],
    ids=["whole", "stream", "refused", "stream-refused"],
)
def test_no_header_of_a_provider_reaches_the_browser(site, path, answer, status):
    with serving(answering(answer)) as server:
        response = site(server).get(path)
        body = response.text

    assert response.status_code == status
    assert CANARY not in f"{response.headers}{body}"
