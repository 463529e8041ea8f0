"""A believable month of calls, for tests and pictures of the dashboard."""

import random
from datetime import UTC, datetime, timedelta

from flask_llm.usage import Rebuild
from flask_llm.usage.models import spend, usage

MODELS = {
    # name: share of the calls, dollars per million tokens in and out, milliseconds
    "openai/gpt-6-luna": (38, 0.4, 1.6, 1_100),
    "anthropic/claude-haiku-5-5": (22, 1.0, 5.0, 1_400),
    "google/gemini-3.8-flash": (18, 0.3, 2.5, 900),
    "anthropic/claude-sonnet-5-5": (9, 3.0, 15.0, 3_900),
    "openai/gpt-6.1-terra": (6, 2.0, 8.0, 2_600),
    "openai/text-embedding-3-small": (5, 0.02, 0.0, 240),
    "ollama/qwen3-8b": (2, None, None, 5_200),
}
FEATURES = {
    "support.answer": 34,
    "search.rerank": 22,
    "documents.summarise": 18,
    "editor.rewrite": 14,
    "invoices.extract": 8,
    None: 4,
}
USERS = ("olena", "mike", "sofia", "taras", "ingrid", "pavlo", "chen", "amara", "joe")
TENANTS = ("acme", "globex", "initech")
FAULTS = (
    ("rate_limited", 429),
    ("overloaded", 529),
    ("read_timeout", None),
    ("server_error", 500),
    ("context_length_exceeded", 400),
)

NOTHING = dict.fromkeys(usage.c.keys())


def fill(database, now, *, days=30, busiest=130, seed=7):
    """Write a month of calls and make the sums that reports read."""
    dice = random.Random(seed)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    rows = [
        call(dice, at, number)
        for number, at in enumerate(times(dice, today, now, days, busiest))
    ]
    with database.begin() as connection:
        connection.execute(usage.insert(), rows)
    rebuild = Rebuild(database, now)
    for week in rebuild.weeks():
        rebuild.week(week)
    rebuild.finish()


def times(dice, today, now, days, busiest):
    for ago in range(days - 1, -1, -1):
        day = today - timedelta(days=ago)
        weekend = 0.35 if day.weekday() > 4 else 1
        growth = 0.6 + 0.4 * (days - ago) / days
        for _ in range(round(busiest * weekend * growth * dice.uniform(0.8, 1.15))):
            hour = min(23.98, max(0, dice.gauss(13.5, 3.4)))
            at = day + timedelta(hours=hour)
            if at < now:
                yield at


def call(dice, at, number):
    model = pick(dice, {name: facts[0] for name, facts in MODELS.items()})
    _, price_in, price_out, typical_ms = MODELS[model]
    embedding = "embedding" in model
    # The provider's bad hour.
    bad = at.day == 12 and at.hour > 9 and model.startswith("anthropic")
    row = NOTHING | {
        "id": f"{number:032x}",
        "request_id": f"{number:032x}",
        "created_at": at,
        "expires_at": at + timedelta(seconds=60),
        "operation": "embed" if embedding else "complete",
        "provider": model.partition("/")[0],
        "model": model,
        "streamed": False,
        "user_id": pick(dice, {name: 2 ** (8 - n) ** 0.6 for n, name in ranked()}),
        "tenant": dice.choice(TENANTS),
        "feature": "search.index" if embedding else pick(dice, FEATURES),
        "attempts": 1,
        "duration_ms": round(typical_ms * dice.lognormvariate(0, 0.5)),
    }
    fate = dice.random()
    if fate < (0.5 if bad else 0.012):
        code, status = ("overloaded", 529) if bad else dice.choice(FAULTS)
        return row | {"status": "failed", "error_code": code, "error_status": status}
    return row | used(dice, price_in, price_out, cached=fate > 0.94)


def ranked():
    return list(enumerate(USERS))


def used(dice, price_in, price_out, *, cached):
    inputs = round(dice.lognormvariate(8.0, 0.9))
    read = round(inputs * dice.choice((0, 0, 0.5, 0.8)))
    written = round((inputs - read) * dice.choice((0, 0, 0.4)))
    outputs = round(dice.lognormvariate(5.6, 0.8)) if price_out != 0 else 0
    reasoning = round(outputs * dice.choice((0, 0, 0.5)))
    tokens = {
        "input_tokens": inputs,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": outputs,
        "reasoning_tokens": reasoning,
        "usage_source": "provider",
    }
    if price_in is None:
        return tokens | {"status": "ok"}
    paid = (inputs - 0.9 * read) * price_in + outputs * price_out
    nanos = round(paid * 1000)
    if cached:
        nothing = dict.fromkeys(("cache_read_tokens", "cache_write_tokens"), 0)
        return (
            dict.fromkeys(tokens, 0)
            | nothing
            | {"usage_source": None, "status": "cached", "cost_nanos": 0}
            | {"saved_nanos": nanos, "duration_ms": 3}
        )
    return tokens | {"status": "ok", "cost_nanos": nanos, "cost_source": "table"}


def pick(dice, weights):
    return dice.choices(list(weights), list(weights.values()))[0]


def spent(database, *shares):
    """Write what budgets have spent and hold: scope, subject, period, cents, cents."""
    with database.begin() as connection:
        for scope, subject, period, cents, held in shares:
            connection.execute(
                spend.insert(),
                {
                    "scope": scope,
                    "subject": subject,
                    "period": period,
                    "spent_nanos": cents * 10**7,
                    "reserved_nanos": held * 10**7,
                },
            )


def spend_some(database, now):
    """Spend a part of the budgets that :data:`BUDGETS` sets."""
    day, month = f"{now:%Y-%m-%d}", f"{now:%Y-%m}"
    spent(
        database,
        ("app", "", month, 1284, 22),
        ("user", "olena", day, 83, 0),
        ("user", "mike", day, 41, 4),
        ("user", "taras", day, 100, 0),
        ("user", "sofia", day, 12, 0),
        ("feature", "support.answer", month, 466, 3),
        ("feature", "search.rerank", month, 180, 0),
    )


BUDGETS = ["$25/month", "$1/day per user", "$8/month per feature"]


def in_the_middle_of(day):
    """Return a moment of a working day."""
    return datetime(day.year, day.month, day.day, 16, 40, tzinfo=UTC)
