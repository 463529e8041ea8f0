"""Settings: every key of ``app.config``, by the way an app is set up."""

import tempfile
import warnings

from flask import Flask

from flask_llm import llm_bp
from flask_llm.errors import ConfigError
from flask_llm.settings import Settings
from fuzz import common

_GIVEN = {
    "LLM_MODEL": "openai/gpt-4.1",
    "LLM_TIMEOUT": "30",
    "LLM_TEMPERATURE": 0.5,
    "LLM_MAX_TOKENS": 500,
    "LLM_PROVIDERS": {
        "mine": {
            "protocol": "chat_completions",
            "base_url": "http://127.0.0.1:9/v1",
            "api_key": ["k"],
            "headers": {"X-A": "b"},
            "quirks": {"strict": True},
            "proxies": {"http": "http://127.0.0.1:9"},
            "requests_per_minute": 60,
        }
    },
    "LLM_FALLBACKS": {"openai/gpt-4.1": ["anthropic/claude-haiku-4-5"]},
    "LLM_QUOTAS": ["20/minute per user"],
    "LLM_BUDGETS": ["$1/day per user"],
    "LLM_TIMEZONE": "Europe/Kyiv",
    "LLM_CACHE": {"CACHE_TYPE": "SimpleCache"},
    "LLM_PRICES": {"openai/*": {"input": "1.5", "output": 2}},
    "LLM_REDIS_URL": "redis://127.0.0.1:1/0",
    "LLM_AUTO_MIGRATE": "yes",
}
_KEYS = [one.key for one in Settings.describe()]
SEEDS = common.seeds(_GIVEN, *({key: value} for key, value in _GIVEN.items()))
SEEDS += common.seeds(*({key: 1} for key in _KEYS))


def check(data):
    """An app is set up, or the error names what is wrong."""
    config = common.load(data)
    if not isinstance(config, dict):
        return
    config = {key: value for key, value in config.items() if key in _KEYS}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = Flask("fuzzed", instance_path=folder)
        app.config |= config
        try:
            app.register_blueprint(llm_bp)
        except ConfigError as error:
            assert any(key in str(error) for key in _KEYS), str(error)  # noqa: PT017
        finally:
            if "llm" in app.extensions:
                app.extensions["llm"].close()
