"""The table of providers: rows, names, and where each key may go."""

import pytest

import flask_llm
from flask_llm import ConfigError, InvalidRequestError
from flask_llm.providers import BUILT_IN, Providers
from flask_llm.settings import Settings

ROWS = [
    (
        "openai",
        "chat_completions",
        "https://api.openai.com/v1",
        "bearer",
        ("OPENAI_API_KEY",),
    ),
    (
        "anthropic",
        "anthropic_messages",
        "https://api.anthropic.com",
        "x-api-key",
        ("ANTHROPIC_API_KEY",),
    ),
    (
        "google",
        "generate_content",
        "https://generativelanguage.googleapis.com",
        "x-goog-api-key",
        ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    ),
    ("azure", "chat_completions", "", "api-key", ("AZURE_OPENAI_API_KEY",)),
    (
        "groq",
        "chat_completions",
        "https://api.groq.com/openai/v1",
        "bearer",
        ("GROQ_API_KEY",),
    ),
    (
        "mistral",
        "chat_completions",
        "https://api.mistral.ai/v1",
        "bearer",
        ("MISTRAL_API_KEY",),
    ),
    (
        "deepseek",
        "chat_completions",
        "https://api.deepseek.com",
        "bearer",
        ("DEEPSEEK_API_KEY",),
    ),
    ("xai", "chat_completions", "https://api.x.ai/v1", "bearer", ("XAI_API_KEY",)),
    (
        "openrouter",
        "chat_completions",
        "https://openrouter.ai/api/v1",
        "bearer",
        ("OPENROUTER_API_KEY",),
    ),
    (
        "together",
        "chat_completions",
        "https://api.together.xyz/v1",
        "bearer",
        ("TOGETHER_API_KEY",),
    ),
    (
        "fireworks",
        "chat_completions",
        "https://api.fireworks.ai/inference/v1",
        "bearer",
        ("FIREWORKS_API_KEY",),
    ),
    (
        "cerebras",
        "chat_completions",
        "https://api.cerebras.ai/v1",
        "bearer",
        ("CEREBRAS_API_KEY",),
    ),
    (
        "zai",
        "chat_completions",
        "https://api.z.ai/api/paas/v4",
        "bearer",
        ("ZAI_API_KEY",),
    ),
    (
        "moonshot",
        "chat_completions",
        "https://api.moonshot.ai/v1",
        "bearer",
        ("MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY"),
    ),
    (
        "qwen",
        "chat_completions",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "bearer",
        ("DASHSCOPE_API_KEY",),
    ),
    (
        "crusoe",
        "chat_completions",
        "https://api.inference.crusoecloud.com/v1",
        "bearer",
        ("CRUSOE_API_KEY",),
    ),
    (
        "heroku",
        "chat_completions",
        "https://us.inference.heroku.com/v1",
        "bearer",
        ("INFERENCE_KEY",),
    ),
    (
        "huggingface",
        "chat_completions",
        "https://router.huggingface.co/v1",
        "bearer",
        ("HF_TOKEN",),
    ),
    (
        "ollama",
        "chat_completions",
        "http://localhost:11434/v1",
        "bearer",
        ("OLLAMA_API_KEY",),
    ),
    ("vllm", "chat_completions", "http://localhost:8000/v1", "bearer", ()),
    ("llama.cpp", "chat_completions", "http://localhost:8080/v1", "bearer", ()),
    ("lmstudio", "chat_completions", "http://localhost:1234/v1", "bearer", ()),
]

KEY_NAMES = [(name, variable) for name, *_, names in ROWS for variable in names]

QUIRKS = [
    ("openai", "max_tokens", "max_completion_tokens"),
    ("openai", "developer_role", True),
    ("openai", "strict", True),
    ("azure", "max_tokens", "max_completion_tokens"),
    ("groq", "max_tokens", "max_tokens"),
    ("mistral", "required", "any"),
    ("mistral", "seed", "random_seed"),
    ("mistral", "stream_usage", False),
    ("mistral", "short_tool_ids", True),
    ("deepseek", "echo", ("reasoning_content",)),
    ("deepseek", "json_schema", False),
    ("openrouter", "echo", ("reasoning_details",)),
    ("zai", "echo", ("reasoning_content",)),
    ("moonshot", "required", ""),
    ("cerebras", "parallel_tool_calls", False),
]

URL_NAMES = [
    ("openai", "OPENAI_BASE_URL", "https://proxy.test/v1", "https://proxy.test/v1"),
    ("openai", "OPENAI_BASE_URL", "https://proxy.test/v1/", "https://proxy.test/v1"),
    ("anthropic", "ANTHROPIC_BASE_URL", "https://proxy.test", "https://proxy.test"),
    ("google", "GOOGLE_GEMINI_BASE_URL", "https://proxy.test", "https://proxy.test"),
    ("ollama", "OLLAMA_BASE_URL", "http://gpu:11434/v1", "http://gpu:11434/v1"),
    (
        "azure",
        "AZURE_OPENAI_ENDPOINT",
        "https://me.openai.azure.com/",
        "https://me.openai.azure.com/openai/v1",
    ),
    (
        "azure",
        "AZURE_OPENAI_ENDPOINT",
        "https://me.openai.azure.com/openai/v1/",
        "https://me.openai.azure.com/openai/v1",
    ),
    (
        "heroku",
        "INFERENCE_URL",
        "https://eu.inference.heroku.com",
        "https://eu.inference.heroku.com/v1",
    ),
]

CUSTOM = {"protocol": "chat_completions", "base_url": "http://10.0.0.5:8000/v1"}


def providers(environ=None, **rows):
    settings = Settings.read({"LLM_PROVIDERS": rows})
    return Providers(settings, environ or {})


@pytest.fixture
def custom_app(make_app, provider_rows):
    """An app whose provider ``mine`` is a custom row that leads to the emulator."""

    def make(**row):
        url = provider_rows["openai"]["base_url"]
        own = {"protocol": "chat_completions", "base_url": url, **row}
        return make_app(LLM_PROVIDERS={"mine": own}, OPENAI_API_KEY="sk-openai")

    return make


def test_table_of_rows_is_complete():
    assert [row[0] for row in ROWS] == [provider.name for provider in BUILT_IN]


@pytest.mark.parametrize(("name", "protocol", "base_url", "auth", "key_names"), ROWS)
def test_built_in_row_is_the_providers_own(name, protocol, base_url, auth, key_names):
    row = providers()[name]

    assert (row.protocol, row.base_url, row.auth) == (protocol, base_url, auth)
    assert row.key_names == key_names
    assert row.needs_key is (name not in {"ollama", "vllm", "llama.cpp", "lmstudio"})
    assert row.keys is None


@pytest.mark.parametrize(("name", "quirk", "expected"), QUIRKS)
def test_provider_has_its_quirk(name, quirk, expected):
    assert getattr(providers()[name].quirks, quirk) == expected


def test_quirks_of_a_row_are_laid_over_the_built_in_ones():
    changes = {
        "required": "required",
        "echo": ["reasoning_content"],
        "embed_tokens": "8000",
        "strict": "true",
    }

    quirks = providers(mistral={"quirks": changes})["mistral"].quirks

    assert (quirks.required, quirks.strict) == ("required", True)
    assert (quirks.echo, quirks.embed_tokens) == (("reasoning_content",), 8000)
    assert quirks.seed == "random_seed"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stict": True}, r"unknown quirk 'stict'. Did you mean 'strict'"),
        ({"strict": "maybe"}, r"\['strict'\]='maybe': True or False"),
        ({"required": None}, r"\['required'\]=None: a string"),
        ({"seed": ""}, r"\['seed'\]='': a string"),
        ({"echo": ["content"]}, "reasoning_content and reasoning_details"),
        ({"embed_texts": 0}, "from 1 up"),
        ({5: True}, "a dict of names"),
        ("strict", "a dict of names"),
    ],
)
def test_wrong_quirk_names_the_cure(changes, says):
    with pytest.raises(ConfigError, match=says) as caught:
        providers(mistral={"quirks": changes})

    assert "LLM_PROVIDERS['mistral']['quirks']" in caught.value.message


@pytest.mark.parametrize(("name", "variable"), KEY_NAMES)
def test_key_is_found_under_the_official_sdks_name(name, variable):
    found = providers({variable: " k-1 "})

    assert found[name].keys.next() == "k-1"
    assert [row for row in BUILT_IN if found[row.name].keys] == [
        row for row in BUILT_IN if row.name == name
    ]


def test_google_api_key_beats_gemini_api_key():
    environ = {"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": "google"}

    assert providers(environ)["google"].keys.next() == "google"


def test_empty_variable_is_none():
    environ = {"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": " "}

    assert providers(environ)["google"].keys.next() == "gemini"


def test_row_beats_the_environment():
    environ = {"OPENAI_API_KEY": "outer", "OPENAI_BASE_URL": "https://outer.test/v1"}
    own = {"api_key": "inner", "base_url": "https://inner.test/v1"}

    row = providers(environ, openai=own)["openai"]

    assert (row.keys.next(), row.base_url) == ("inner", "https://inner.test/v1")


def test_config_of_the_app_beats_the_environment(make_app, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "outer")

    app = make_app(GROQ_API_KEY="inner")

    row = app.extensions["llm"].client.providers["groq"]
    assert row.keys.next() == "inner"


@pytest.mark.parametrize(("name", "variable", "given", "expected"), URL_NAMES)
def test_base_url_is_found_under_the_official_sdks_name(
    name, variable, given, expected
):
    assert providers({variable: given})[name].base_url == expected


def test_base_url_of_a_row_for_azure_is_taken_as_it_is():
    row = {"base_url": "https://me.openai.azure.com/openai/v1"}

    assert providers(azure=row)["azure"].base_url == row["base_url"]


@pytest.mark.parametrize(
    "bad",
    ["proxy.test/v1", "https://user:pw@proxy.test/v1", "https://proxy.test/v1?key=pw"],
)
def test_bad_base_url_in_the_environment_names_its_variable(bad):
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: a URL") as caught:
        providers({"OPENAI_BASE_URL": bad})

    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("gemini-2.5-flash", "google"),
    ],
)
def test_bare_name_is_resolved_where_it_is_unmistakable(model, expected):
    provider, name = providers().resolve(model)

    assert (provider.name, name) == (expected, model)


@pytest.mark.parametrize(
    "model",
    ["llama-3", "mistral-large", "chatgpt-4o", "omni", "Claude-3", "my-gpt-4", "gpt4"],
)
def test_other_bare_names_ask_whose_they_are(model):
    with pytest.raises(InvalidRequestError, match=f"provider/{model}") as caught:
        providers().resolve(model)

    assert caught.value.code == "model_without_provider"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("openrouter/meta-llama/llama-3", ("openrouter", "meta-llama/llama-3")),
        ("together/a/b/c", ("together", "a/b/c")),
        ("llama.cpp/any", ("llama.cpp", "any")),
        ("groq/gpt-oss-120b", ("groq", "gpt-oss-120b")),
    ],
)
def test_model_is_split_at_the_first_slash(model, expected):
    provider, name = providers().resolve(model)

    assert (provider.name, name) == expected


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("opnai/gpt-4o", "Did you mean 'openai'"),
        ("OpenAI/gpt-4o", "Unknown provider 'OpenAI'"),
        ("/gpt-4o", "Unknown provider ''"),
        ("openai/", "names no model"),
        ("openai/  ", "names no model"),
        ("", "does not say whose it is"),
        (7, "model is a string"),
        (["openai/gpt-4o"], "model is a string"),
    ],
)
def test_model_that_cannot_be_is_refused_with_the_cure(model, words):
    with pytest.raises(InvalidRequestError) as caught:
        providers().resolve(model)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("protocol", "auth"),
    [
        ("chat_completions", "bearer"),
        ("anthropic_messages", "x-api-key"),
        ("generate_content", "x-goog-api-key"),
    ],
)
def test_row_of_ones_own_is_asked_the_way_of_its_protocol(protocol, auth):
    row = providers(mine=CUSTOM | {"protocol": protocol})["mine"]

    assert (row.protocol, row.auth, row.needs_key) == (protocol, auth, False)
    assert (row.base_url, row.host) == ("http://10.0.0.5:8000/v1", "10.0.0.5")


def test_built_in_row_may_speak_another_protocol():
    row = providers(vllm={"protocol": "anthropic_messages"})["vllm"]

    assert (row.protocol, row.auth) == ("anthropic_messages", "x-api-key")


def test_row_keeps_what_it_does_not_change():
    row = providers(mistral={"timeout": 9})["mistral"]

    assert (row.base_url, row.timeout) == ("https://api.mistral.ai/v1", 9.0)
    assert row.quirks.seed == "random_seed"


def test_general_limits_hold_where_a_row_has_none():
    settings = Settings.read(
        {
            "LLM_MIN_INTERVAL": 0.5,
            "LLM_MAX_CONCURRENT": 2,
            "LLM_PROVIDERS": {"groq": {"min_interval": 0, "max_concurrent": 9}},
        }
    )

    found = Providers(settings, {})

    assert (found["openai"].min_interval, found["openai"].max_concurrent) == (0.5, 2)
    assert (found["groq"].min_interval, found["groq"].max_concurrent) == (0, 9)


def test_built_in_table_is_the_same_after_an_app_changed_its_own():
    before = repr(BUILT_IN)

    providers({"OPENAI_API_KEY": "k"}, openai={"base_url": "https://inner.test/v1"})

    assert repr(BUILT_IN) == before


def test_row_of_ones_own_answers_with_its_own_key(custom_app, emulator):
    app = custom_app(api_key="sk-mine", headers={"X-Team": "blue"})

    with app.app_context():
        answer = flask_llm.complete("Hi", model="mine/some/model")

    (request,) = emulator.requests
    assert (answer.provider, answer.model) == ("mine", "mine/some/model")
    assert request.body["model"] == "some/model"
    assert request.headers["authorization"] == "Bearer sk-mine"
    assert request.headers["x-team"] == "blue"


def test_row_of_ones_own_without_a_key_is_sent_nobody_elses(custom_app, emulator):
    app = custom_app()

    with app.app_context():
        flask_llm.complete("Hi", model="mine/m")

    (request,) = emulator.requests
    assert "authorization" not in request.headers
    assert "sk-openai" not in repr(request)


def test_key_goes_to_its_own_row_only(make_app, emulator, provider_rows):
    rows = {
        name: row | {"api_key": f"sk-{name}-12345678"}
        for name, row in provider_rows.items()
    }
    app = make_app(LLM_PROVIDERS=rows)

    with app.app_context():
        flask_llm.complete("Hi", model="anthropic/claude-haiku-4-5")

    (request,) = emulator.requests
    assert request.headers["x-api-key"] == "sk-anthropic-12345678"
    assert "sk-openai" not in repr(request)
    assert "authorization" not in request.headers


def test_provider_without_a_key_names_the_variable_before_any_call(make_app):
    app = make_app()

    with app.app_context(), pytest.raises(ConfigError, match="GROQ_API_KEY") as caught:
        flask_llm.complete("Hi", model="groq/llama-3")

    assert caught.value.code == "missing_key"


def test_provider_without_an_address_names_the_variable(make_app):
    app = make_app(AZURE_OPENAI_API_KEY="k")

    with app.app_context(), pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        flask_llm.complete("Hi", model="azure/my-deployment")


def test_key_is_not_shown_by_a_providers_repr():
    found = providers(openai={"api_key": "sk-secret", "headers": {"X": "sk-header"}})

    assert "sk-" not in repr(found) + repr(found["openai"])
