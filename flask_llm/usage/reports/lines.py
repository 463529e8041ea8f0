"""What is answered: totals over some calls, as frozen lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from flask_llm.usage.models import COUNTED, LATENCY_COLUMNS
from flask_llm.usage.reports.latency import percentile
from flask_llm.usage.reports.query import Query

NANOS = 10**9

PLAIN = tuple(name for name in COUNTED if name not in LATENCY_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Totals over some calls that are settled."""

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
    latency: tuple[int, ...] = (0,) * len(LATENCY_COLUMNS)
    """How many calls took how long, by the classes of ``models.LATENCY_MS``."""
    latency_max_ms: int = 0

    @classmethod
    def of(cls, group: Mapping[str, str | None], sums: Sequence[int]) -> Self:
        """Make a line of sums in the order of ``COUNTED``, and the longest latency."""
        found = dict(zip(COUNTED, sums, strict=False))
        return cls(
            group=group,
            latency=tuple(found[name] for name in LATENCY_COLUMNS),
            latency_max_ms=sums[-1],
            **{name: found[name] for name in PLAIN},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON; money as decimal strings."""
        return {
            **self.group,
            "calls": self.calls,
            "failed": self.failed,
            "cached": self.cached,
            "unpriced": self.unpriced,
            "unpriced_share": round(self.unpriced / self.calls, 4) if self.calls else 0,
            "input_tokens": self.input_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "cost_usd": usd(self.cost_nanos),
            "saved_usd": usd(self.saved_nanos),
            "prompt_saved_usd": usd(self.prompt_saved_nanos),
            **self._latencies(),
        }

    def _latencies(self) -> dict[str, int | None]:
        names = ("mean", "p50", "p95", "max")
        if not self.timed:
            return {f"latency_{name}_ms": None for name in names}
        most = self.latency_max_ms
        values = (
            round(self.duration_ms / self.timed),
            percentile(self.latency, self.timed, 50, most),
            percentile(self.latency, self.timed, 95, most),
            most,
        )
        return {
            f"latency_{name}_ms": value
            for name, value in zip(names, values, strict=True)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer to a query."""

    query: Query
    total: Line
    groups: tuple[Line, ...] = ()
    truncated: bool = False
    """Whether there are more groups than the limit; the total counts them all."""
    pending: int = 0
    """Calls under way, which are in no line yet."""
    source: str = "rows"
    """``rollup`` where whole hours were read from it, ``rows`` where all was read from
    single rows. The figures are the same."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "since": self.query.since.isoformat(),
            "until": self.query.until.isoformat(),
            "tz": self.query.tz.key,
            "group_by": list(self.query.group_by),
            "source": self.source,
            "pending": self.pending,
            "total": self.total.to_dict(),
            "groups": [line.to_dict() for line in self.groups],
            "truncated": self.truncated,
        }


def usd(nanos: int) -> str:
    """Write nano-USD as a decimal string in USD."""
    whole, rest = divmod(abs(nanos), NANOS)
    return f"{'-' if nanos < 0 else ''}{whole}.{rest:09d}"
