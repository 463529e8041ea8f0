"""Lines of ``LLM_QUOTAS`` and ``LLM_BUDGETS``."""

import contextlib

from flask_llm.settings.rules import budgets, quotas

SEEDS = [
    b"20/minute per user",
    b"1000 per 2 days per tenant",
    b"$ 1.5/day per user",
    b"$200 per month",
]


def check(data):
    """A line is a rule that says what was written, or it is refused by a ValueError."""
    line = data.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        (quota,) = quotas(line)
        assert quota.count > 0 < quota.every
    with contextlib.suppress(ValueError):
        (budget,) = budgets([line])
        assert budget.limit_usd.is_finite()
        assert budget.limit_usd >= 0
