"""Write flask_llm/prices.json from the installed genai-prices.

Run it after upgrading genai-prices, read the diff, commit the result:

    python .ci/generate_prices.py           # write the table
    python .ci/generate_prices.py --check   # fail when the table is out of date

genai-prices decides what a name means by rules that try prefixes and regular
expressions in order. Here each name that its rules spell out is asked of
genai-prices once and written down with the answer, so that the package needs a
dictionary and one pattern for version suffixes, and nothing that resembles a guess.
"""

import argparse
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from genai_prices.data import providers as genai_providers
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

TARGET = Path(__file__).parent.parent / "flask_llm" / "prices.json"

#: The providers to include, by our name; genai-prices calls one of them otherwise.
PROVIDERS = "openai anthropic google azure groq mistral deepseek xai openrouter"
PROVIDERS += " together fireworks cerebras zai moonshot"
THEIR_NAMES = {"xai": "x-ai", "moonshot": "moonshotai"}

#: Their price key -> ours. What is missing here (hours, pages, characters, image
#: and video tokens) cannot be told from the usage that chat interfaces report.
RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "web_searches_kcount": "web_search",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "cache_audio_read_mtok": "cache_audio_read",
    "output_reasoning_mtok": "reasoning",
}

#: Output of these kinds costs many times the text rate and is counted together with
#: text in the usage, so such a model's output stays without a price.
INSEPARABLE = ("output_image_mtok", "output_video_mtok")

#: The price context of genai-prices -> our basis. Others (a route, the standard
#: tier by its name) are left out.
BASES = {
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("service_tier", "fast"): "fast",
    ("processing", "batch"): "batch",
    ("speed", "fast"): "fast",
}

#: genai-prices has no way to say "free" but a row without prices, which also stands
#: for models billed by song or clip. Free are ids that say so, and these.
FREE = {"moderation", "gemma-3", "gemma-3n", "gemma-4-26b-a4b-it", "gemma-4-31b-it"}

#: Prefixes that end where a name of the customer's or a size begins: fine-tuned
#: models and families with one price. All other prefixes take a version only.
OPEN_PREFIXES = ("ft:", "gemma-3-", "gemma-3n", "gpt-4o-mini-2024-07-18.ft-")

#: Version suffixes, one of each form that the package accepts.
VERSIONS = ("-20260115", "-2026-01-15", "-001", "-0115", "-01-15")

#: When a provider stops serving a model, by the name it is called by. OpenAI's and
#: Anthropic's own dates, from the deprecation tables in their Python SDKs (openai
#: 3.54.0, anthropic 2.12.0); genai-prices knows only that a model is deprecated.
RETIRES = {
    "openai": {
        "2026-10-23": "o1 o3-mini o4-mini gpt-4.1-nano gpt-4-turbo gpt-4 gpt-3.5-turbo",
        "2026-12-11": "gpt-5 gpt-5-mini gpt-5-nano o3",
        "2027-01-14": "gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini",
        "2027-04-01": "gpt-5.1 gpt-5.4-nano",
    },
    "anthropic": {"2026-11-30": "claude-sonnet-4-5"},
}

NOTICE = (
    "Prices in USD per million tokens (web_search: per thousand searches), taken from"
    " genai-prices, https://github.com/pydantic/genai-prices, Copyright (c) Pydantic"
    " Services Inc. 2025 to present, used under the MIT licence (below). Generated"
    " by .ci/generate_prices.py; do not edit."
)


def literals(clause: Any) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) for each text that a matching rule compares with."""
    children = getattr(clause, "or_", None) or getattr(clause, "and_", None)
    for child in children or ():
        yield from literals(child)
    if not children:
        ((kind, text),) = vars(clause).items()
        yield kind, text.lower()


def all_stems(provider: Provider) -> set[str]:
    """Collect the ids and all the texts that a provider's rules compare with."""
    found = {model.id.lower() for model in provider.models}
    for model in provider.models:
        found |= {text for kind, text in literals(model.match) if kind == "equals"}
    return found | loose_stems(provider)


def loose_stems(provider: Provider) -> set[str]:
    """Collect the texts of those rules that take more than the text itself."""
    found = set()
    for model in provider.models:
        for kind, text in literals(model.match):
            if kind == "regex":
                found.add(regex_stem(text))
            elif kind != "equals" and not text.startswith(OPEN_PREFIXES):
                found.add(text.rstrip("-@"))
    return found - {""}


def versioned_of(provider: Provider) -> dict[str, str]:
    """Map the stems that genai-prices itself accepts with any version suffix."""
    found: dict[str, str] = {}
    for stem in loose_stems(provider):
        ids = {meaning(provider, stem + suffix) for suffix in VERSIONS}
        only = ids.pop()
        if only and not ids:
            found[stem] = only
    return found


def names_of(provider: Provider, versioned: dict[str, str]) -> dict[str, str]:
    """Map each name that the rules spell out to the id of the model it means."""
    asked = all_stems(provider)
    for stem in loose_stems(provider):
        numbers = () if stem in versioned else ("-001", "-002")
        asked.update(stem + suffix for suffix in ("-latest", *numbers))
    answers = {name: meaning(provider, name) for name in sorted(asked)}
    return {name: model_id for name, model_id in answers.items() if model_id}


def meaning(provider: Provider, name: str) -> str | None:
    """Ask genai-prices for the id of the provider's own model of that name."""
    model = provider.find_model(name)
    return model.id if model else None


def regex_stem(pattern: str) -> str:
    r"""Return the name in a pattern such as ``^gpt-6-sol-\d{8}$``, or nothing."""
    found = re.match(r"\^((?:[\w/:@-]|\\\.)+?)(?:-|\[-@\])\\d", pattern)
    return found[1].replace("\\.", ".") if found else ""


def rate(price: Decimal | TieredPrices) -> str | list[Any]:
    """Write a price, or ``[base, threshold, price, threshold, price]``."""
    if isinstance(price, Decimal):
        return format(price.normalize(), "f")
    tiers = ((tier.start, rate(tier.price)) for tier in price.tiers)
    return [rate(price.base), *(item for tier in tiers for item in tier)]


def rates(price: ModelPrice) -> dict[str, Any]:
    """Write those prices of a set that chat usage can be priced by."""
    known = {key: value for key, value in vars(price).items() if value is not None}
    if any(key in known for key in INSEPARABLE):
        known.pop("output_mtok", None)
        known.pop("output_audio_mtok", None)
    return {name: rate(known[key]) for key, name in RATES.items() if key in known}


def when(constraint: object) -> str:
    """Write a condition: nothing, a first day, or hours of the day in UTC."""
    if isinstance(constraint, StartDateConstraint):
        return constraint.start_date.isoformat()
    if isinstance(constraint, TimeOfDateConstraint):
        hours = constraint.start_time, constraint.end_time
        if any(hour.tzinfo not in {None, UTC} or hour.second for hour in hours):
            raise SystemExit(f"hours of a kind not seen before: {constraint}")
        return "-".join(hour.strftime("%H:%M") for hour in hours)
    if constraint is not None:
        raise SystemExit(f"condition of a kind not seen before: {constraint}")
    return ""


def prices(model: ModelInfo) -> dict[str, Any] | list[list[Any]] | None:
    """Write the standard prices of a model, each with its condition."""
    stages = model.prices
    if isinstance(stages, ModelPrice):
        stages = [ConditionalPrice(prices=stages)]
    sets = [rates(stage.prices) for stage in stages]
    if any(sets):
        written = [[when(stage.constraint), rates(stage.prices)] for stage in stages]
        return written if len(written) > 1 else sets[0]
    priced = any(value for stage in stages for value in vars(stage.prices).values())
    free: dict[str, Any] = {"input": "0", "output": "0"}
    return free if is_free(model.id) and not priced else None


def is_free(model_id: str) -> bool:
    """Tell whether a row without prices means that the model costs nothing."""
    return model_id.endswith(":free") or model_id in FREE


def tiers(model: ModelInfo) -> list[list[Any]]:
    """Write the prices of the other tiers, which override the standard ones."""
    return [
        [BASES[context], when(variant.constraint), rates(variant.prices)]
        for variant in model.price_variants or ()
        for context in variant.when.items()
        if context in BASES
    ]


def rows(provider: Provider) -> list[dict[str, Any]]:
    """Write a provider's models with the names that mean them, by id."""
    versioned = versioned_of(provider)
    names = names_of(provider, versioned)
    written = []
    for model in sorted(provider.models, key=lambda model: model.id):
        row = {
            "names": names_by(names, model.id),
            "versioned": names_by(versioned, model.id),
            "prefixes": open_prefixes(model),
            "prices": prices(model),
            "tiers": tiers(model),
        }
        if row["prices"] and any(list(row.values())[:3]):
            written.append({key: value for key, value in row.items() if value})
    return written


def names_by(names: dict[str, str], model_id: str) -> list[str]:
    """List the names that mean a model, its own id first."""
    found = [name for name, meant in names.items() if meant == model_id]
    return sorted(found, key=lambda name: (name != model_id.lower(), name))


def open_prefixes(model: ModelInfo) -> list[str]:
    """List the prefixes of a model behind which anything may stand."""
    return sorted(
        text
        for kind, text in literals(model.match)
        if kind == "starts_with" and text.startswith(OPEN_PREFIXES)
    )


def table(generated: str) -> dict[str, Any]:
    """Build the whole table."""
    theirs = {provider.id: provider for provider in genai_providers}
    ours = {THEIR_NAMES.get(name, name): name for name in PROVIDERS.split()}
    version = importlib.metadata.version("genai-prices")
    written: dict[str, Any] = {
        "notice": NOTICE,
        "version": f"genai-prices {version}",
        "license": license_text(),
        "generated": generated,
        "retires": retires(),
        "providers": {},
    }
    for theirs_id, name in ours.items():
        provider = theirs[theirs_id]
        fallbacks = provider.fallback_model_providers or ()
        written["providers"][name] = {
            "fallbacks": [ours[other] for other in fallbacks if other in ours],
            "models": rows(provider),
        }
    return written


def retires() -> dict[str, dict[str, str]]:
    """Write the retirement dates by model."""
    return {
        provider: {name: day for day, names in days.items() for name in names.split()}
        for provider, days in RETIRES.items()
    }


def license_text() -> str:
    """Return the licence of genai-prices, which asks to be kept with the data."""
    files = importlib.metadata.files("genai-prices") or ()
    (path,) = (file for file in files if file.name == "LICENSE")
    return Path(str(path.locate())).read_text().strip()


def dense(value: object) -> str:
    """Serialise without blanks."""
    return json.dumps(value, separators=(",", ":"))


def text(table: dict[str, Any]) -> str:
    """Serialise a table: one line for each model, so that diffs can be read."""
    head = {key: value for key, value in table.items() if key != "providers"}
    lines = [dense(head)[:-1] + ',"providers":{']
    for name, provider in table["providers"].items():
        fallbacks = dense(provider["fallbacks"])
        lines.append(f'"{name}":{{"fallbacks":{fallbacks},"models":[')
        models = [dense(model) for model in provider["models"]]
        lines.append(",\n".join(models))
        lines.append("]},")
    lines[-1] = "]}"
    return "\n".join(lines) + "\n}}\n"


def main() -> int:
    """Write the table, or compare it with the one that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    before = TARGET.read_text() if TARGET.exists() else ""
    day = json.loads(before)["generated"] if before else ""
    if before and text(table(day)) == before:
        print(f"{TARGET.name} is up to date")
        return 0
    if check:
        print(f"{TARGET.name} differs from what the installed genai-prices makes")
        return 1
    TARGET.write_text(text(table(datetime.now(UTC).date().isoformat())))
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
