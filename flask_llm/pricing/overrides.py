"""Prices of one's own: ``LLM_PRICES``, checked entry by entry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from os import PathLike
from pathlib import Path
from typing import Any

from flask_llm.errors import ConfigError, nearest
from flask_llm.pricing.rules import ALWAYS, BASES, FALLBACKS, STANDARD, Rates, Rule

_TIERS = tuple(basis for basis in BASES if basis != STANDARD)


class Overrides:
    """The entries of ``LLM_PRICES``: exact ids, and prefixes that end in a star."""

    def __init__(self, source: Mapping[str, Any] | str | PathLike[str] | None) -> None:
        entries = _entries(source) if source is not None else {}
        self.version = _digest(entries) if entries else ""
        self._exact = {key.lower(): _rule(key, entries[key]) for key in entries}
        stars = (key for key in self._exact if key.endswith("*"))
        self._prefixes = sorted(stars, key=len, reverse=True)

    def rule(self, model: str) -> Rule | None:
        """Return the rule for a model: its own entry, else the longest prefix."""
        if model in self._exact:
            return self._exact[model]
        for prefix in self._prefixes:
            if model.startswith(prefix[:-1]):
                return self._exact[prefix]
        return None


def _entries(source: Mapping[str, Any] | str | PathLike[str]) -> Mapping[str, Any]:
    entries: Any = source
    if isinstance(source, str | PathLike):
        entries = _read(Path(source))
    if not isinstance(entries, Mapping):
        raise ConfigError(
            f"LLM_PRICES holds {type(entries).__name__}; make it a dict of models,"
            ' such as {"openai/gpt-4.1": {"input": "2", "output": "8"}}.'
        )
    for key in entries:
        if not isinstance(key, str) or ("/" not in key and key != "*"):
            raise ConfigError(
                f"LLM_PRICES[{key!r}] names no provider;"
                ' write "provider/model" or "provider/*".'
            )
    return entries


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise ConfigError(
            f"LLM_PRICES is the path {str(path)!r}, which cannot be read"
            f" ({error.strerror}); correct it, or give a dict.",
            error,
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"LLM_PRICES is the path {str(path)!r}, whose content is not JSON"
            f" ({error}); correct the file.",
            error,
        ) from error


def _digest(entries: Mapping[str, Any]) -> str:
    text = json.dumps(entries, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _rule(key: str, entry: Any) -> Rule:
    where = f"LLM_PRICES[{key!r}]"
    if not isinstance(entry, Mapping):
        flat = _flat(where, entry)
        same = tuple((tier, ALWAYS, flat) for tier in _TIERS)
        return Rule(name=key, source="config", stages=((ALWAYS, flat),), tiers=same)
    tiers = {tier: entry[tier] for tier in _TIERS if tier in entry}
    plain = {name: value for name, value in entry.items() if name not in tiers}
    return Rule(
        name=key,
        source="config",
        stages=((ALWAYS, _rates(where, plain, (*FALLBACKS, *_TIERS))),),
        tiers=tuple((tier, ALWAYS, _tier(where, tier, tiers[tier])) for tier in tiers),
    )


def _tier(where: str, tier: str, entry: Any) -> Rates:
    where = f"{where}[{tier!r}]"
    if isinstance(entry, Mapping):
        return _rates(where, entry, tuple(FALLBACKS))
    return _flat(where, entry)


def _flat(where: str, value: Any) -> Rates:
    price = ((0, _usd(where, value)),)
    return {name: price for name in FALLBACKS if name != "web_search"}


def _rates(where: str, entry: Mapping[str, Any], known: tuple[str, ...]) -> Rates:
    for name in entry:
        if name not in known:
            raise ConfigError(
                f"{where} has the unknown key {name!r}.{nearest(name, known)}"
                f" Known are {', '.join(known)}."
            )
    if not entry:
        raise ConfigError(
            f'{where} has no price; give at least "input" and "output",'
            " in USD per million tokens."
        )
    return {n: ((0, _usd(f"{where}[{n!r}]", value)),) for n, value in entry.items()}


def _usd(where: str, value: Any) -> Decimal:
    usd = Decimal("NaN")
    if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            usd = Decimal(str(value))
    if not usd.is_finite() or usd < 0:
        raise ConfigError(
            f"{where} is {value!r}; give USD per million tokens (for web_search: per"
            ' thousand searches) as a number that is not negative, such as "1.5".'
        )
    return usd
