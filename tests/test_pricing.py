import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from importlib import metadata, resources
from pathlib import Path

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data import providers as their_providers
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_llm.chat import Usage
from flask_llm.errors import ConfigError
from flask_llm.pricing import Prices, cost
from flask_llm.pricing.rules import Rule, When

THEIRS = {provider.id: provider for provider in their_providers}
THEIR_IDS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "azure": "azure",
    "groq": "groq",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "openrouter": "openrouter",
    "together": "together",
    "fireworks": "fireworks",
    "cerebras": "cerebras",
    "zai": "zai",
    "moonshot": "moonshotai",
}
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MOMENTS = (
    datetime(2026, 2, 1, 20, tzinfo=UTC),
    datetime(2026, 10, 13, 2, 30, tzinfo=UTC),
    NOW,
    datetime(2026, 12, 1, tzinfo=UTC),
    datetime(2027, 1, 1, 7, tzinfo=UTC),
)
USAGES = (
    Usage(),
    Usage(input_tokens=1_234_567),
    Usage(input_tokens=100_000, cache_read_tokens=60_001, output_tokens=77),
    Usage(
        input_tokens=150_000,
        cache_read_tokens=20_000,
        cache_write_tokens=30_000,
        cache_write_1h_tokens=10_000,
        output_tokens=4_000,
        reasoning_tokens=3_000,
    ),
    Usage(input_tokens=272_000, output_tokens=1, web_searches=3),
    Usage(input_tokens=272_001, cache_write_tokens=272_001, output_tokens=1),
    Usage(
        input_tokens=9_000,
        cache_read_tokens=4_000,
        input_audio_tokens=6_000,
        output_tokens=900,
        output_audio_tokens=800,
    ),
)
BASES = {
    "batch": ({"batch": True}, {"processing": "batch"}),
    "flex": ({"service_tier": "flex"}, {"service_tier": "flex"}),
    "priority": ({"service_tier": "priority"}, {"service_tier": "priority"}),
    "fast": ({"service_tier": "fast"}, {"service_tier": "fast"}),
    "speed": ({"service_tier": "fast"}, {"speed": "fast"}),
}


def their_usage(usage):
    """The same usage for genai-prices, which wants to be told the overlap."""
    fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    return TheirUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        cache_audio_read_tokens=max(0, usage.input_audio_tokens - fresh),
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        output_audio_tokens=usage.output_audio_tokens,
        web_searches=usage.web_searches,
    )


def literals(clause):
    children = getattr(clause, "or_", None) or getattr(clause, "and_", None)
    if children:
        return [text for child in children for text in literals(child)]
    return [*vars(clause).values()]


def a_name_of(provider, model):
    """A name that genai-prices takes for this model, and not for another."""
    for text in [model.id, *literals(model.match)]:
        for suffix in ("", "20260115", "-20260115"):
            if provider.find_model(text + suffix) is model:
                return text + suffix
    return None


def priceable(model, price, usage):
    """Whether usage as we know it says all that this price depends on.

    genai-prices charges nothing for what it has no price for.
    """
    known = {key for key, value in vars(price).items() if value is not None}
    if not known:
        free = model.id.endswith(":free") or model.id.startswith(("gemma", "moder"))
        return free and not usage.web_searches
    blind = known & {"output_image_mtok", "output_video_mtok"}
    return not (
        not known & {"input_mtok", "output_mtok"}
        or (usage.input_tokens and "input_mtok" not in known)
        or (usage.output_tokens and ("output_mtok" not in known or blind))
        or (usage.web_searches and "web_searches_kcount" not in known)
    )


def their_figure(provider, model, usage, at, context=None):
    """The figure of genai-prices; None where it would charge standard or nothing."""
    listed = [
        variant
        for variant in model.price_variants or ()
        if variant.when == context
        and (variant.constraint is None or variant.constraint.active(at))
    ]
    price = model.get_prices(at, context)
    if (context and not listed) or not priceable(model, price, usage):
        return None
    return model.calc_price(
        their_usage(usage),
        provider,
        genai_request_timestamp=at,
        price_context=context,
    ).total_price


def contexts_of(model):
    asked = [variant.when for variant in model.price_variants or ()]
    return [(ours, theirs) for ours, theirs in BASES.values() if theirs in asked]


def same(figure, other):
    return (figure is None) == (other is None) and figure == other


@pytest.mark.parametrize("ours", THEIR_IDS)
def test_every_model_costs_what_genai_prices_says(ours):
    provider = THEIRS[THEIR_IDS[ours]]
    names = {model.id: a_name_of(provider, model) for model in provider.models}

    different = [
        (names[model.id], usage, at, figure, expected)
        for model in provider.models
        for usage in USAGES
        for at in MOMENTS
        if not same(
            figure := cost(f"{ours}/{names[model.id]}", usage, at=at).usd,
            expected := their_figure(provider, model, usage, at),
        )
    ]

    assert None not in names.values()
    assert different == []


@pytest.mark.parametrize("ours", THEIR_IDS)
def test_every_tier_and_batch_costs_what_genai_prices_says(ours):
    provider = THEIRS[THEIR_IDS[ours]]

    different = [
        (model.id, usage, at, theirs, figure, expected)
        for model in provider.models
        for options, theirs in contexts_of(model)
        for usage in USAGES
        for at in MOMENTS
        if not same(
            figure := cost(
                f"{ours}/{a_name_of(provider, model)}", usage, at=at, **options
            ).usd,
            expected := their_figure(provider, model, usage, at, theirs),
        )
    ]

    assert different == []


# What genai-prices takes by a "contains" or a negative look-ahead for another model.
THEIR_SLIPS = ("o4-mini-deep-research", "-tts@")


@pytest.mark.parametrize("ours", THEIR_IDS)
@pytest.mark.parametrize(
    "suffix", ["", "-20251211", "-2025-12-11", "@20251211", "-001", "-0514", "-latest"]
)
def test_a_name_never_means_another_model_than_for_genai_prices(ours, suffix):
    provider = THEIRS[THEIR_IDS[ours]]
    chain = [provider.id, *(provider.fallback_model_providers or ())]
    names = [
        text + suffix
        for owner in chain
        for model in THEIRS[owner].models
        for text in [model.id.lower(), *literals(model.match)]
        if not text.startswith("^") and not any(s in text + suffix for s in THEIR_SLIPS)
    ]
    usage = Usage(input_tokens=1_000)

    # genai-prices needs a millisecond for a miss, so not every one of thousands.
    different = [
        (name, figure, model.id)
        for name in names[:: 1 + len(names) // 400]
        if (figure := cost(f"{ours}/{name}", usage, at=NOW).usd) is not None
        and (model := provider.find_model(name, all_providers=their_providers))
        and figure != their_figure(provider, model, usage, NOW)
    ]

    assert different == []


tokens = st.integers(0, 2_000_000)


@st.composite
def usages(draw):
    total, output = draw(tokens), draw(tokens)
    read = draw(st.integers(0, total))
    write = draw(st.integers(0, total - read))
    spoken = draw(st.integers(0, output))
    return Usage(
        input_tokens=total,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=draw(st.integers(0, write)),
        input_audio_tokens=draw(st.integers(0, total - write)),
        output_tokens=output,
        output_audio_tokens=spoken,
        reasoning_tokens=draw(st.integers(0, output - spoken)),
    )


MODELS = (
    "openai/gpt-6-astra",
    "openai/gpt-realtime",
    "openai/gpt-4o-mini",
    "anthropic/claude-haiku-5-5",
    "anthropic/claude-opus-5-5",
    "google/gemini-2.5-flash",
    "google/gemini-3.1-pro-preview",
    "deepseek/deepseek-v4-pro",
    "openrouter/perplexity/sonar-deep-research",
)
models = st.sampled_from(MODELS)
moments = st.datetimes(
    datetime(2025, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone itself
    datetime(2028, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), None]),
)


@settings(deadline=None, max_examples=300)
@given(model=models, usage=usages(), at=moments)
def test_any_usage_at_any_time_costs_what_genai_prices_says(model, usage, at):
    ours, _, name = model.partition("/")
    provider = THEIRS[ours]
    expected = their_figure(provider, provider.find_model(name), usage, at)

    assert cost(model, usage, at=at).usd == expected


@settings(deadline=None)
@given(model=models, usage=usages(), more=tokens, part=st.sampled_from(["in", "out"]))
def test_more_tokens_never_cost_less(model, usage, more, part):
    field = "input_tokens" if part == "in" else "output_tokens"
    larger = Usage(**asdict(usage) | {field: getattr(usage, field) + more})

    assert cost(model, larger, at=NOW).usd >= cost(model, usage, at=NOW).usd


@settings(deadline=None)
@given(model=models, total=tokens, read=tokens)
def test_cached_input_is_never_dearer_than_fresh_input(model, total, read):
    fresh = Usage(input_tokens=total)
    cached = Usage(input_tokens=total, cache_read_tokens=min(read, total))

    assert cost(model, cached, at=NOW).usd <= cost(model, fresh, at=NOW).usd


counts = st.integers(-(10**12), 10**12)


@settings(deadline=None)
@given(model=models, numbers=st.lists(counts, min_size=9, max_size=9))
def test_usage_that_contradicts_itself_still_has_a_price(model, numbers):
    *counted, searches = numbers
    fields = [name for name in Usage.__dataclass_fields__ if name != "source"]
    usage = Usage(**dict(zip(fields, [*counted, min(searches, 0)], strict=True)))

    assert cost(model, usage, at=NOW).usd >= 0


# The table "Coverage today" of the pricing sheet, 2026-11-23, USD per million:
# input, output, cache read, cache write.
COVERAGE = [
    ("openai/gpt-6-astra", "10", "50", "1", "12.5"),
    ("openai/gpt-6.1-sol", "2", "10", "0.1", "2.5"),
    ("openai/gpt-6.1-terra", "1", "5", "0.05", "1.25"),
    ("openai/gpt-6-sol", "2", "10", "0.2", "2.5"),
    ("openai/gpt-6-luna", "0.1", "0.5", "0.01", "0.125"),
    ("openai/gpt-5.6-sol", "4", "20", "0.4", "5"),
    ("openai/gpt-5.6", "4", "20", "0.4", "5"),
    ("openai/gpt-5.6-terra", "2", "12", "0.2", "2.5"),
    ("openai/gpt-5.6-luna", "0.2", "1.2", "0.02", "0.25"),
    ("openai/gpt-5.5", "5", "30", "0.5", "5"),
    ("openai/gpt-5.4", "2.5", "15", "0.25", "2.5"),
    ("openai/gpt-5.4-mini", "0.75", "4.5", "0.075", "0.75"),
    ("openai/gpt-5.4-nano", "0.2", "1.25", "0.02", "0.2"),
    ("openai/gpt-4.1", "2", "8", "0.5", "2"),
    ("openai/gpt-4o-mini", "0.15", "0.6", "0.075", "0.15"),
    ("anthropic/claude-fable-5-2", "8", "40", "0.2", "10"),
    ("anthropic/claude-mythos-5-2", "8", "40", "0.2", "10"),
    ("anthropic/claude-fable-5-1", "10", "50", "0.25", "12.5"),
    ("anthropic/claude-opus-5-5", "4", "20", "0.2", "5"),
    ("anthropic/claude-opus-5", "5", "25", "0.5", "6.25"),
    ("anthropic/claude-opus-4-8", "5", "25", "0.5", "6.25"),
    ("anthropic/claude-opus-4-5", "5", "25", "0.5", "6.25"),
    ("anthropic/claude-sonnet-5-5", "2", "10", "0.1", "2.5"),
    ("anthropic/claude-sonnet-5", "2", "10", "0.2", "2.5"),
    ("anthropic/claude-sonnet-4-6", "3", "15", "0.3", "3.75"),
    ("anthropic/claude-haiku-5-5", "0.1", "0.5", "0.01", "0.125"),
    ("anthropic/claude-haiku-4-5", "1", "5", "0.1", "1.25"),
    ("google/gemini-4-argon", "2", "10", "0.1", None),
    ("google/gemini-3.8-flash", "0.75", "3.75", "0.075", None),
    ("google/gemini-3.7-flash", "0.75", "3.75", "0.075", None),
    ("google/gemini-3.6-flash", "0.75", "3.75", "0.075", None),
    ("google/gemini-3.5-flash", "1.5", "9", "0.15", None),
    ("google/gemini-3.5-flash-lite", "0.3", "2.5", "0.03", None),
    ("google/gemini-3.1-flash-lite", "0.25", "1.5", "0.025", None),
    ("google/gemini-3.1-pro-preview", "2", "12", "0.2", None),
    ("google/gemini-2.5-pro", "1.25", "10", "0.125", None),
    ("google/gemini-2.5-flash", "0.3", "2.5", "0.03", None),
    ("google/gemini-2.5-flash-lite", "0.1", "0.4", "0.01", None),
    ("openai/text-embedding-3-small", "0.02", None, None, None),
    ("openai/text-embedding-3-large", "0.13", None, None, None),
    ("google/gemini-embedding-001", "0.15", None, None, None),
    ("google/gemini-embedding-2", "0.2", None, None, None),
]
KINDS = {
    "input": Usage(input_tokens=10_000),
    "output": Usage(output_tokens=10_000),
    "cache_read": Usage(input_tokens=10_000, cache_read_tokens=10_000),
    "cache_write": Usage(input_tokens=10_000, cache_write_tokens=10_000),
}


@pytest.mark.parametrize(
    ("model", "kind", "usd"),
    [
        (model, kind, usd)
        for model, *rates in COVERAGE
        for kind, usd in zip(KINDS, rates, strict=True)
        if usd
    ],
)
def test_the_main_models_cost_what_their_price_lists_say(model, kind, usd):
    found = cost(model, KINDS[kind], at=NOW)

    assert (found.usd, found.source, found.basis) == (
        Decimal(usd) / 100,
        "table",
        "standard",
    )


@pytest.mark.parametrize(
    ("model", "threshold", "input_usd", "output_usd", "read_usd"),
    [
        ("openai/gpt-6-astra", 272_000, "20", "75", "2"),
        ("openai/gpt-6.1-sol", 272_000, "4", "15", "0.2"),
        ("openai/gpt-6.1-terra", 272_000, "2", "7.5", "0.1"),
        ("openai/gpt-6-luna", 272_000, "0.2", "0.75", "0.02"),
        ("openai/gpt-5.6-luna", 272_000, "0.4", "1.8", "0.04"),
        ("openai/gpt-5.5", 272_000, "10", "45", "1"),
        ("openai/gpt-5.4", 272_000, "5", "22.5", "0.5"),
        ("anthropic/claude-haiku-5-5", 100_000, "0.5", "2.5", "0.05"),
        ("google/gemini-3.1-pro-preview", 200_000, "4", "18", "0.4"),
        ("google/gemini-2.5-pro", 200_000, "2.5", "15", "0.25"),
    ],
)
def test_one_token_over_the_threshold_reprices_the_whole_call(
    model, threshold, input_usd, output_usd, read_usd
):
    usage = Usage(
        input_tokens=threshold + 1, cache_read_tokens=50_000, output_tokens=20_000
    )

    expected = (
        Decimal(input_usd) * (threshold + 1 - 50_000)
        + Decimal(read_usd) * 50_000
        + Decimal(output_usd) * 20_000
    ) / 1_000_000
    assert cost(model, usage, at=NOW).usd == expected


def test_at_the_threshold_the_lower_price_still_holds():
    at = cost("openai/gpt-6-astra", Usage(input_tokens=272_000), at=NOW)
    over = cost("openai/gpt-6-astra", Usage(input_tokens=272_001), at=NOW)

    assert (at.usd, over.usd) == (Decimal("2.72"), Decimal("5.44002"))


TIERS = [
    ("openai/gpt-6-astra", "flex", "5", "25"),
    ("openai/gpt-6-astra", "batch", "5", "25"),
    ("openai/gpt-6-astra", "priority", "20", "100"),
    ("openai/gpt-6-astra", "fast", "20", "100"),
    ("openai/gpt-6.1-sol", "flex", "1", "5"),
    ("openai/gpt-6.1-terra", "priority", "2", "10"),
    ("openai/gpt-5.5", "batch", "2.5", "15"),
    ("openai/gpt-5.5", "priority", "12.5", "75"),
    ("openai/gpt-5.4", "priority", "5", "30"),
    ("anthropic/claude-fable-5-2", "batch", "4", "20"),
    ("anthropic/claude-fable-5-2", "fast", "16", "80"),
    ("anthropic/claude-opus-5-5", "batch", "2", "10"),
    ("anthropic/claude-opus-5-5", "fast", "8", "40"),
    ("anthropic/claude-haiku-5-5", "batch", "0.05", "0.25"),
    ("google/gemini-4-argon", "batch", "1", "5"),
    ("google/gemini-2.5-pro", "batch", "0.625", "5"),
]


@pytest.mark.parametrize(("model", "tier", "input_usd", "output_usd"), TIERS)
def test_the_reported_tier_sets_the_price(model, tier, input_usd, output_usd):
    asked = cost(model, KINDS["input"], at=NOW, service_tier=tier)
    answered = cost(model, KINDS["output"], at=NOW, service_tier=tier)

    assert (asked.basis, asked.usd * 100) == (tier, Decimal(input_usd))
    assert answered.usd * 100 == Decimal(output_usd)


@pytest.mark.parametrize(
    "tier",
    [None, "", "default", "standard", "STANDARD", "auto", "on_demand", "ON_DEMAND"],
)
def test_every_word_for_the_standard_tier_is_the_standard_price(tier):
    found = cost("openai/gpt-4.1", KINDS["input"], at=NOW, service_tier=tier)

    assert (found.usd, found.basis) == (Decimal("0.02"), "standard")


@pytest.mark.parametrize(
    ("model", "options", "basis"),
    [
        ("openai/gpt-6-astra", {"service_tier": "ultrafast"}, "unknown"),
        ("openai/gpt-6-astra", {"service_tier": "scale"}, "unknown"),
        ("anthropic/claude-opus-5-5", {"service_tier": "priority"}, "priority"),
        ("anthropic/claude-sonnet-5-5", {"service_tier": "fast"}, "fast"),
        ("google/gemini-4-argon", {"service_tier": "FLEX"}, "flex"),
        ("google/gemini-3.7-flash", {"batch": True}, "batch"),
        ("groq/llama-3.3-70b-versatile", {"service_tier": "flex"}, "flex"),
        ("azure/gpt-6-astra", {"service_tier": "priority"}, "priority"),
        ("openai/gpt-6-astra", {"service_tier": "flex", "batch": True}, "unknown"),
    ],
)
def test_a_tier_without_a_price_is_unknown_and_not_standard(model, options, basis):
    standard = cost(model, KINDS["input"], at=NOW)
    found = cost(model, KINDS["input"], at=NOW, **options)

    assert standard.usd is not None
    assert (found.usd, found.source, found.basis) == (None, "none", basis)


def test_a_tier_has_no_price_before_the_day_that_its_price_is_known_from():
    before = datetime(2026, 10, 1, tzinfo=UTC)

    found = cost("openai/gpt-6-astra", KINDS["input"], at=before, service_tier="flex")

    assert found.usd is None


def test_batch_results_that_report_the_standard_tier_cost_half():
    found = cost(
        "openai/gpt-4.1", KINDS["input"], at=NOW, service_tier="default", batch=True
    )

    assert (found.usd, found.basis) == (Decimal("0.01"), "batch")


@pytest.mark.parametrize(
    ("model", "at", "usd"),
    [
        ("google/gemini-4-argon", datetime(2026, 11, 30, 23, 59, tzinfo=UTC), "2"),
        ("google/gemini-4-argon", datetime(2026, 12, 1, tzinfo=UTC), "4"),
        ("google/gemini-4-argon", datetime(2026, 12, 1), "4"),  # noqa: DTZ001
        ("google/gemini-3.8-flash", datetime(2026, 12, 31, tzinfo=UTC), "0.75"),
        ("google/gemini-3.8-flash", datetime(2027, 1, 1, tzinfo=UTC), "1.5"),
        ("deepseek/deepseek-v4-pro", datetime(2026, 11, 23, 0, 59, tzinfo=UTC), "0.66"),
        ("deepseek/deepseek-v4-pro", datetime(2026, 11, 23, 1, tzinfo=UTC), "1.32"),
        ("deepseek/deepseek-v4-pro", datetime(2026, 11, 23, 4, tzinfo=UTC), "0.66"),
    ],
)
def test_the_moment_of_the_call_sets_the_price(model, at, usd):
    assert cost(model, KINDS["input"], at=at).usd * 100 == Decimal(usd)


@pytest.mark.parametrize(
    ("clock", "holds"), [("16:29", False), ("16:30", True), ("00:29", True)]
)
def test_hours_of_the_day_may_run_past_midnight(clock, holds):
    night = When(hours=(time(16, 30), time(0, 30)))

    assert night.holds(datetime.combine(NOW, time.fromisoformat(clock))) is holds


def test_before_its_first_day_a_model_costs_what_it_cost_then():
    first = When(since=date(2026, 12, 1)), {"input": ((0, Decimal(3)),)}
    later = When(since=date(2027, 1, 1)), {"input": ((0, Decimal(4)),)}
    rule = Rule(name="x/y", source="table", stages=(first, later))

    assert rule.rates("standard", NOW) == first[1]


def test_a_moment_in_another_zone_is_the_same_moment():
    tokyo = timezone(timedelta(hours=9))
    still_november = datetime(2026, 12, 1, 8, 59, tzinfo=tokyo)

    found = cost("google/gemini-4-argon", KINDS["input"], at=still_november)

    assert found.usd == Decimal("0.02")


def test_writes_to_the_cache_for_an_hour_cost_more():
    usage = Usage(
        input_tokens=1_000_000,
        cache_write_tokens=300_000,
        cache_write_1h_tokens=100_000,
    )

    # 0.7 at 4, 0.2 at 5, 0.1 at 8
    assert cost("anthropic/claude-opus-5-5", usage, at=NOW).usd == Decimal("4.6")


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("openai/gpt-4.1", "0.01"),
        ("anthropic/claude-opus-5-5", "0.01"),
        ("google/gemini-4-argon", "0.014"),
        ("google/gemini-2.5-flash", "0.035"),
    ],
)
def test_a_web_search_has_its_fee(model, usd):
    assert cost(model, Usage(web_searches=1), at=NOW).usd == Decimal(usd)


def test_a_web_search_without_a_known_fee_makes_the_cost_unknown():
    usage = Usage(input_tokens=10, web_searches=1)

    assert cost("groq/llama-3.3-70b-versatile", usage, at=NOW).usd is None


def test_audio_has_its_own_rate_cached_or_not():
    usage = Usage(
        input_tokens=10_000,
        cache_read_tokens=6_000,
        input_audio_tokens=5_000,
        output_tokens=1_000,
    )

    # 4,000 fresh audio at 1, 1,000 cached audio at 0.1, 5,000 cached text at 0.03,
    # 1,000 output at 2.5
    found = cost("google/gemini-2.5-flash", usage, at=NOW)

    assert found.usd == Decimal("0.00675")


def test_output_that_may_hold_images_has_no_price():
    model = "google/gemini-2.5-flash-image"

    assert cost(model, Usage(input_tokens=10_000), at=NOW).usd == Decimal("0.003")
    assert cost(model, Usage(output_tokens=1), at=NOW).usd is None


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-6.2-astra",
        "openai/gpt-6.2-sol",
        "openai/gpt-4o-mini-my-ft",
        "openai/gpt-4o-minimal",
        "openai/gpt-4o-mini-2024-07-18-x",
        "openai/gpt-4o-mini-2024-13-18",
        "openai/whisper-1",
        "anthropic/claude-mythos-5",
        "anthropic/claude-opus-4-10",
        "anthropic/claude-haiku-4-5-turbo",
        "google/gemini-4-carbon",
        "google/gemini-4-hydrogen",
        "google/gemini-3.8-flash-ultra",
        "google/gemini-embedding-3",
        "openrouter/google/lyria-3-pro-preview",
        "ollama/llama3.3",
        "vllm/gpt-4o-mini",
        "gpt-4o-mini",
        "openai/",
        "/gpt-4o-mini",
        "",
    ],
)
def test_an_unlisted_model_costs_none_and_never_zero(model):
    found = cost(model, Usage(input_tokens=1), at=NOW)

    assert (found.usd, found.nanos, found.source) == (None, None, "none")
    assert cost(model, Usage(), at=NOW).usd is None


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("openai/GPT-4o-Mini", "0.15"),
        ("openai/gpt-4o-mini-2024-07-18", "0.15"),
        ("openai/gpt-6-astra-2026-09-03", "10"),
        ("openai/gpt-6-astra-20260903", "10"),
        ("openai/gpt-4o-2024-05-13", "5"),
        ("openai/gpt-4o-20240513", "5"),
        ("openai/ft:gpt-4o-mini-2024-07-18:acme::x1", "0.3"),
        ("anthropic/claude-haiku-4-5-20251001", "1"),
        ("anthropic/claude-haiku-4-5@20251001", "1"),
        ("google/gemini-2.0-flash-001", "0.1"),
        ("google/claude-opus-4-5@20251101", "5"),
        ("google/claude-mythos-5-2", "8"),
        ("azure/gpt-6-astra", "10"),
        ("azure/gpt-4.1-2025-04-14", "2"),
        ("openrouter/anthropic/claude-opus-4.5", "5"),
        ("openrouter/openai/gpt-oss-20b:free", "0"),
        ("fireworks/accounts/fireworks/models/gpt-oss-120b", "0.15"),
        ("together/meta-llama/Llama-3.3-70B-Instruct-Turbo", "0.88"),
        ("xai/grok-3", "3"),
    ],
)
def test_ids_aliases_and_dated_ids_are_found(model, usd):
    assert cost(model, KINDS["input"], at=NOW).usd * 100 == Decimal(usd)


@pytest.mark.parametrize(
    ("usage", "like"),
    [
        (
            Usage(input_tokens=100, cache_read_tokens=80, cache_write_tokens=70),
            Usage(input_tokens=100, cache_read_tokens=30, cache_write_tokens=70),
        ),
        (
            Usage(output_tokens=10, reasoning_tokens=50),
            Usage(output_tokens=10, reasoning_tokens=10),
        ),
        (
            Usage(input_tokens=100, cache_write_tokens=10, cache_write_1h_tokens=90),
            Usage(input_tokens=100, cache_write_tokens=10, cache_write_1h_tokens=10),
        ),
        (Usage(input_tokens=-5, output_tokens=-5, web_searches=-1), Usage()),
    ],
)
def test_counts_that_contradict_each_other_are_cut_to_fit(usage, like):
    model = "anthropic/claude-opus-5-5"

    assert cost(model, usage, at=NOW).usd == cost(model, like, at=NOW).usd


@pytest.mark.parametrize(
    ("usd", "nanos"),
    [("1.5", 1_500_000_000), ("0.0000000005", 1), ("0.00000000049", 0), ("0", 0)],
)
def test_nanos_round_half_up(usd, nanos):
    prices = Prices.load({"x/y": {"input": Decimal(usd) * 1_000_000}})

    assert prices.cost("x/y", Usage(input_tokens=1)).nanos == nanos


def test_the_hosts_decimal_context_does_not_touch_money():
    usage = Usage(input_tokens=123_457, output_tokens=7_654_321)
    expected = cost("openai/gpt-4o-mini", usage, at=NOW)

    with localcontext(prec=3):
        found = cost("openai/gpt-4o-mini", usage, at=NOW)
        nanos = found.nanos

    assert (found.usd, nanos) == (expected.usd, expected.nanos)


def test_a_price_of_ones_own_wins_over_the_table():
    prices = Prices.load({"openai/gpt-4o-mini": {"input": "1.5", "output": 6}})

    asked = prices.cost("openai/GPT-4o-mini", KINDS["input"])
    answered = prices.cost("openai/gpt-4o-mini", KINDS["output"])

    assert (asked.usd, asked.source) == (Decimal("0.015"), "config")
    assert answered.usd == Decimal("0.06")
    assert prices.cost("openai/gpt-4.1", KINDS["input"]).source == "table"


def test_the_longest_prefix_wins_and_an_exact_id_wins_over_it():
    prices = Prices.load({"a/*": 1, "a/bc*": 2, "a/b*": 3, "a/bcd": 4, "*": 5})

    found = {
        model: prices.cost(model, Usage(input_tokens=1_000_000)).usd
        for model in ("a/x", "a/bx", "a/bcx", "a/bcd", "z/z")
    }

    assert found == {"a/x": 1, "a/bx": 3, "a/bcx": 2, "a/bcd": 4, "z/z": 5}


def test_one_number_prices_all_tokens_in_every_tier():
    prices = Prices.load({"ollama/*": 0, "x/y": "2"})
    usage = Usage(input_tokens=500_000, cache_read_tokens=9, output_tokens=500_000)

    local = prices.cost("ollama/llama3.3:70b", usage)

    assert (local.usd, local.source) == (0, "config")
    assert prices.cost("x/y", usage).usd == 2
    assert prices.cost("x/y", usage, batch=True).usd == 2


def test_rates_of_ones_own_cover_caches_audio_and_searches():
    prices = Prices.load(
        {
            "x/y": {
                "input": 10,
                "output": 20,
                "cache_read": 1,
                "cache_write": 12,
                "cache_write_1h": 16,
                "input_audio": 40,
                "web_search": 7,
            }
        }
    )
    usage = Usage(
        input_tokens=600_000,
        cache_read_tokens=100_000,
        cache_write_tokens=200_000,
        cache_write_1h_tokens=100_000,
        input_audio_tokens=100_000,
        output_tokens=100_000,
        web_searches=1_000,
    )

    # 0.2 at 10, then 0.1 each at 1, 12, 16, 40 and 20, and the searches
    assert prices.cost("x/y", usage).usd == Decimal("17.9")


def test_a_tier_of_ones_own_differs_only_where_it_says_so():
    prices = Prices.load(
        {"anthropic/claude-x": {"input": 4, "output": 20, "priority": {"input": 8}}}
    )
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)

    priority = prices.cost("anthropic/claude-x", usage, service_tier="priority")

    assert (priority.usd, priority.basis) == (28, "priority")
    assert prices.cost("anthropic/claude-x", usage, batch=True).usd is None


def test_a_tier_of_ones_own_can_be_one_number():
    prices = Prices.load({"x/y": {"input": 4, "output": 20, "batch": "1"}})
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)

    assert prices.cost("x/y", usage, batch=True).usd == 2


def test_output_without_a_price_of_ones_own_is_unknown():
    prices = Prices.load({"x/embed": {"input": 1}})

    assert prices.cost("x/embed", Usage(input_tokens=1_000_000)).usd == 1
    assert prices.cost("x/embed", Usage(output_tokens=1)).usd is None


def test_prices_come_from_a_file_too_and_stay_exact(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text('{"x/y": {"input": 0.1, "output": 0.30000000000000000004}}')

    prices = Prices.load(str(path))

    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert prices.cost("x/y", usage).usd == Decimal("0.40000000000000000004")


def test_a_float_means_the_number_one_reads():
    prices = Prices.load({"x/y": {"input": 0.1}})

    assert prices.cost("x/y", Usage(input_tokens=1_000_000)).usd == Decimal("0.1")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"x/y": {"imput": 1}}, "LLM_PRICES['x/y'] has the unknown key 'imput'."),
        ({"x/y": {"imput": 1}}, "Did you mean 'input'?"),
        (
            {"x/y": {"input": 1, "batch": {"cache_reed": 1}}},
            "LLM_PRICES['x/y']['batch'] has",
        ),
        ({"x/y": {"input": 1, "batch": {"flex": 1}}}, "unknown key 'flex'"),
        ({"x/y": {"input": -1}}, "LLM_PRICES['x/y']['input'] is -1; give USD per"),
        ({"x/y": {"input": True}}, "LLM_PRICES['x/y']['input'] is True"),
        ({"x/y": {"input": "cheap"}}, "LLM_PRICES['x/y']['input'] is 'cheap'"),
        ({"x/y": {"input": float("nan")}}, "is nan"),
        ({"x/y": {"input": "Infinity"}}, "is 'Infinity'"),
        ({"x/y": {"input": None}}, "is None"),
        ({"x/y": {"input": [1]}}, "is [1]"),
        ({"x/*": "-0.5"}, "LLM_PRICES['x/*'] is '-0.5'"),
        ({"x/y": None}, "LLM_PRICES['x/y'] is None"),
        ({"x/y": {}}, "LLM_PRICES['x/y'] has no price; give at least"),
        ({"gpt-4o": 1}, "LLM_PRICES['gpt-4o'] names no provider; write"),
        ({7: 1}, "LLM_PRICES[7] names no provider"),
        ([1], "LLM_PRICES holds list; make it a dict"),
        ("no/such/file.json", "LLM_PRICES is the path 'no/such/file.json', which"),
    ],
)
def test_a_wrong_price_is_refused_with_its_place_and_the_cure(
    overrides, said, tmp_path
):
    if isinstance(overrides, list):
        path = tmp_path / "list.json"
        path.write_text(json.dumps(overrides))
        overrides = path

    with pytest.raises(ConfigError) as caught:
        Prices.load(overrides)

    assert said in str(caught.value)


def test_a_file_that_is_not_json_is_refused(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text("{'x/y': 1}")

    with pytest.raises(ConfigError, match=r"LLM_PRICES is the path .* not JSON"):
        Prices.load(path)


def test_the_version_names_the_table_and_marks_prices_of_ones_own():
    plain, own, same_own, other = (
        Prices.load(overrides).version
        for overrides in (None, {"x/y": 1}, {"x/y": 1}, {"x/y": 2})
    )

    assert plain == f"genai-prices {table()['version'].split()[1]}"
    assert own == same_own != other
    assert own.startswith(f"{plain} config ")
    assert cost("openai/gpt-4.1", Usage()).prices_version == plain


def test_an_explanation_names_the_rule_the_rates_and_the_next_change():
    found = Prices.load().explain("google/gemini-4-argon-20261001", NOW)

    standard = {rate.name: rate.usd for rate in found.rates["standard"]}
    assert (found.source, found.rule) == ("table", "google/gemini-4-argon")
    assert found.changes_on == date(2026, 12, 1)
    assert standard == {
        "input": 2,
        "output": 10,
        "cache_read": Decimal("0.1"),
        "web_search": 14,
    }
    assert set(found.rates) == {"standard", "batch"}


def test_an_explanation_shows_the_steps_of_a_long_context():
    found = Prices.load().explain("azure/gpt-6-astra-20260903", NOW)

    (rate,) = (rate for rate in found.rates["standard"] if rate.name == "input")
    assert found.rule == "openai/gpt-6-astra"
    assert (rate.usd, rate.above) == (10, ((272_000, 20),))
    assert (found.changes_on, set(found.rates)) == (None, {"standard"})


def test_an_explanation_of_ones_own_price_names_the_entry():
    found = Prices.load({"ollama/*": 0}).explain("ollama/llama3.3")

    assert (found.source, found.rule) == ("config", "ollama/*")


def test_an_explanation_of_an_unknown_model_is_empty():
    found = Prices.load().explain("openai/gpt-6.2-astra", NOW)

    assert (found.source, found.rule, found.rates) == ("none", None, {})


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("openai/gpt-4o-mini", date(2027, 1, 14)),
        ("openai/gpt-4o-mini-2024-07-18", date(2027, 1, 14)),
        ("openai/o1", date(2026, 10, 23)),
        ("openai/gpt-5-nano", date(2026, 12, 11)),
        ("openai/gpt-5.4-nano", date(2027, 4, 1)),
        ("anthropic/claude-sonnet-4-5-20250929", date(2026, 11, 30)),
        ("anthropic/claude-sonnet-5-5", None),
        ("azure/gpt-4o-mini", None),
        ("openai/gpt-6.2-astra", None),
        ("gpt-4o-mini", None),
    ],
)
def test_retirement_dates_are_known(model, day):
    assert Prices.load().retires_on(model) == day


def test_threads_share_one_set_of_prices():
    prices = Prices.load({"x/y": 1})
    asked = [MODELS[n % len(MODELS)] for n in range(400)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda m: prices.cost(m, USAGES[2], at=NOW).usd, asked))

    assert found == [cost(model, USAGES[2], at=NOW).usd for model in asked]


def test_names_from_outside_do_not_fill_the_memory():
    prices = Prices.load()

    for number in range(3_000):
        prices.cost(f"openai/made-up-{number}", Usage())

    assert prices._rule.cache_info().currsize <= 1_024


def table():
    return json.loads(resources.files("flask_llm").joinpath("prices.json").read_text())


def values(node):
    children = node.values() if isinstance(node, dict) else node
    if isinstance(node, dict | list):
        return [value for child in children for value in values(child)]
    return [node]


def test_the_file_of_prices_holds_no_floats_and_its_source():
    data = table()

    assert {type(value) for value in values(data)} == {str, int}
    assert "https://github.com/pydantic/genai-prices" in data["notice"]
    assert "MIT License" in data["license"]
    assert date.fromisoformat(data["generated"]) <= datetime.now(UTC).date()


def test_the_file_of_prices_is_what_the_generator_makes():
    installed = f"genai-prices {metadata.version('genai-prices')}"
    if table()["version"] != installed:
        pytest.skip(f"prices.json is from {table()['version']}, here is {installed}")
    generator = Path(__file__).parent.parent / ".ci" / "generate_prices.py"

    run = subprocess.run(
        [sys.executable, generator, "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout) == (0, "prices.json is up to date\n")
