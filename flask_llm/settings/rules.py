"""The grammar of quotas and budgets: how many, how much, per what, for whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

SCOPES = ("app", "user", "tenant", "feature", "provider", "model")
"""What calls are counted by; ``app`` counts them all together."""

UNITS = ("second", "minute", "hour", "day", "month", "year")
"""What quotas count over."""

PERIODS = ("hour", "day", "week", "month")
"""What budgets are for: periods of the calendar."""

_PER = rf"(?:\s+per\s+(?P<scope>{'|'.join(SCOPES)}))?"

_QUOTA = re.compile(
    rf"(?P<count>\d+)\s*(?:/|\s+per\s+)\s*(?P<every>\d+\s+)?"
    rf"(?P<unit>{'|'.join(UNITS)})s?{_PER}"
)
_BUDGET = re.compile(
    rf"\$\s*(?P<usd>\d+(?:\.\d{{1,9}})?)\s*(?:/|\s+per\s+)\s*"
    rf"(?P<period>{'|'.join(PERIODS)}){_PER}"
)


@dataclass(frozen=True, slots=True)
class Quota:
    """So many calls in a time, for each subject of a scope."""

    text: str
    """As it was written, for messages."""
    count: int
    every: int
    """How many units the time has."""
    unit: str
    scope: str = "app"


@dataclass(frozen=True, slots=True)
class Budget:
    """So much money in a period, for each subject of a scope."""

    text: str
    """As it was written, for messages."""
    limit_usd: Decimal
    period: str
    scope: str = "app"


Rule = TypeVar("Rule", Quota, Budget)


def quotas(value: Any) -> tuple[Quota, ...]:
    """Read the lines of ``LLM_QUOTAS``."""
    return _rules(value, _quota)


def budgets(value: Any) -> tuple[Budget, ...]:
    """Read the lines of ``LLM_BUDGETS``."""
    return _rules(value, _budget)


def _rules(value: Any, read: Callable[[str], Rule]) -> tuple[Rule, ...]:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, Sequence) or not all(
        isinstance(line, str) for line in lines
    ):
        raise ValueError("a list of strings is needed")
    return tuple(read(line) for line in lines)


def _quota(line: str) -> Quota:
    found = _QUOTA.fullmatch(line.strip().lower())
    if found is None or 0 in (int(found["count"]), int(found["every"] or 1)):
        raise ValueError(
            f"{line!r} is no quota; one looks like '20/minute per user', with "
            f"{_or(UNITS)}, and per {_or(SCOPES)}"
        )
    return Quota(
        line,
        count=int(found["count"]),
        every=int(found["every"] or 1),
        unit=found["unit"],
        scope=found["scope"] or "app",
    )


def _budget(line: str) -> Budget:
    found = _BUDGET.fullmatch(line.strip().lower())
    if found is None:
        raise ValueError(
            f"{line!r} is no budget; one looks like '$5/day per user', with "
            f"{_or(PERIODS)}, and per {_or(SCOPES)}"
        )
    return Budget(line, Decimal(found["usd"]), found["period"], found["scope"] or "app")


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
