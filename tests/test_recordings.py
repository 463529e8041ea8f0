"""Real exchanges, replayed over a socket through the public verbs.

The recordings are not part of the repository: they lie beside it, or where
``LLM_TEST_RECORDINGS`` says. What is expected is what the providers' own SDKs made of
the same bytes; where that is not what a user wants, the difference is listed below
with its reason.
"""

import json
import os
import threading
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from flask import Flask
from oracles import known

import flask_llm
from flask_llm import LLMError, Message, Tool, llm_bp, tokens
from flask_llm.chat import Prompt, read_messages, read_tools
from flask_llm.protocols import responses
from flask_llm.providers import BUILT_IN, Provider

APIS = {
    "openai.chat_completions": "chat_completions",
    "openai_compatible.chat_completions": "chat_completions",
    "openai.responses": "responses",
    "openai.responses_retrieve": "responses",
    "openai_compatible.responses": "responses",
    "openai_compatible.responses_retrieve": "responses",
    "anthropic.messages": "anthropic_messages",
    "google.generate_content": "generate_content",
    "google.stream_generate_content": "generate_content",
    "openai.embeddings": "chat_completions",
    "openai_compatible.embeddings": "chat_completions",
    "google.embed_content": "generate_content",
    "openai.responses_input_tokens": "responses",
    "anthropic.count_tokens": "anthropic_messages",
    "google.count_tokens": "generate_content",
}

EMBEDDINGS = {
    "openai.embeddings",
    "openai_compatible.embeddings",
    "google.embed_content",
}
COUNTS = {
    "openai.responses_input_tokens",
    "anthropic.count_tokens",
    "google.count_tokens",
}

DEFAULT = Path(__file__).parents[2] / "shared" / "recordings" / "dev.jsonl"
FILE = Path(os.environ.get("LLM_TEST_RECORDINGS", DEFAULT))


def _load():
    if not FILE.is_file():
        return []
    return [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]


RECORDED = _load()
RECORDINGS = [line for line in RECORDED if line["api"] in APIS]

pytestmark = pytest.mark.skipif(
    not RECORDINGS, reason=f"no recordings at {FILE}; set LLM_TEST_RECORDINGS"
)


class _Player(BaseHTTPRequestHandler):
    """Answers each path with the recording of that number."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = RECORDINGS[int(self.path.split("/")[1])]["response"]
        body = answer["body"].encode()
        self.send_response(answer["status"])
        for name, value in answer["headers"].items():
            if name not in {"content-length", "content-encoding", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def log_message(self, *args):
        """Keep the test's output to the test."""


@pytest.fixture(scope="module")
def player():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Player)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def replay(player, tmp_path_factory):
    """Ask an app of the recording's own for the answer, or the error, it makes."""
    folder = tmp_path_factory.mktemp("recordings")

    def ask(number):
        line = RECORDINGS[number]
        name = line["provider"]
        app = Flask("replay", instance_path=str(folder))
        row = {"api_key": "sk-replayed", "base_url": f"{player}/{number}"}
        protocol = APIS[line["api"]]
        if SPOKEN.get(name) != protocol:
            row["protocol"] = protocol
        app.config.update(
            LLM_PROVIDERS={name: row}, LLM_MAX_RETRIES=0, LLM_MIN_INTERVAL=0
        )
        app.register_blueprint(llm_bp)
        with app.app_context():
            try:
                return _ask(line, f"{name}/{_model(line)}")
            except LLMError as error:
                return error
            finally:
                app.extensions["llm"].close()

    return ask


def _ask(line, model):
    if line["api"] in EMBEDDINGS:
        return flask_llm.embed(_texts(line["request"]["body"]), model=model)
    if line["api"] in COUNTS:
        return flask_llm.estimate("Hi", model=model, count=True)
    if not line["stream"]:
        return flask_llm.complete("Hi", model=model)
    with flask_llm.stream("Hi", model=model) as stream:
        for _chunk in stream:
            pass
    return stream.completion


def _texts(body):
    """Return as many texts as were sent, for as many vectors are looked for."""
    sent = body.get("input") or body["requests"]
    return [f"Hi {number}" for number in range(len(sent))]


def _model(line):
    if line["api"].startswith("google"):
        return line["request"]["path"].partition("/models/")[2].partition(":")[0]
    return (line["request"]["body"] or line["expected"])["model"]


def _short(number):
    line = RECORDINGS[number]
    return f"{number}-{line['api']}-{line['id'].rpartition('/')[2]}"


SPOKEN = {provider.name: provider.protocol for provider in BUILT_IN}
NUMBERS = range(len(RECORDINGS))
EMBEDDED = [
    n
    for n in NUMBERS
    if RECORDINGS[n]["api"] in EMBEDDINGS and not RECORDINGS[n]["expected"]["error"]
]
COUNTED = [
    n
    for n in NUMBERS
    if RECORDINGS[n]["api"] in COUNTS and not RECORDINGS[n]["expected"]["error"]
]
ANSWERED = [
    n
    for n in NUMBERS
    if RECORDINGS[n]["api"] not in EMBEDDINGS | COUNTS
    and not RECORDINGS[n]["expected"]["error"]
]
BY_RESPONSES = [n for n in ANSWERED if APIS[RECORDINGS[n]["api"]] == "responses"]
HOSTED = {"file_search_call", "web_search_call"}
"""Items that OpenAI itself writes with more fields than its SDK's types have."""

FAILED = [n for n in NUMBERS if RECORDINGS[n]["expected"]["error"]]


@pytest.mark.parametrize("number", ANSWERED, ids=_short)
def test_answer_is_what_the_official_sdk_made_of_it(replay, number):
    expected = RECORDINGS[number]["expected"]

    answer = replay(number)

    assert not isinstance(answer, LLMError), answer
    assert answer.text == (expected["text"] or "")
    assert (answer.reasoning or "") == (expected["reasoning_text"] or "")
    assert answer.raw_finish_reason == _expected_finish(expected)
    assert _calls(answer) == _expected_calls(expected)
    assert _usage(answer) == _expected_usage(expected)
    assert answer.served_model == expected.get("model")
    assert answer.response_id == (expected.get("response_id") or None)
    if "provider_reported_cost_usd" in expected:
        reported = Decimal(expected["provider_reported_cost_usd"])
        assert (answer.cost_source, answer.cost_usd) == ("provider", reported)


@pytest.mark.parametrize("number", EMBEDDED, ids=_short)
def test_vectors_are_what_the_official_sdk_made_of_them(replay, number):
    expected = RECORDINGS[number]["expected"]
    told = expected["embeddings"]

    answer = replay(number)

    assert not isinstance(answer, LLMError), answer
    assert len(answer) == told["count"]
    assert [list(vector[:3]) for vector in answer] == [
        pytest.approx(first, rel=1e-6) for first in told["first_values"]
    ]
    assert {len(vector) for vector in answer} == set(told["dimensions"])
    assert _usage(answer) == _expected_usage(expected)
    assert answer.served_model == expected["model"]


@pytest.mark.parametrize("number", COUNTED, ids=_short)
def test_count_is_what_the_official_sdk_made_of_it(replay, number):
    told = replay(number)

    assert not isinstance(told, LLMError), told
    expected = RECORDINGS[number]["expected"]["usage"]["input_tokens_total"]
    assert (told.input_tokens, told.source) == (expected, "provider")


UNBOUNDED = (
    "video",  # a link to one, which is no part of a prompt here
    "compound-beta",  # what its own searches find
    "mcp_servers",  # the tools of servers that the provider asks
    "x-ai/grok-4",  # a system text of xAI's own
    *("previous_response_id", "conversation", "cachedContent", "container"),
    *("image_url", "input_image", "inlineData", "inline_data", "fileData"),
    *("input_file", '"image"', '"document"', "input_audio", "file_data"),
)
"""What a request names that has tokens elsewhere, or none that bytes could bound."""


def _is_bounded(line):
    """Tell whether all that was counted stands in the request as text."""
    body = line["request"]["body"] or {}
    kinds = {tool.get("type", "function") for tool in body.get("tools", [])}
    names = {name for tool in body.get("tools", []) for name in tool}
    hosted = names & {"googleSearch", "urlContext", "codeExecution", "fileSearch"}
    text = json.dumps(body)
    return (
        bool(line["expected"]["usage"] and body)
        and not (hosted or kinds - {"function", "custom"})
        and not any(name in text for name in UNBOUNDED)
    )


BOUNDED = [n for n in [*ANSWERED, *COUNTED] if _is_bounded(RECORDINGS[n])]


@pytest.mark.parametrize("number", BOUNDED, ids=_short)
def test_no_prompt_has_more_tokens_than_the_bound_says(number):
    line = RECORDINGS[number]
    body = line["request"]["body"]
    explained = read_tools([Tool("t")]) if "schema" in json.dumps(body).lower() else ()
    asked = Prompt(
        provider="p", model="m", messages=read_messages("Hi"), tools=explained
    )

    counted = line["expected"]["usage"]["input_tokens_total"]
    assert counted <= tokens.input_ceiling(asked, body)


@pytest.mark.parametrize("number", FAILED, ids=_short)
def test_error_is_what_the_official_sdk_made_of_it(replay, number):
    expected = RECORDINGS[number]["expected"]["error"]

    error = replay(number)

    assert isinstance(error, LLMError)
    assert (error.status or 200, error.type, error.code) == _expected_words(expected)
    assert (error.provider_message or "") == (expected["message"] or "")
    if usage := expected.get("usage_in_error_event"):
        assert error.usage.input_tokens == usage["prompt_tokens"]
        assert error.usage.output_tokens == usage["completion_tokens"]


UNASKED = {
    "bedrock.converse": "a format of its own",
    "openai.responses_compact": "no answer but a shorter history; no verb asks for it",
}
"""Kinds of exchanges that are not replayed, and why."""


def test_every_other_kind_of_exchange_is_replayed():
    assert {line["api"] for line in RECORDED} - APIS.keys() <= UNASKED.keys()


ROWLESS = {
    "bedrock": "a format of its own; its Responses are at an address of the account",
    "snowflake": "its address is the account's own: a row of the user's",
    "not_an_llm": "an echo server",
}
"""Who was recorded without having a row, and why."""


def test_every_service_that_was_recorded_has_a_row():
    recorded = {line["provider"] for line in RECORDINGS}

    assert recorded - SPOKEN.keys() <= ROWLESS.keys()


@pytest.mark.parametrize("number", BY_RESPONSES, ids=_short)
def test_items_of_an_answer_go_back_as_they_came(replay, number):
    answer = replay(number)
    turns = (Message("user", "Hi"), answer.to_message(), Message("user", "And?"))
    name = answer.model.partition("/")[2]
    prompt = Prompt(provider=answer.provider, model=name, messages=turns)
    row = Provider(name=answer.provider, protocol="responses", base_url="")

    body = responses.render(prompt, row, stream=False).body

    if HOSTED.isdisjoint(item.get("type") for item in body["input"]):
        assert known("responses", body) == body
    if answer.provider_state is not None:
        assert body["input"][1:-1] == _replayable(answer.raw["output"])


def _replayable(output):
    """Reasoning that nobody can read is not sent back, nor are ids that refer to it.

    OpenAI refuses it where nothing is stored.
    """
    hollow = [
        item
        for item in output
        if item["type"] == "reasoning"
        and not (item.get("encrypted_content") or item.get("content"))
    ]
    if not hollow:
        return output
    return [
        {
            "role": "assistant",
            "content": item["content"][0]["text"],
            "phase": item["phase"],
        }
        for item in output
        if item not in hollow
    ]


def _expected_finish(expected):
    """A blocked prompt has no finish reason at Google; the block reason stands in.

    The SDK leaves it in ``prompt_feedback``, where nobody looks for the end of an
    answer.
    """
    blocked = expected.get("prompt_feedback") or {}
    reason = blocked.get("block_reason") or blocked.get("blockReason")
    return expected["finish_reason_raw"] or reason


def _expected_words(expected):
    """Return status, type and code; the last is never empty here.

    A number as code is a status (Google repeats its own, OpenRouter sends another one
    inside a 200), and an answer that cannot be read has a code of ours.
    """
    status, code = expected["status"], expected["code"]
    if isinstance(code, int):
        status, code = code, None
    if expected.get("unparseable"):
        code = "unreadable_answer"
    return status, expected["type"], code or expected["type"]


def _calls(answer):
    return [(call.id, call.name, call.arguments) for call in answer.tool_calls]


def _expected_calls(expected):
    return [
        (call["id"] or f"call_{position}", call["name"], call["arguments"] or {})
        for position, call in enumerate(expected["tool_calls"])
    ]


def _usage(answer):
    usage = answer.usage
    if usage.source == "estimated":
        return None
    return (
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )


def _expected_usage(expected):
    usage = expected["usage"]
    if not usage:
        return None
    return (
        usage["input_tokens_total"],
        usage["cached_input_tokens"],
        usage["cache_write_tokens"],
        usage["output_tokens_total"],
        usage["reasoning_tokens"] or 0,
    )
