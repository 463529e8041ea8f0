"""What is answered: totals over some calls, as frozen lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask_llm.usage.reports.query import NANOS, Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Totals over some calls."""

    group: Mapping[str, str | None] = field(default_factory=dict)
    calls: int = 0
    failed: int = 0
    cached: int = 0
    unpriced: int = 0
    """Calls that used tokens of an unknown price; not in ``cost_usd``."""
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanos: int = 0
    saved_nanos: int = 0
    """What the answers from our own cache would have cost."""
    prompt_saved_nanos: int = 0
    """What the providers' prompt caches saved; below zero where they cost more."""
    timed: int = 0
    duration_ms: int = 0
    """Summed over the ``timed`` calls."""
    latency_max_ms: int = 0

    def __add__(self, other: Line) -> Line:
        """Join two lines of one group."""
        return Line(
            group=self.group,
            latency_max_ms=max(self.latency_max_ms, other.latency_max_ms),
            **{name: getattr(self, name) + getattr(other, name) for name in SUMMED},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON; money as decimal strings."""
        return {
            **self.group,
            "calls": self.calls,
            "failed": self.failed,
            "cached": self.cached,
            "unpriced": self.unpriced,
            "input_tokens": self.input_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "cost_usd": usd(self.cost_nanos),
            "saved_usd": usd(self.saved_nanos),
            "prompt_saved_usd": usd(self.prompt_saved_nanos),
            "latency_mean_ms": round(self.duration_ms / self.timed)
            if self.timed
            else None,
            "latency_max_ms": self.latency_max_ms if self.timed else None,
        }


SUMMED = (
    "calls",
    "failed",
    "cached",
    "unpriced",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nanos",
    "saved_nanos",
    "prompt_saved_nanos",
    "timed",
    "duration_ms",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer to a query."""

    query: Query
    total: Line
    groups: tuple[Line, ...] = ()
    truncated: bool = False
    """Whether there are more groups than the limit; the total counts them all."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "since": self.query.since.isoformat(),
            "until": self.query.until.isoformat(),
            "tz": self.query.tz.key,
            "group_by": list(self.query.group_by),
            "total": self.total.to_dict(),
            "groups": [line.to_dict() for line in self.groups],
            "truncated": self.truncated,
        }


def usd(nanos: int) -> str:
    """Write nano-USD as a decimal string in USD."""
    whole, rest = divmod(abs(nanos), NANOS)
    return f"{'-' if nanos < 0 else ''}{whole}.{rest:09d}"
