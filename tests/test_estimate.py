"""estimate(): what a call would take, reckoned or counted, and never too little."""

import base64
import json
import os
import random
import string
from decimal import Decimal

import pytest
from conftest import KEY, read_rows
from hypothesis import given
from hypothesis import strategies as st
from oracles import known

import flask_llm
from flask_llm import encodings, tokens
from flask_llm.chat import Estimate, Prompt, read_messages, read_tools
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import (
    AuthenticationError,
    ConfigError,
    DeadlineExceeded,
    InvalidRequestError,
    OverloadedError,
    ResponseError,
)
from flask_llm.protocols import PROTOCOLS, counting, parse_count, render_count
from flask_llm.providers import BUILT_IN
from flask_llm.testing import FakeLLM

MODELS = {
    "openai": "openai/gpt-4o-mini",
    "responses": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-haiku-4-5",
    "google": "google/gemini-2.5-flash",
}
PATHS = {
    "openai": "/v1/responses/input_tokens",
    "responses": "/v1/responses/input_tokens",
    "anthropic": "/v1/messages/count_tokens",
    "google": "/v1/models/gemini-2.5-flash:countTokens",
}
TABLE = {provider.name: provider for provider in BUILT_IN}
SENTENCES = {
    "English": "The quick brown fox jumps over the lazy dog.",
    "Ukrainian": "Чуєш їх, доцю? Кумедна ж ти, прощайся без ґольфів!",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "Arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
    "Hindi": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण",
    "Amharic": "ሰማይ አይታረስ ንጉሥ አይከሰስ።",
    "Tibetan": "༄༅། །རྒྱ་གར་སྐད་དུ།",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "Chinese": "天地玄黃,宇宙洪荒。",
    "Japanese": "いろはにほへと ちりぬるを",
    "Korean": "키스의 고유조건은 입술끼리 만나야 하고",
    "Cuneiform": "𒀭𒂗𒆤 𒈗 𒆳𒆳𒊏",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈🧑🏽‍🚀",
    "digits": "3141592653589793238462643383279502884197",
    "base64": base64.b64encode(random.Random(7).randbytes(200)).decode(),
    "hex": random.Random(7).randbytes(100).hex(),
    "punctuation": string.punctuation * 3,
}


@pytest.fixture
def provider_rows(provider_rows):
    address = provider_rows["openai"]["base_url"]
    server = {"protocol": "chat_completions", "base_url": address}
    return provider_rows | {"local": server}


def prompt(text="Hi", provider="openai", **options):
    name = MODELS.get(provider, "x/gpt-4o-mini").partition("/")[2]
    options = {"model": name, "max_tokens": 100} | options
    return Prompt(provider=provider, messages=read_messages(text), **options)


def sent(asked):
    row = TABLE[asked.provider]
    return PROTOCOLS[row.protocol].render(asked, row, stream=False).body


# --- Reckoned --------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS.values())
def test_an_estimate_sends_nothing_and_leaves_no_row(app, emulator, rows, model):
    told = flask_llm.estimate("How are you?", model=model, max_tokens=300)

    assert isinstance(told, Estimate)
    assert (told.model, told.max_output_tokens, told.source) == (model, 300, "bound")
    assert told.input_tokens > len("How are you?")
    assert 0 < told.input_cost_usd < told.max_cost_usd
    assert (emulator.requests, rows()) == ([], [])


def test_an_estimate_needs_no_key(make_app):
    app = make_app(LLM_PROVIDERS={})

    with app.app_context():
        told = flask_llm.estimate("Hi", fallbacks=["anthropic/claude-haiku-4-5"])

    assert told.max_cost_usd > 0


def test_the_answer_costs_what_it_may_at_most(app):
    told = flask_llm.estimate("Hi", max_tokens=1_000_000)

    assert told.max_cost_usd - told.input_cost_usd == Decimal("0.60")


def test_an_unknown_price_is_none(app):
    told = flask_llm.estimate("Hi", model="local/mine", max_tokens=5)

    assert (told.input_cost_usd, told.max_cost_usd) == (None, None)
    assert told.max_output_tokens == 5


def test_an_answer_that_nothing_caps_has_no_worst_case(app):
    told = flask_llm.estimate("Hi", extra={"max_tokens": "many"})

    assert (told.max_output_tokens, told.max_cost_usd) == (None, None)
    assert told.input_cost_usd > 0


def test_an_estimate_is_what_a_budget_reserves(make_app, emulator):
    app = make_app(LLM_BUDGETS=["$1/day"])
    look = {"name": "look", "parameters": {"type": "object"}}
    options = {"system": "Be brief.", "tools": [look], "max_tokens": 77}

    with app.app_context():
        told = flask_llm.estimate("Hi", **options)
        flask_llm.complete("Hi", **options)

    (row,) = read_rows(app)
    assert told.max_cost_usd == Decimal(row.reserved_nanos).scaleb(-9)


@pytest.mark.parametrize("option", [{"temperature": 3}, {"tempreature": 1}])
def test_options_are_checked_as_for_a_call(app, option):
    with pytest.raises(InvalidRequestError):
        flask_llm.estimate("Hi", **option)


def test_an_estimate_becomes_json(app):
    told = flask_llm.estimate("Hi", max_tokens=10).to_dict()

    assert json.loads(json.dumps(told)) == told
    assert told["max_cost_usd"].startswith("0.0000")
    assert told["source"] == "bound"


# --- An upper bound --------------------------------------------------------------


@pytest.fixture
def each_byte(monkeypatch):
    """Let tiktoken split texts with the worst vocabulary there is: single bytes."""
    tiktoken = pytest.importorskip("tiktoken")
    encoding = tiktoken.Encoding(
        "o200k_base",
        pat_str=r"[\s\S]+",
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={},
    )
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "o200k_base", encoding)
    return encoding


def real(name):
    """Return an encoding of tiktoken's, where its files are on this machine."""
    tiktoken = pytest.importorskip("tiktoken")
    measure = encodings.measure({"o200k_base": "gpt-4o", "cl100k_base": "gpt-4"}[name])
    if measure is None:
        pytest.skip(f"tiktoken has no {name} in its cache: set TIKTOKEN_CACHE_DIR")
    return tiktoken.get_encoding(name)


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_no_script_passes_the_bound(name):
    encoding = real(name)

    assert {
        script: len(encoding.encode_ordinary(text)) <= tokens.bytes_of(text)
        for script, text in SENTENCES.items()
    } == dict.fromkeys(SENTENCES, True)


@given(st.text())
def test_no_text_passes_the_bound_whatever_the_vocabulary(text):
    tiktoken = pytest.importorskip("tiktoken")
    single = tiktoken.Encoding(
        "single",
        pat_str=r"[\s\S]",
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={},
    )

    assert len(single.encode_ordinary(text)) == tokens.bytes_of(text)


def test_half_a_surrogate_pair_counts_as_what_is_read_in_its_place():
    assert tokens.bytes_of("\ud83d") == tokens.bytes_of("\ufffd") == 3


@given(st.text(min_size=1).filter(str.strip), st.text(max_size=40))
def test_a_prompt_is_bounded_by_the_bytes_of_its_texts(text, system):
    asked = prompt(text, system=system)

    ceiling = tokens.input_ceiling(asked, sent(asked))

    assert ceiling >= tokens.bytes_of(text + system) + 100


def test_media_are_reckoned_and_their_base64_is_not_read_as_text():
    picture = flask_llm.Image(data=b"\x89PNG" * 10_000, media_type="image/png")
    asked = prompt([{"role": "user", "content": "Look."}])
    shown = prompt(flask_llm.Message("user", ["Look.", picture]))

    more = tokens.input_ceiling(shown, sent(shown)) - tokens.input_ceiling(
        asked, sent(asked)
    )

    assert tokens.WORST.image <= more < tokens.WORST.image + 200


def test_a_text_that_ends_like_an_image_is_counted():
    picture = flask_llm.Image(data=b"\0", media_type="image/png")
    asked = prompt(flask_llm.Message("user", ["x" * 9_000 + picture.base64, picture]))

    assert tokens.input_ceiling(asked, sent(asked)) > 9_000 + tokens.WORST.image


# --- tiktoken --------------------------------------------------------------------


def test_tiktoken_counts_where_it_has_its_files(app, emulator, each_byte):
    text = "How are you? Їжак."

    told = flask_llm.estimate(text, system="Be brief.")

    assert told.source == "tiktoken"
    assert told.input_tokens > len(each_byte.encode_ordinary(text + "Be brief."))
    assert emulator.requests == []


@pytest.mark.parametrize(
    "model", ["local/gpt-4o", "openai/gpt-99-new", "anthropic/claude-haiku-4-5"]
)
def test_tiktoken_is_asked_about_openai_s_models_alone(app, each_byte, model):
    assert flask_llm.estimate("Hi", model=model).source == "bound"


@pytest.mark.parametrize("content", [None, b"not what OpenAI wrote"])
def test_tiktoken_never_downloads(app, monkeypatch, tmp_path, content):
    tiktoken = pytest.importorskip("tiktoken")
    monkeypatch.delitem(tiktoken.registry.ENCODINGS, "o200k_base", raising=False)
    monkeypatch.setattr("socket.socket.connect", _no_network)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    kept = tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"
    if content is not None:
        kept.write_bytes(content)

    assert flask_llm.estimate("Hi").source == "bound"
    assert kept.exists() == (content is not None)


def test_tiktoken_s_cache_may_be_turned_off(app, monkeypatch):
    tiktoken = pytest.importorskip("tiktoken")
    monkeypatch.delitem(tiktoken.registry.ENCODINGS, "o200k_base", raising=False)
    monkeypatch.setattr("socket.socket.connect", _no_network)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    assert flask_llm.estimate("Hi").source == "bound"


def _no_network(*arguments):
    raise AssertionError(arguments)


def test_files_are_looked_for_where_tiktoken_keeps_them(monkeypatch):
    load = pytest.importorskip("tiktoken.load")
    public = pytest.importorskip("tiktoken_ext.openai_public")
    asked = []

    def note(blobpath, expected_hash=None):
        asked.append((blobpath, expected_hash))
        return b""

    monkeypatch.setattr(load, "read_file_cached", note)
    for name in encodings._FILES:
        public.ENCODING_CONSTRUCTORS[name]()

    assert asked == [
        (encodings._SOURCE.format(file), digest)
        for file, digest in encodings._FILES.values()
    ]


# --- Counted by the provider -----------------------------------------------------

each_api = pytest.mark.parametrize("api", MODELS)


@each_api
def test_a_provider_counts_on_request(app, emulator, rows, api):
    emulator.script(Answer(usage={"input_tokens": 123}))

    told = flask_llm.estimate("Hi", count=True, model=MODELS[api], max_tokens=10)

    assert (told.input_tokens, told.source) == (123, "provider")
    assert told.max_cost_usd > told.input_cost_usd > 0
    (request,) = emulator.requests
    assert request.path.removeprefix("/emulator") == PATHS[api]
    assert rows() == []


@each_api
def test_what_counts_is_all_that_is_sent(app, emulator, api):
    look = {"name": "look", "description": "Look.", "parameters": {"type": "object"}}

    few = flask_llm.estimate("Hi", count=True, model=MODELS[api])
    many = flask_llm.estimate(
        "Hi",
        count=True,
        model=MODELS[api],
        system="s" * 400,
        tools=[look],
        temperature=0.5,
        stop="x",
        extra={"metadata": {"a": "b"}} if api == "anthropic" else {},
    )

    assert many.input_tokens >= few.input_tokens + 100


def test_a_count_is_within_the_bound(app, emulator):
    for model in MODELS.values():
        counted = flask_llm.estimate("How are you?", count=True, model=model)
        bound = flask_llm.estimate("How are you?", model=model)

        assert counted.input_tokens <= bound.input_tokens


def test_a_server_that_counts_nothing_says_so(app, emulator):
    with pytest.raises(InvalidRequestError, match="local counts no tokens") as refused:
        flask_llm.estimate("Hi", count=True, model="local/m")

    assert (refused.value.code, refused.value.param) == ("no_counting", "count")
    assert emulator.requests == []


def test_a_count_needs_a_key(make_app):
    app = make_app(LLM_PROVIDERS={})

    with app.app_context(), pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        flask_llm.estimate("Hi", count=True)


@each_api
def test_a_count_fails_as_a_call_does(app, emulator, rows, api):
    emulator.script(*[Fault(status=401)])

    with pytest.raises(AuthenticationError) as failed:
        flask_llm.estimate("Hi", count=True, model=MODELS[api])

    assert failed.value.model == MODELS[api]
    assert failed.value.attempts == 1
    assert KEY not in str(failed.value)
    assert rows() == []


def test_a_count_is_tried_again(app, emulator):
    emulator.script(Fault(status=503), Answer(usage={"input_tokens": 9}))

    assert flask_llm.estimate("Hi", count=True).input_tokens == 9
    assert len(emulator.requests) == 2


def test_a_count_has_a_deadline(app, emulator):
    emulator.script(Fault(hang=True))

    with pytest.raises((DeadlineExceeded, flask_llm.ReadTimeout)):
        flask_llm.estimate("Hi", count=True, timeout=0.3, retries=0)


def test_a_count_draws_on_no_quota_and_no_budget(make_app, emulator):
    app = make_app(LLM_QUOTAS=["1/day"], LLM_BUDGETS=["$0/day"])

    with app.app_context():
        for _ in range(3):
            flask_llm.estimate("Hi", count=True)

    assert len(emulator.requests) == 3


def test_a_count_waits_in_line_and_gives_its_slot_back(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)

    with app.app_context():
        for fault in (Fault(status=400), Fault(), Fault()):
            emulator.script(fault)
            try:
                flask_llm.estimate("Hi", count=True, timeout=2)
            except InvalidRequestError:
                assert fault.status == 400

    assert emulator.max_in_flight == 1


def test_a_provider_that_keeps_failing_is_left_alone(make_app, emulator):
    app = make_app(LLM_BREAKER_FAILURES=2, LLM_MAX_RETRIES=0)
    emulator.script(*[Fault(status=503)] * 3)

    with app.app_context():
        for _ in range(3):
            with pytest.raises(OverloadedError):
                flask_llm.estimate("Hi", count=True)

    assert len(emulator.requests) == 2


@pytest.mark.parametrize(
    "body", ["{}", "[]", "null", '{"input_tokens": "9"}', '{"totalTokens": -1}', "<p>"]
)
def test_an_answer_without_a_number_cannot_be_read(app, emulator, body):
    emulator.script(Fault(body=body))

    with pytest.raises(ResponseError):
        flask_llm.estimate("Hi", count=True, retries=0)


# --- The requests ----------------------------------------------------------------

LOOK = {
    "name": "look",
    "description": "Look.",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
}

GRID = {
    "plain": {},
    "system": {"system": "Be brief."},
    "tools": {"tools": read_tools([LOOK]), "tool_choice": "required"},
    "sampling": {"temperature": 0.1, "top_p": 0.5, "seed": 1, "stop": ("x",)},
    "reasoning": {"reasoning": "low", "max_tokens": 9_000},
    "tier": {"service_tier": "auto"},
}


@pytest.mark.parametrize("options", GRID.values(), ids=GRID)
@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini"),
        ("openai", "gpt-6.2"),
        ("anthropic", "claude-haiku-4-5"),
        ("anthropic", "claude-sonnet-5-5"),
    ],
)
def test_official_types_know_every_field(provider, model, options):
    asked = prompt(provider=provider, **{"model": model} | options)

    body = render_count(asked, counting(TABLE[provider])).body

    kind = "responses_count" if provider == "openai" else "messages_count"
    assert known(kind, body) == body


@pytest.mark.parametrize("options", GRID.values(), ids=GRID)
def test_google_counts_the_whole_request(options):
    asked = prompt(provider="google", **options)

    call = render_count(asked, counting(TABLE["google"]))

    request = dict(call.body["generateContentRequest"])
    assert request.pop("model") == "models/gemini-2.5-flash"
    assert request == sent(asked)


def test_a_moving_alias_is_counted_where_it_exists():
    asked = prompt(provider="google", model="gemini-flash-latest")

    call = render_count(asked, counting(TABLE["google"]))

    assert call.path == "/v1beta/models/gemini-flash-latest:countTokens"


@pytest.mark.parametrize("raw", [{"input_tokens": 0}, {"totalTokens": 0}])
def test_nothing_is_a_number_too(raw):
    assert parse_count(raw) == 0


def test_the_test_kit_counts_without_a_script(make_app):
    with FakeLLM() as llm, make_app(LLM_PROVIDERS={}).app_context():
        told = flask_llm.estimate("How are you?", count=True)

        assert (told.source, llm.calls) == ("provider", ())
    assert 0 < told.input_tokens < 20


def test_environment_of_tiktoken_is_left_alone(app):
    before = dict(os.environ)

    flask_llm.estimate("Hi")

    assert dict(os.environ) == before
