"""embed(): vectors, batches, rows, money, limits, the cache."""

import base64
import json
import math
import signal
import threading
from array import array
from decimal import Decimal

import pytest
from conftest import read_rows
from hypothesis import given
from hypothesis import strategies as st
from sockets import answering, free_port, reply, serving, wait_until

import flask_llm
from flask_llm import signals, tokens
from flask_llm.chat import Embeddings, Inputs, Usage
from flask_llm.client.embed import batches, charge, joined
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import (
    AuthenticationError,
    BudgetExceeded,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequestError,
    LLMError,
    OverloadedError,
    QuotaExceeded,
    QuotaExhaustedError,
    RateLimitError,
    RequestTooLarge,
    ResponseError,
    ServerError,
    UnknownPriceError,
)
from flask_llm.guards.cache.texts import read, write
from flask_llm.protocols import Caps, embedding_format
from flask_llm.providers import BUILT_IN

MODELS = {
    "openai": "openai/text-embedding-3-small",
    "google": "google/gemini-embedding-2",
    "local": "local/nomic-embed-text",
}
COSTS = {"openai": Decimal("0.00002"), "google": Decimal("0.0002"), "local": None}
"""What a thousand tokens cost, from the price lists."""

TABLE = {provider.name: provider for provider in BUILT_IN}

each_api = pytest.mark.parametrize("api", MODELS)


@pytest.fixture
def provider_rows(provider_rows):
    server = {
        "protocol": "chat_completions",
        "base_url": provider_rows["openai"]["base_url"],
    }
    return provider_rows | {"local": server}


def inputs(*texts, **options):
    options = {"provider": "openai", "model": "text-embedding-3-small"} | options
    return Inputs(texts=texts or ("a",), **options)


def rendered(provider, *texts, **options):
    row = TABLE[provider]
    asked = inputs(*texts, provider=provider, **options)
    return embedding_format(row).render(asked, row)


def parsed(provider, raw, texts):
    return embedding_format(TABLE[provider]).parse(raw, texts)


def bodies(emulator):
    return [arrival.body for arrival in emulator.requests]


# --- What is asked ---------------------------------------------------------------


@pytest.mark.parametrize(
    "texts", [[], [""], ["a", " \n"], ["a", 1], [b"a"], 7, None, b"a", {"a": "b"}]
)
def test_what_is_no_text_is_refused_before_anything_is_sent(app, emulator, rows, texts):
    with pytest.raises(InvalidRequestError):
        flask_llm.embed(texts)

    assert (emulator.requests, rows()) == ([], [])


@pytest.mark.parametrize(
    "option",
    [
        {"dimensions": 0},
        {"dimensions": "256"},
        {"timeout": 0},
        {"retries": -1},
        {"cache": "yes"},
        {"extra": {"a": math.nan}},
        {"user": "x" * 129},
        {"tags": {"a": 1}},
        {"model": "nobody/model"},
        {"temperature": 1},
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_option_that_cannot_be_is_refused(app, emulator, option):
    with pytest.raises(InvalidRequestError):
        flask_llm.embed("a", **option)

    assert emulator.requests == []


def test_a_provider_without_embeddings_names_some_that_have_them(app, emulator):
    with pytest.raises(InvalidRequestError, match="openai, google") as refused:
        flask_llm.embed("a", model="anthropic/claude-haiku-4-5")

    assert refused.value.code == "no_embeddings"


def test_a_key_that_would_not_help_is_not_asked_for(make_app):
    app = make_app(LLM_PROVIDERS={})

    with app.app_context(), pytest.raises(InvalidRequestError):
        flask_llm.embed("a", model="anthropic/claude-haiku-4-5")


def test_a_missing_key_is_named(make_app):
    app = make_app(LLM_PROVIDERS={})

    with app.app_context(), pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        flask_llm.embed("a")


def test_texts_go_by_the_same_labels_as_prompts():
    asked = inputs(user="ann")

    assert (asked.full_model, asked.operation) == (
        "openai/text-embedding-3-small",
        "embed",
    )
    assert (asked.subject("user"), asked.subject("tenant")) == ("ann", "")


# --- Requests and answers on the wire --------------------------------------------


def test_openai_is_asked_for_bytes():
    call = rendered("openai", "a", "b", dimensions=256, extra={"user": "ann"})

    assert call.path == "/embeddings"
    assert call.body == {
        "model": "text-embedding-3-small",
        "input": ["a", "b"],
        "dimensions": 256,
        "encoding_format": "base64",
        "user": "ann",
    }


@pytest.mark.parametrize(
    ("provider", "name"), [("ollama", "dimensions"), ("mistral", "output_dimension")]
)
def test_compatible_servers_are_asked_for_what_they_know(provider, name):
    call = rendered(provider, "a", dimensions=256)

    assert call.body == {"model": "text-embedding-3-small", "input": ["a"], name: 256}


def test_google_is_asked_text_by_text():
    task = {"taskType": "RETRIEVAL_QUERY"}
    call = rendered("google", "a", "b", model="m", dimensions=9, extra=task)

    assert call.path == "/v1/models/m:batchEmbedContents"
    assert call.body == {
        "requests": [
            {
                "model": "models/m",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 9,
                "taskType": "RETRIEVAL_QUERY",
            }
            for text in ("a", "b")
        ]
    }


def packed(*numbers):
    return base64.b64encode(array("f", numbers).tobytes()).decode()


@pytest.mark.parametrize(
    "data",
    [
        [{"embedding": [0.5, 1]}, {"embedding": [2, 0.25]}],
        [{"index": 1, "embedding": [2, 0.25]}, {"index": 0, "embedding": [0.5, 1]}],
        [{"embedding": packed(0.5, 1)}, {"embedding": packed(2, 0.25)}],
    ],
    ids=["lists", "out of order", "bytes"],
)
def test_vectors_are_read_in_every_form(data):
    answer = parsed("openai", {"data": data, "model": "m-1"}, 2)

    assert answer.vectors == (array("f", [0.5, 1]), array("f", [2, 0.25]))
    assert answer.served_model == "m-1"
    assert answer.usage.source == "estimated"


def test_bytes_are_those_of_the_documentation():
    (vector,) = parsed("openai", {"data": [{"embedding": "AACAPwAAAMA="}]}, 1)

    assert list(vector) == [1.0, -2.0]


@pytest.mark.parametrize(
    ("provider", "usage"),
    [
        ("openai", {"usage": {"prompt_tokens": 7, "total_tokens": 7}}),
        ("openai", {"usage": {"total_tokens": 7}}),
        ("google", {"usageMetadata": {"promptTokenCount": 7}}),
    ],
)
def test_tokens_are_the_providers_own(provider, usage):
    vectors = {"data": [{"embedding": [1]}], "embeddings": [{"values": [1]}]}

    assert parsed(provider, vectors | usage, 1).usage == Usage(input_tokens=7)


def test_a_cost_that_the_server_tells_is_the_cost():
    usage = {"prompt_tokens": 7, "total_tokens": 7, "cost": 0.000001}

    answer = parsed("openrouter", {"data": [{"embedding": [1]}], "usage": usage}, 1)

    assert (answer.cost_usd, answer.cost_source) == (Decimal("0.000001"), "provider")


@pytest.mark.parametrize(
    ("provider", "raw"),
    [
        ("openai", raw)
        for raw in (
            None,
            [],
            {},
            {"data": None},
            {"data": []},
            {"data": [{}]},
            {"data": [{"embedding": []}]},
            {"data": [{"embedding": ""}]},
            {"data": [{"embedding": "AAA"}]},
            {"data": [{"embedding": "AAAA"}]},
            {"data": [{"embedding": "*"}]},
            {"data": [{"embedding": ["1"]}]},
            {"data": [{"embedding": [1e39]}]},
            {"data": [{"embedding": [math.nan]}]},
            {"data": [{"embedding": {"0": 1}}]},
            {"data": [{"embedding": [1], "index": "0"}]},
            {"data": [{"embedding": [1]}, {"embedding": [1]}]},
        )
    ]
    + [("google", raw) for raw in ({}, {"embeddings": [{"values": None}]}, [1])],
    ids=str,
)
def test_what_is_no_vector_is_an_error(provider, raw):
    with pytest.raises(ResponseError):
        parsed(provider, raw, 1)


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}],
        [{"embedding": [1]}, {"embedding": [1, 2]}],
        [{"embedding": [1]}],
    ],
    ids=["one twice", "lengths", "too few"],
)
def test_vectors_that_do_not_fit_the_texts_are_an_error(data):
    with pytest.raises(ResponseError):
        parsed("openai", {"data": data}, 2)


# --- The official SDKs -----------------------------------------------------------

SDK_REASON = "an official SDK is the oracle here"

openai_requests = pytest.mark.parametrize(
    "options", [{}, {"dimensions": 9}, {"extra": {"user": "ann"}}], ids=str
)
google_requests = pytest.mark.parametrize(
    "options",
    [
        {},
        {"dimensions": 9},
        {"extra": {"taskType": "RETRIEVAL_QUERY"}},
        {"extra": {"taskType": "RETRIEVAL_DOCUMENT", "title": "Norway"}},
    ],
    ids=str,
)


@openai_requests
def test_openai_s_parameter_types_accept_the_request(options):
    types = pytest.importorskip("openai.types", reason=SDK_REASON)
    pydantic = pytest.importorskip("pydantic", reason=SDK_REASON)
    body = rendered("openai", "a", "b", **options).body

    pydantic.TypeAdapter(types.EmbeddingCreateParams).validate_python(body)

    assert set(body) <= set(types.EmbeddingCreateParams.__annotations__)


@openai_requests
def test_openai_s_sdk_sends_the_same_request(app, emulator, provider_rows, options):
    openai = pytest.importorskip("openai", reason=SDK_REASON)
    own = {**options, **options.get("extra", {})}
    own.pop("extra", None)

    flask_llm.embed(["a", "b"], **options)
    with openai.OpenAI(**provider_rows["openai"]) as client:
        client.embeddings.create(
            model="text-embedding-3-small", input=["a", "b"], **own
        )

    ours, theirs = bodies(emulator)
    assert ours == theirs


@google_requests
def test_google_s_sdk_sends_the_same_request(app, emulator, provider_rows, options):
    genai = pytest.importorskip("google.genai", reason=SDK_REASON)
    row = provider_rows["google"]
    extra = options.get("extra", {})
    config = {
        "output_dimensionality": options.get("dimensions"),
        "task_type": extra.get("taskType"),
        "title": extra.get("title"),
    }
    address = {"base_url": row["base_url"]}

    flask_llm.embed(["a", "b"], model="google/gemini-embedding-001", **options)
    with genai.Client(api_key="k", http_options=address) as client:
        client.models.embed_content(
            model="gemini-embedding-001", contents=["a", "b"], config=config
        )

    ours, theirs = emulator.requests
    assert ours.path == theirs.path
    assert ours.body == without_role(theirs.body)


def without_role(body):
    """Leave out what the SDK says of each text: that it is the user's."""
    for request in body["requests"]:
        assert request["content"].pop("role") == "user"
    return body


# --- Splitting and joining -------------------------------------------------------


def split(caps, *texts):
    return [batch.texts for batch in batches(inputs(*texts), caps)]


def test_texts_are_split_at_the_cap():
    assert split(Caps(2), *"abcde") == [("a", "b"), ("c", "d"), ("e",)]


def test_texts_are_split_where_their_tokens_might_not_fit():
    assert split(Caps(9, 10), "a" * 5, "b" * 5, "c" * 5) == [
        ("a" * 5, "b" * 5),
        ("c" * 5,),
    ]


def test_a_text_that_is_too_long_goes_alone():
    assert split(Caps(9, 10), "a", "b" * 99, "c") == [("a",), ("b" * 99,), ("c",)]


@given(
    st.lists(st.text("ab€", min_size=1, max_size=40), min_size=1, max_size=30),
    st.integers(1, 7),
    st.integers(1, 30),
)
def test_splitting_loses_nothing_and_keeps_to_the_caps(texts, most, ceiling):
    parts = split(Caps(most, ceiling), *texts)

    assert [text for part in parts for text in part] == texts
    assert max(len(part) for part in parts) <= most
    assert all(
        len(part) == 1
        or sum(tokens.estimate(text, tokens.WORST) for text in part) <= ceiling
        for part in parts
    )


def part(cost="1", *, source="table", cached=False, counted="provider"):
    return Embeddings(
        vectors=(array("f", [1]),),
        usage=Usage(input_tokens=3, source=counted),
        cost_usd=None if cost is None else Decimal(cost),
        cost_source=source,
        cached=cached,
        attempts=0 if cached else 1,
    )


@pytest.mark.parametrize(
    ("parts", "cost", "source", "cached"),
    [
        ([part(), part("2")], 3, "table", False),
        ([part(), part(None, source="none")], None, "none", False),
        ([part("0", source="cache", cached=True), part()], 1, "table", False),
        ([part("0", source="cache", cached=True)] * 2, 0, "cache", True),
    ],
)
def test_parts_are_added_up(parts, cost, source, cached):
    whole = joined(parts)

    assert (whole.cost_usd, whole.cost_source, whole.cached) == (cost, source, cached)
    assert (len(whole), whole.usage.input_tokens) == (2, 6)


def test_one_estimate_makes_the_sum_an_estimate():
    assert joined([part(counted="estimated"), part()]).usage.source == "estimated"


def test_kept_vectors_are_handed_out_as_copies():
    kept = part(cached=True)

    joined([kept])[0][0] = 7

    assert kept[0][0] == 1


def test_an_error_carries_what_was_paid_before_it():
    error = LLMError("no", usage=Usage(input_tokens=1), cost_usd=Decimal(5))

    charge(error, [part(), part("0", cached=True)])

    assert (error.usage.input_tokens, error.cost_usd) == (4, 6)


# --- Answers ---------------------------------------------------------------------


@each_api
def test_vectors_say_all_about_themselves(app, emulator, rows, api):
    emulator.script(Answer(usage={"input_tokens": 1000}))

    answer = flask_llm.embed(["Oslo", "Bergen"], model=MODELS[api], user="ann")

    assert len(answer) == len(answer.vectors) == 2
    assert [len(vector) for vector in answer] == [1536, 1536]
    assert math.hypot(*answer[0]) == pytest.approx(1, abs=1e-4)
    assert (answer.provider, answer.model) == (api, MODELS[api])
    assert (answer.usage.input_tokens, answer.usage.source) == (1000, "provider")
    assert answer.cost_usd == COSTS[api]
    assert (answer.attempts, answer.cached) == (1, False)
    (row,) = rows()
    assert (row.status, row.operation, row.streamed) == ("ok", "embed", False)
    assert (row.provider, row.model, row.user_id) == (api, MODELS[api], "ann")
    assert (row.input_tokens, row.output_tokens) == (1000, 0)
    assert row.cost_nanos == (COSTS[api] and COSTS[api] * 10**9)
    assert row.request_id == answer.request_id
    assert row.finish_reason is None


def test_all_forms_of_the_wire_bring_the_same_vectors(app, emulator):
    answers = [flask_llm.embed("Oslo", model=model)[0] for model in MODELS.values()]

    assert answers[0] == answers[1] == answers[2]


def test_a_text_alone_is_one_vector(app, emulator):
    answer = flask_llm.embed("Oslo")

    assert len(answer) == 1
    assert answer.model == "openai/text-embedding-3-small"


def test_texts_may_come_from_anything_that_can_be_iterated(app, emulator):
    assert len(flask_llm.embed(text for text in ("a", "b"))) == 2


@each_api
def test_dimensions_reach_the_provider(app, emulator, api):
    assert len(flask_llm.embed("Oslo", model=MODELS[api], dimensions=256)[0]) == 256


def test_vectors_of_another_length_than_asked_for_are_paid_for_and_refused(make_app):
    item = {"object": "embedding", "index": 0, "embedding": [0.1] * 6}
    usage = {"prompt_tokens": 1000, "total_tokens": 1000}
    body = json.dumps({"object": "list", "data": [item], "usage": usage}).encode()

    with serving(answering(reply(body))) as server:
        row = {"protocol": "chat_completions", "base_url": server.url}
        app = make_app(
            LLM_PROVIDERS={"house": row}, LLM_PRICES={"house/*": {"input": 2}}
        )
        with app.app_context(), pytest.raises(ResponseError) as caught:
            flask_llm.embed("Oslo", model="house/fixed", dimensions=3, cache=True)

    (row,) = read_rows(app)
    assert (row.status, row.error_code) == ("failed", "wrong_dimensions")
    assert (row.input_tokens, row.cost_nanos) == (1000, 2_000_000)
    assert caught.value.cost_usd == Decimal("0.002")
    assert not caught.value.is_retryable
    assert "dimensions=3" in str(caught.value)


def test_the_answer_is_json_too(app, emulator):
    answer = flask_llm.embed(["Oslo"], dimensions=2)

    told = json.loads(json.dumps(answer.to_dict()))

    assert told["success"] is True
    assert told["vectors"] == [list(answer[0])]
    assert told["cost_usd"] == "0.00000002"
    assert told["usage"]["total_tokens"] == 1
    assert told["model"] == answer.model


def test_the_default_model_is_a_setting(make_app, emulator):
    app = make_app(LLM_EMBED_MODEL=MODELS["google"])

    with app.app_context():
        assert flask_llm.embed("Oslo").model == MODELS["google"]


@each_api
def test_tokens_are_estimated_where_the_provider_counts_none(app, emulator, rows, api):
    emulator.script(Fault(usage_missing=True))

    answer = flask_llm.embed(["x" * 400, "y" * 400], model=MODELS[api])

    assert (answer.usage.input_tokens, answer.usage.source) == (200, "estimated")
    assert (rows()[0].input_tokens, rows()[0].usage_source) == (200, "estimated")


def test_signals_tell_of_each_batch(app, emulator):
    said = []

    def listen(sender, **facts):
        said.append((facts["status"], len(facts["completion"])))

    with signals.completion_finished.connected_to(listen):
        flask_llm.embed(["a"] * 150, model=MODELS["google"])

    assert said == [("ok", 100), ("ok", 50)]


# --- Batches ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "sizes"), [("google", [100, 100, 50]), ("local", [100, 100, 50])]
)
def test_many_texts_are_several_requests_of_one_call(app, emulator, rows, api, sizes):
    texts = [f"text {number}" for number in range(250)]

    answer = flask_llm.embed(texts, model=MODELS[api], dimensions=3)

    asked = [body.get("requests") or body["input"] for body in bodies(emulator)]
    assert [len(batch) for batch in asked] == sizes
    alone = flask_llm.embed(texts[249], model=MODELS[api], dimensions=3)
    assert answer[249] == alone[0] != answer[0]
    first = rows()[:3]
    assert {row.request_id for row in first} == {answer.request_id}
    assert sum(row.input_tokens for row in first) == answer.usage.input_tokens
    assert answer.attempts == 3


def test_openai_s_caps_are_kept(app, emulator):
    flask_llm.embed(["x" * 15_000] * 25, dimensions=2)

    assert [len(body["input"]) for body in bodies(emulator)] == [20, 5]


def test_a_broken_batch_is_the_error_of_the_call_with_what_was_paid(
    app, emulator, rows
):
    emulator.script(Answer(usage={"input_tokens": 1000}), Fault(status=400))

    with pytest.raises(InvalidRequestError) as broken:
        flask_llm.embed(["a"] * 250, model=MODELS["google"])

    error = broken.value
    assert (error.cost_usd, error.usage.input_tokens) == (Decimal("0.0002"), 1000)
    assert error.attempts == 2
    assert [row.status for row in rows()] == ["ok", "failed"]
    assert {row.request_id for row in rows()} == {error.request_id}


def test_batches_share_one_deadline(app, emulator, rows):
    emulator.script(Answer(), Fault(hang=True))

    with pytest.raises(LLMError) as late:
        flask_llm.embed(["a"] * 250, model=MODELS["google"], timeout=2, retries=0)

    assert late.value.usage is not None
    assert [row.status for row in rows()] == ["ok", "failed"]


# --- Endings ---------------------------------------------------------------------

ENDINGS = [
    (Fault(status=400), InvalidRequestError, "failed"),
    (Fault(status=401), AuthenticationError, "failed"),
    (Fault(status=413), RequestTooLarge, "failed"),
    (Fault(status=429), RateLimitError, "failed"),
    (Fault.quota_exhausted(), QuotaExhaustedError, "failed"),
    (Fault(status=500), ServerError, "failed"),
    (Fault(status=503), OverloadedError, "failed"),
    (Fault(garbage=True), ResponseError, "failed"),
    (Fault(empty=True), ResponseError, "failed"),
    (Fault(wrong_shape=True), ResponseError, "failed"),
    (Fault(body='{"data": [], "embeddings": []}'), ResponseError, "failed"),
    (Fault(reset_after=0), ConnectionFailed, "failed"),
]


@each_api
@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    ENDINGS,
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_ending_leaves_its_row(app, emulator, rows, api, fault, kind, status):
    emulator.script(fault)

    with pytest.raises(kind) as ended:
        flask_llm.embed("Oslo", model=MODELS[api], retries=0)

    (row,) = rows()
    assert (row.status, row.operation, row.attempts) == (status, "embed", 1)
    assert (row.request_id, row.model) == (ended.value.request_id, MODELS[api])
    assert row.cost_nanos is None


@each_api
def test_what_passes_by_itself_is_tried_again(app, emulator, rows, api):
    emulator.script(Fault(status=503), Fault(status=429))

    answer = flask_llm.embed("Oslo", model=MODELS[api])

    assert (answer.attempts, rows()[0].attempts, len(rows())) == (3, 3, 1)


def test_nobody_there_is_an_error(make_app):
    row = {"protocol": "chat_completions"}
    row["base_url"] = f"http://127.0.0.1:{free_port()}/v1"
    app = make_app(LLM_PROVIDERS={"local": row})

    with app.app_context(), pytest.raises(ConnectionFailed):
        flask_llm.embed("Oslo", model="local/m", retries=0)

    (written,) = read_rows(app)
    assert (written.status, written.operation) == ("failed", "embed")


def test_a_worker_that_is_told_to_go_cancels_its_row(app, emulator, rows):
    def leave(*_arguments):
        raise SystemExit

    emulator.script(Fault(delay_seconds=3))
    before = signal.signal(signal.SIGALRM, leave)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1)
        with pytest.raises(SystemExit):
            flask_llm.embed("Oslo")
    finally:
        signal.signal(signal.SIGALRM, before)

    (row,) = rows()
    assert (row.status, row.operation) == ("cancelled", "embed")


# --- Limits ----------------------------------------------------------------------


def test_one_call_is_one_of_a_users_quota_however_many_batches(make_app, emulator):
    app = make_app(LLM_QUOTAS=["2/minute per user"])

    with app.app_context():
        flask_llm.embed(["a"] * 250, model=MODELS["google"], user="ann")
        flask_llm.embed("a", user="ann")
        with pytest.raises(QuotaExceeded):
            flask_llm.embed("a", user="ann")

    assert [row.status for row in read_rows(app)] == ["ok"] * 4 + ["refused"]


def test_each_batch_is_one_of_a_models_quota(make_app, emulator):
    app = make_app(LLM_QUOTAS=["2/minute per model"])

    with app.app_context(), pytest.raises(QuotaExceeded) as refused:
        flask_llm.embed(["a"] * 250, model=MODELS["google"])

    assert refused.value.usage.input_tokens == 200
    assert [row.status for row in read_rows(app)] == ["ok", "ok", "refused"]


def test_a_budget_holds_texts_to_what_they_may_cost(make_app, emulator):
    app = make_app(LLM_BUDGETS=["$0.0001/day"])

    with app.app_context():
        flask_llm.embed("x" * 2_000)
        with pytest.raises(BudgetExceeded):
            flask_llm.embed("x" * 20_000)

    first, second = read_rows(app)
    assert (first.status, second.status) == ("ok", "refused")
    # 2,000 tokens at a byte each and some more for the rest, at $0.02 a million.
    assert 41_000 <= first.reserved_nanos < 42_000
    assert first.cost_nanos == 10_000


def test_a_budget_needs_no_cap_on_what_has_no_output(make_app, emulator):
    app = make_app(LLM_BUDGETS=["$1/day per user"])

    with app.app_context():
        assert flask_llm.embed("Oslo", user="ann").cost_usd == Decimal("0.00000002")


def test_a_model_without_a_price_is_refused_where_a_budget_applies(make_app, emulator):
    app = make_app(LLM_BUDGETS=["$1/day"])

    with app.app_context(), pytest.raises(UnknownPriceError):
        flask_llm.embed("Oslo", model=MODELS["local"])

    assert emulator.requests == []


def test_a_provider_that_keeps_failing_is_left_alone(make_app, emulator):
    app = make_app(LLM_BREAKER_FAILURES=2)
    emulator.script(*[Fault(status=503)] * 2)

    with app.app_context():
        for _ in range(2):
            with pytest.raises(OverloadedError):
                flask_llm.embed("Oslo", retries=0)
        with pytest.raises(OverloadedError):
            flask_llm.embed("Oslo")

    assert len(emulator.requests) == 2


def test_a_slot_is_waited_for_within_the_deadline(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)
    emulator.script(Fault(delay_seconds=3), model="text-embedding-3-large")

    def hold():
        with app.app_context():
            flask_llm.embed("Oslo", model="openai/text-embedding-3-large")

    holder = threading.Thread(target=hold)
    holder.start()
    assert wait_until(lambda: emulator.in_flight)
    with app.app_context(), pytest.raises(DeadlineExceeded):
        flask_llm.embed("Oslo", timeout=0.3)
    holder.join()

    assert sorted(row.status for row in read_rows(app)) == ["ok", "refused"]


def test_slots_are_given_back(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)
    emulator.script(Fault(status=400), Fault(garbage=True))

    with app.app_context():
        with pytest.raises(InvalidRequestError):
            flask_llm.embed("Oslo", retries=0)
        with pytest.raises(ResponseError):
            flask_llm.embed("Oslo", retries=0)

        assert len(flask_llm.embed(["a"] * 250, model=MODELS["google"], timeout=20))


# --- The cache -------------------------------------------------------------------


@each_api
def test_the_same_texts_are_embedded_once(app, emulator, rows, api):
    options = {"model": MODELS[api], "cache": True, "user": "ann"}

    first = flask_llm.embed(["a", "b"], **options)
    second = flask_llm.embed(["a", "b"], **options)

    assert len(emulator.requests) == 1
    assert second.vectors == first.vectors
    assert (second.cached, second.cost_usd, second.attempts) == (True, 0, 0)
    assert (second.cost_source, second.served_model) == ("cache", first.served_model)
    asked, kept = rows()
    assert (kept.status, kept.operation, kept.cost_nanos) == ("cached", "embed", 0)
    assert kept.saved_nanos == asked.cost_nanos
    assert first.request_id != second.request_id == kept.request_id


@pytest.mark.parametrize(
    "change",
    [
        {"user": "bob"},
        {"dimensions": 2},
        {"extra": {"user": "x"}},
        {"model": "openai/text-embedding-3-large"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_shapes_vectors_or_who_may_share_them_is_in_the_key(app, emulator, change):
    options = {"model": MODELS["openai"], "cache": True, "user": "ann"}

    flask_llm.embed("a", **options)
    flask_llm.embed("a", **options | change)

    assert len(emulator.requests) == 2


def test_without_being_asked_to_nothing_is_kept(app, emulator):
    flask_llm.embed("a")
    flask_llm.embed("a")

    assert len(emulator.requests) == 2


def test_batches_that_were_kept_are_not_asked_for_again(app, emulator, rows):
    emulator.script(Answer(), Fault(status=400))
    options = {"model": MODELS["google"], "cache": True}
    texts = [f"text {number}" for number in range(150)]
    with pytest.raises(InvalidRequestError):
        flask_llm.embed(texts, **options)

    answer = flask_llm.embed(texts, **options)

    assert len(emulator.requests) == 3
    assert (len(answer), answer.cached, answer.attempts) == (150, False, 1)
    assert [row.status for row in rows()] == ["ok", "failed", "cached", "ok"]


def test_redis_keeps_json_without_the_texts(make_app, emulator, redis_url):
    app = make_app(LLM_REDIS_URL=redis_url)

    with app.app_context():
        first = flask_llm.embed("a secret", cache=True, dimensions=2)
        again = flask_llm.embed("a secret", cache=True, dimensions=2)

    assert (again.cached, again.vectors) == (True, first.vectors)


def test_what_is_kept_is_this():
    value = Embeddings(
        vectors=(array("f", [1, -2]),),
        usage=Usage(input_tokens=3),
        cost_usd=Decimal("0.1"),
        cost_source="table",
        provider="openai",
        served_model="m-1",
    )

    kept = json.loads(write(value))

    assert kept["vectors"] == ["AACAPwAAAMA="]
    assert set(kept) == {
        "vectors",
        "served_model",
        "service_tier",
        "usage",
        "cost_usd",
    }
    found = read(json.dumps(kept))
    assert (found.vectors, found.usage) == (value.vectors, value.usage)
    assert (found.cached, found.cost_usd) == (True, Decimal("0.1"))


@pytest.mark.parametrize(
    "planted", [None, [], [1], [""], ["AAA"], ["*"], "x", 7, [[1.0]], {"a": 1}]
)
def test_vectors_that_cannot_be_read_are_a_miss(planted):
    kept = json.loads(write(part()))

    assert read(json.dumps(kept | {"vectors": planted})) is None


def test_threads_that_embed_the_same_make_one_request(app, emulator):
    emulator.script(Fault(delay_seconds=0.5))
    got = []

    def ask():
        with app.app_context():
            got.append(flask_llm.embed("a", cache=True))

    crew = [threading.Thread(target=ask) for _ in range(4)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()

    assert len(emulator.requests) == 1
    got[0][0][0] = 7
    assert len({tuple(answer[0]) for answer in got[1:]}) == 1
    assert all(answer[0][0] != 7 for answer in got[1:])
