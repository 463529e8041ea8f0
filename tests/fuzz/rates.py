"""Prices of one's own: ``LLM_PRICES``, and what answers cost by them."""

import contextlib
from datetime import UTC, datetime

from flask_llm.chat import Usage
from flask_llm.errors import ConfigError
from flask_llm.pricing import Prices
from fuzz import common

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
USAGE = Usage(input_tokens=1000, cache_read_tokens=100, output_tokens=10)

SEEDS = common.seeds(
    {"openai/gpt-4.1": {"input": "2", "output": 8, "cache_read": 0.5}},
    {"openai/*": "1.5", "*": 0},
    {"openai/m": {"input": 1e-9, "output": 1, "batch": {"input": 1, "output": 2}}},
    {
        "openai/m": {
            "input": 1,
            "output": 1,
            "flex": 3,
            "priority": "4",
            "web_search": 9,
        }
    },
)


def check(data):
    """Prices can be computed with, or the error names the entry."""
    given = common.load(data)
    if not isinstance(given, dict):
        return
    with contextlib.suppress(ConfigError):
        prices = Prices.load(given)
        for model in ("openai/gpt-4.1", "openai/m", *given):
            for batch in (False, True):
                cost = prices.cost(model, USAGE, at=NOW, batch=batch)
                assert cost.usd is None or (cost.usd.is_finite() and cost.usd >= 0)
