"""Settings: defaults, checks, what an environment gives, and what is never shown."""

import json

import pytest
from flask import Flask

from flask_llm import ConfigError, llm_bp
from flask_llm.protocols import PROTOCOLS
from flask_llm.settings import PROTOCOLS as PROTOCOL_NAMES
from flask_llm.settings import ProviderSettings, Settings

SECRET = "sk-verysecret-9876543210"

DEFAULTS = {
    "LLM_EMBED_MODEL": "openai/text-embedding-3-small",
    "LLM_MODEL": "openai/gpt-4o-mini",
    "LLM_TEMPERATURE": 0.7,
    "LLM_MAX_TOKENS": 500,
    "LLM_TIMEOUT": 30,
    "LLM_CONNECT_TIMEOUT": 5,
    "LLM_MAX_RETRIES": 2,
    "LLM_BACKOFF": 1.0,
    "LLM_PROVIDERS": {},
    "LLM_MIN_INTERVAL": 0.1,
    "LLM_MAX_CONCURRENT": 5,
    "LLM_CACHE_TTL": 86_400,
    "LLM_CACHE_SCOPE": "user",
    "LLM_REDIS_URL": None,
    "LLM_DATABASE_URI": None,
    "LLM_BIND_KEY": None,
    "LLM_AUTO_MIGRATE": None,
    "LLM_PRICES": None,
    "LLM_REPORTS_TOKEN": None,
    "LLM_ERROR_HANDLER": True,
    "LLM_LOG_CONTENT": False,
    "LLM_MAX_RESPONSE_BYTES": 32 * 1024 * 1024,
    "LLM_HEARTBEAT": 5,
    "LLM_JOURNAL": None,
    "LLM_FALLBACKS": {},
    "LLM_SCHEMA_RETRIES": 0,
    "LLM_BREAKER_FAILURES": 5,
    "LLM_BREAKER_SECONDS": 30.0,
    "LLM_QUOTAS": [],
    "LLM_LIMITER": None,
    "LLM_STORAGE_DOWN": "local",
    "LLM_BUDGETS": [],
    "LLM_TIMEZONE": "UTC",
    "LLM_UNKNOWN_PRICE": "block",
    "LLM_CACHE": None,
}

BAD = [
    ("LLM_EMBED_MODEL", "", "a string"),
    ("LLM_EMBED_MODEL", "mystery-model", "provider/mystery-model"),
    ("LLM_MODEL", "", "a string"),
    ("LLM_MODEL", 4, "a string"),
    ("LLM_MODEL", None, "leave it out"),
    ("LLM_MODEL", "mystery-model", "provider/mystery-model"),
    ("LLM_MODEL", "opnai/gpt-4.1", "'openai'"),
    ("LLM_TEMPERATURE", -0.1, "between 0 and 2"),
    ("LLM_TEMPERATURE", 2.1, "between 0 and 2"),
    ("LLM_TEMPERATURE", True, "between 0 and 2"),
    ("LLM_TEMPERATURE", "warm", "between 0 and 2"),
    ("LLM_TEMPERATURE", "nan", "between 0 and 2"),
    ("LLM_TEMPERATURE", None, "leave it out for 0.7"),
    ("LLM_MAX_TOKENS", 0, "from 1 up"),
    ("LLM_MAX_TOKENS", 1.5, "from 1 up"),
    ("LLM_MAX_TOKENS", "1e3", "from 1 up"),
    ("LLM_MAX_TOKENS", True, "from 1 up"),
    ("LLM_TIMEOUT", 0, "between"),
    ("LLM_TIMEOUT", "inf", "between"),
    ("LLM_TIMEOUT", [30], "between"),
    ("LLM_CONNECT_TIMEOUT", 0, "between"),
    ("LLM_MAX_RETRIES", -1, "from 0 up"),
    ("LLM_MAX_RETRIES", "two", "from 0 up"),
    ("LLM_BACKOFF", -1, "between"),
    ("LLM_PROVIDERS", [], "a dict of provider names"),
    ("LLM_PROVIDERS", "openai", "a dict of provider names"),
    ("LLM_PROVIDERS", None, "leave it out"),
    ("LLM_PROVIDERS", {"OpenAI": {}}, "small letters"),
    ("LLM_PROVIDERS", {1: {}}, "small letters"),
    ("LLM_PROVIDERS", {"a/b": {}}, "small letters"),
    ("LLM_MIN_INTERVAL", -0.1, "between"),
    ("LLM_MAX_CONCURRENT", 0, "from 1 up"),
    ("LLM_FALLBACKS", [], "a dict of a model to a list"),
    ("LLM_FALLBACKS", {"openai/a": "openai/b"}, "a dict of a model to a list"),
    ("LLM_FALLBACKS", {1: []}, "a dict of a model to a list"),
    ("LLM_SCHEMA_RETRIES", -1, "from 0 up"),
    ("LLM_BREAKER_FAILURES", -1, "from 0 up"),
    ("LLM_BREAKER_SECONDS", 0, "between"),
    ("LLM_QUOTAS", 5, "a list of strings"),
    ("LLM_QUOTAS", [5], "a list of strings"),
    ("LLM_QUOTAS", ["many"], "'20/minute per user'"),
    ("LLM_QUOTAS", ["0/minute"], "is no quota"),
    ("LLM_QUOTAS", ["5 per 0 minutes"], "is no quota"),
    ("LLM_QUOTAS", ["5/fortnight"], "second, minute, hour, day, month or year"),
    ("LLM_QUOTAS", ["5/minute per customer"], "per app, user, tenant, feature"),
    ("LLM_STORAGE_DOWN", "ignore", "local, allow, deny"),
    ("LLM_BUDGETS", {"user": 5}, "a list of strings"),
    ("LLM_BUDGETS", ["5/day"], r"'$5/day per user'"),
    ("LLM_BUDGETS", ["$5/minute"], "hour, day, week or month"),
    ("LLM_BUDGETS", ["$-5/day"], "is no budget"),
    ("LLM_BUDGETS", ["$5/day per customer"], "per app, user, tenant, feature"),
    ("LLM_UNKNOWN_PRICE", "free", "block, allow"),
    ("LLM_TIMEZONE", "Mars/Olympus", "Europe/Berlin"),
    ("LLM_TIMEZONE", "../etc/passwd", "Europe/Berlin"),
    ("LLM_CACHE_TTL", 0, "from 1 up"),
    ("LLM_CACHE_TTL", 0.5, "from 1 up"),
    ("LLM_CACHE_SCOPE", "users", "Did you mean 'user'?"),
    ("LLM_CACHE_SCOPE", ["user"], "user, tenant, app"),
    ("LLM_REDIS_URL", "", "a string"),
    ("LLM_REDIS_URL", "localhost:6379", "redis://"),
    ("LLM_REDIS_URL", "http://localhost:6379", "redis://"),
    ("LLM_REDIS_URL", "redis://localhost:abc/8", "redis://"),
    ("LLM_REDIS_URL", "redis://localhost/8?socket_timeout=x", "socket_timeout"),
    ("LLM_DATABASE_URI", "", "a string"),
    ("LLM_DATABASE_URI", "llm.sqlite", "SQLAlchemy URL"),
    ("LLM_DATABASE_URI", "postgres://host/base", "postgresql+psycopg://"),
    ("LLM_DATABASE_URI", "postgresql+pg8000://host/base", "postgresql+psycopg://"),
    ("LLM_DATABASE_URI", "mysql+mysqldb://host/base", "mysql+pymysql://"),
    ("LLM_BIND_KEY", 1, "a string"),
    ("LLM_AUTO_MIGRATE", "maybe", "True or False"),
    ("LLM_PRICES", "/nowhere/prices.json", "prices.json"),
    ("LLM_REPORTS_TOKEN", "", "a string"),
    ("LLM_REPORTS_TOKEN", "  ", "a string"),
    ("LLM_REPORTS_TOKEN", 123456, "quote"),
    ("LLM_ERROR_HANDLER", "perhaps", "True or False"),
    ("LLM_ERROR_HANDLER", 2, "True or False"),
    ("LLM_LOG_CONTENT", None, "leave it out"),
    ("LLM_MAX_RESPONSE_BYTES", 1023, "from 1024 up"),
    ("LLM_HEARTBEAT", 0, "between"),
    ("LLM_JOURNAL", 5, "a string"),
]

FROM_ENVIRONMENT = [
    ("LLM_MODEL", "anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
    ("LLM_TEMPERATURE", "0.2", 0.2),
    ("LLM_TEMPERATURE", "1", 1.0),
    ("LLM_MAX_TOKENS", "800", 800),
    ("LLM_TIMEOUT", "12.5", 12.5),
    ("LLM_MAX_RETRIES", "0", 0),
    ("LLM_ERROR_HANDLER", "false", False),
    ("LLM_ERROR_HANDLER", "False", False),
    ("LLM_ERROR_HANDLER", "no", False),
    ("LLM_ERROR_HANDLER", "0", False),
    ("LLM_ERROR_HANDLER", "1", True),
    ("LLM_LOG_CONTENT", "true", True),
    ("LLM_AUTO_MIGRATE", "on", True),
    ("LLM_CACHE_SCOPE", "tenant", "tenant"),
    ("LLM_REPORTS_TOKEN", "letmein", "letmein"),
    ("LLM_REPORTS_TOKEN", '"123456"', "123456"),
    ("LLM_MAX_RESPONSE_BYTES", "2048", 2048),
]

BAD_ROWS = [
    ("[]", "is a dict, not list"),
    ({"api_keys": "k"}, "Did you mean 'api_key'?"),
    ({"api_key": ""}, "['api_key']"),
    ({"api_key": []}, "a list of keys"),
    ({"api_key": ["k", 1]}, "a list of keys"),
    ({"api_key": 5}, "['api_key']"),
    ({"base_url": "api.example.com"}, "a URL such as"),
    ({"base_url": "ftp://example.com"}, "a URL such as"),
    ({"base_url": "https://"}, "a URL such as"),
    ({"base_url": "https://example.com:abc/v1"}, "['base_url']"),
    ({"base_url": "https://example.com:99999/v1"}, "['base_url']"),
    ({"base_url": "https://example.com/v1?key=1"}, "without user name"),
    ({"base_url": "https://example.com/v1#top"}, "without user name"),
    ({"base_url": None}, "a string"),
    ({"protocol": "chat-completions"}, "Did you mean 'chat_completions'?"),
    ({"headers": ["X-A"]}, "a dict of strings"),
    ({"headers": {"X-A": 1}}, "a dict of strings"),
    ({"min_interval": -1}, "between"),
    ({"max_concurrent": 0}, "from 1 up"),
    ({"timeout": 0}, "between"),
    ({"proxies": "http://proxy"}, "a dict of strings"),
    ({"verify": 1}, "['verify']"),
]


def set_up(**config):
    app = Flask("settings")
    app.config.update(config)
    app.register_blueprint(llm_bp)
    return app


def settings_of(app):
    return app.extensions["llm"].settings


def test_the_table_of_defaults_is_complete():
    assert {row.key for row in Settings.describe()} == set(DEFAULTS)


@pytest.mark.parametrize(("key", "default"), DEFAULTS.items())
def test_default_is_the_contracts_and_is_written_back_to_be_seen(key, default):
    app = set_up()

    value = getattr(settings_of(app), key.removeprefix("LLM_").lower())

    assert value == (tuple(default) if isinstance(default, list) else default)
    assert app.config[key] == default


def test_defaults_of_two_apps_share_nothing():
    first, second = set_up(), set_up()

    first.config["LLM_PROVIDERS"]["mine"] = {}

    assert second.config["LLM_PROVIDERS"] == {}
    assert settings_of(second).providers == {}


def test_every_setting_is_explained():
    assert all(row.doc.endswith(".") for row in Settings.describe())


def test_what_the_app_set_stays_as_it_was():
    app = set_up(LLM_TIMEOUT="12")

    assert app.config["LLM_TIMEOUT"] == "12"
    assert settings_of(app).timeout == 12.0


@pytest.mark.parametrize(("key", "value", "cure"), BAD)
def test_bad_value_fails_at_set_up_with_the_key_and_the_cure(key, value, cure):
    with pytest.raises(ConfigError) as caught:
        set_up(**{key: value})

    assert key in str(caught.value)
    assert cure in str(caught.value)


@pytest.mark.parametrize(("key", "given", "expected"), FROM_ENVIRONMENT)
def test_environment_sets_what_it_says(monkeypatch, key, given, expected):
    monkeypatch.setenv(f"FLASK_{key}", given)
    app = Flask("environment")
    app.config.from_prefixed_env()

    app.register_blueprint(llm_bp)

    value = getattr(settings_of(app), key.removeprefix("LLM_").lower())
    assert value == expected
    assert type(value) is type(expected)


def test_environment_sets_one_field_of_one_provider(monkeypatch):
    monkeypatch.setenv("FLASK_LLM_PROVIDERS__openai__api_key", SECRET)
    monkeypatch.setenv("FLASK_LLM_PROVIDERS__openai__max_concurrent", "2")
    app = Flask("environment")
    app.config.from_prefixed_env()

    app.register_blueprint(llm_bp)

    row = settings_of(app).providers["openai"]
    assert (row.api_key.next(), row.max_concurrent) == (SECRET, 2)


def test_environment_sets_all_providers_as_json(monkeypatch):
    rows = {"groq": {"api_key": ["a", "b"], "timeout": 9}}
    monkeypatch.setenv("FLASK_LLM_PROVIDERS", json.dumps(rows))
    app = Flask("environment")
    app.config.from_prefixed_env()

    app.register_blueprint(llm_bp)

    assert settings_of(app).providers["groq"].timeout == 9


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("LLM_TIMOUT", "LLM_TIMEOUT"),
        ("LLM_DATABASE_URL", "LLM_DATABASE_URI"),
        ("LLM_REPORT_TOKEN", "LLM_REPORTS_TOKEN"),
        ("LLM_MAXTOKENS", "LLM_MAX_TOKENS"),
    ],
)
def test_unknown_key_warns_with_the_nearest_name(key, nearest):
    with pytest.warns(UserWarning, match=f"{key}.*{nearest}"):
        set_up(**{key: 1})


def test_unknown_key_like_no_other_warns_without_a_guess():
    with pytest.warns(UserWarning, match=r"^Unknown setting LLM_XQZ\.$"):
        set_up(LLM_XQZ=1)


def test_warning_about_a_key_does_not_show_its_value():
    with pytest.warns(UserWarning, match="LLM_OPENAI_KEY") as caught:
        set_up(LLM_OPENAI_KEY=SECRET)

    assert SECRET not in str(caught[0].message)


def test_keys_of_other_extensions_are_none_of_our_business():
    assert set_up(LLAMA_TIMEOUT="x", SQLALCHEMY_ECHO=True)


def test_settings_cannot_be_changed_after_the_check():
    settings = settings_of(set_up())

    with pytest.raises(AttributeError):
        settings.timeout = 1


@pytest.mark.parametrize(("row", "cure"), BAD_ROWS)
def test_bad_row_of_a_provider_fails_with_its_place_and_the_cure(row, cure):
    row = [] if row == "[]" else row

    with pytest.raises(ConfigError) as caught:
        set_up(LLM_PROVIDERS={"openai": row})

    assert "LLM_PROVIDERS['openai']" in str(caught.value)
    assert cure in str(caught.value)


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        ({}, "protocol and base_url"),
        ({"base_url": "http://10.0.0.5/v1"}, "protocol"),
        ({"protocol": "chat_completions"}, "base_url"),
    ],
)
def test_provider_of_ones_own_says_how_it_is_asked_and_where(row, missing):
    with pytest.raises(ConfigError, match=f"'mine'.*lacks {missing}"):
        set_up(LLM_PROVIDERS={"mine": row})


def test_misspelt_built_in_provider_is_told_its_name():
    with pytest.raises(ConfigError, match="Did you mean 'anthropic'"):
        set_up(LLM_PROVIDERS={"antropic": {"api_key": "k"}})


def test_row_of_a_provider_is_read_whole():
    row = {
        "api_key": " k ",
        "base_url": "https://example.com/v1/",
        "protocol": "chat_completions",
        "headers": {"X-A": "1"},
        "min_interval": "0.5",
        "max_concurrent": "3",
        "timeout": 7,
        "proxies": {"https": "http://proxy:3128"},
        "verify": "/etc/ca.pem",
    }

    read = ProviderSettings.read("mine", row)

    assert read.api_key.next() == "k"
    assert read.base_url == "https://example.com/v1"
    assert (read.min_interval, read.max_concurrent, read.timeout) == (0.5, 3, 7.0)
    assert (read.headers, read.proxies) == (row["headers"], row["proxies"])
    assert read.verify == "/etc/ca.pem"


@pytest.mark.parametrize("verify", [True, False])
def test_verify_may_be_switched(verify):
    assert ProviderSettings.read("mine", {"verify": verify}).verify is verify


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_keys_take_turns(kind):
    keys = ProviderSettings.read("openai", {"api_key": kind(["a", "b"])}).api_key

    assert [keys.next(), keys.next(), keys.next()] == ["a", "b", "a"]


def test_function_gives_each_key_afresh():
    made = iter(["first", "second"])
    keys = ProviderSettings.read("openai", {"api_key": lambda: next(made)}).api_key

    assert [keys.next(), keys.next()] == ["first", "second"]


SECRET_CONFIGS = [
    {"LLM_PROVIDERS": {"openai": {"api_key": SECRET}}},
    {"LLM_PROVIDERS": {"openai": {"api_key": [SECRET, "other"]}}},
    {"LLM_PROVIDERS": {"openai": {"headers": {"X-Key": SECRET}}}},
    {"LLM_PROVIDERS": {"openai": {"proxies": {"https": f"http://u:{SECRET}@p"}}}},
    {"LLM_REPORTS_TOKEN": SECRET},
    {"LLM_DATABASE_URI": f"postgresql+psycopg://u:{SECRET}@127.0.0.1/x"},
    {"LLM_REDIS_URL": f"redis://:{SECRET}@127.0.0.1:6379/0"},
    {"OPENAI_API_KEY": SECRET},
]


@pytest.mark.parametrize("config", SECRET_CONFIGS)
def test_repr_of_what_is_set_up_shows_no_secret(config):
    state = set_up(**config).extensions["llm"]

    shown = f"{state!r} {state.settings!r} {state.client.providers['openai']!r}"

    assert SECRET not in shown


LEAKS = [
    {"LLM_PROVIDERS": [("openai", {"api_key": SECRET})]},
    {"LLM_PROVIDERS": f'{{"openai": {{"api_key": "{SECRET}"'},
    {"LLM_PROVIDERS": {"OpenAI": {"api_key": SECRET}}},
    {"LLM_PROVIDERS": {"openai": {"api_key": [SECRET, 1]}}},
    {"LLM_PROVIDERS": {"openai": {"api_key": {"key": SECRET}}}},
    {"LLM_PROVIDERS": {"openai": {"base_url": f"https://user:{SECRET}@host/v1"}}},
    {"LLM_PROVIDERS": {"openai": {"base_url": f"https://host/v1?key={SECRET}"}}},
    {"LLM_PROVIDERS": {"openai": {"base_url": f"https://host:{SECRET}/v1"}}},
    {"LLM_PROVIDERS": {"openai": {"headers": {"X-Key": [SECRET]}}}},
    {"LLM_PROVIDERS": {"openai": {"proxies": [f"http://u:{SECRET}@proxy"]}}},
    {"LLM_PROVIDERS": {"openai": [SECRET]}},
    {"LLM_REPORTS_TOKEN": [SECRET]},
    {"LLM_REDIS_URL": f"http://:{SECRET}@host"},
    {"LLM_DATABASE_URI": [SECRET]},
    {"LLM_DATABASE_URI": f"sqlite//u:{SECRET}@host"},
    {"LLM_DATABASE_URI": f"oracel://u:{SECRET}@host/x"},
]


@pytest.mark.parametrize("config", LEAKS)
def test_complaint_about_a_setting_shows_no_secret(config):
    with pytest.raises(ConfigError) as caught:
        set_up(**config)

    told = f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    assert SECRET not in told


@pytest.mark.parametrize(
    "base_url", ["https://user:pw@example.com/v1", "https://user@example.com"]
)
def test_base_url_with_credentials_is_refused(base_url):
    with pytest.raises(ConfigError, match="without user name, password"):
        set_up(LLM_PROVIDERS={"openai": {"base_url": base_url}})


def test_database_is_set_in_one_way_only():
    with pytest.raises(ConfigError, match="LLM_BIND_KEY and LLM_DATABASE_URI"):
        set_up(LLM_BIND_KEY="default", LLM_DATABASE_URI="sqlite://")


def test_every_protocol_may_be_named_in_a_row():
    assert set(PROTOCOL_NAMES) == set(PROTOCOLS)


# Quotas and budgets


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("20/minute per user", (20, 1, "minute", "user")),
        ("100/minute", (100, 1, "minute", "app")),
        ("1000 per day per tenant", (1000, 1, "day", "tenant")),
        ("5 per 10 minutes", (5, 10, "minute", "app")),
        ("5/2 hours per model", (5, 2, "hour", "model")),
        (" 7 / SECOND per Feature ", (7, 1, "second", "feature")),
    ],
)
def test_quota_is_read(line, facts):
    (quota,) = settings_of(set_up(LLM_QUOTAS=[line])).quotas

    assert (quota.count, quota.every, quota.unit, quota.scope) == facts
    assert quota.text == line


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("$1/day per user", ("1", "day", "user")),
        ("$200/month", ("200", "month", "app")),
        ("$0.005 per hour per provider", ("0.005", "hour", "provider")),
        ("$ 50 / Week per tenant", ("50", "week", "tenant")),
        ("$0/day", ("0", "day", "app")),
    ],
)
def test_budget_is_read(line, facts):
    (budget,) = settings_of(set_up(LLM_BUDGETS=[line])).budgets

    assert (str(budget.limit_usd), budget.period, budget.scope) == facts


def test_limits_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("FLASK_LLM_QUOTAS", '["20/minute per user"]')
    monkeypatch.setenv("FLASK_LLM_BUDGETS", "$1/day")

    app = Flask("settings")
    app.config.from_prefixed_env()
    app.register_blueprint(llm_bp)

    assert settings_of(app).quotas[0].count == 20
    assert settings_of(app).budgets[0].period == "day"
