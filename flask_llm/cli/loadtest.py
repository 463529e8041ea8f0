"""``flask llm loadtest``: many calls at once, and how they fared."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import click

from flask_llm.api import complete_many
from flask_llm.chat import Completion
from flask_llm.cli.drawing import show
from flask_llm.cli.group import confirmed, json_option, llm_cli, show_json
from flask_llm.cli.tables import Bar, Column, Table
from flask_llm.cli.terminal import echo, progress
from flask_llm.client import Result

HISTOGRAM_ROWS = 8
SHARES = (50, 95, 99)
"""The percentiles of the latency that are told."""


@llm_cli.command()
@click.option("--calls", type=click.IntRange(1), default=50, show_default=True)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="At a time; the provider's slots by default.",
)
@click.option("--model", help="provider/model; LLM_MODEL by default.")
@click.option("--prompt", default="Say hello.", show_default=True)
@click.option("--max-tokens", default=32, show_default=True)
@json_option
@confirmed("Each call costs money at a real provider. Go on?")
def loadtest(
    calls: int,
    threads: int | None,
    model: str | None,
    prompt: str,
    max_tokens: int,
    *,
    as_json: bool,
) -> None:
    """Send many calls and show latency, throughput, errors and cost."""
    started = time.monotonic()
    with progress(length=calls, label="Calls") as bar:
        results = complete_many(
            [f"{prompt} ({number})" for number in range(calls)],
            model=model,
            max_tokens=max_tokens,
            max_workers=threads,
            feature="loadtest",
            on_result=lambda _place, _result: bar.update(1),
        )
    found = summary(results, time.monotonic() - started)
    if as_json:
        show_json(found)
    else:
        _show(found)


def summary(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """Return what a load test has found; money as decimal strings."""
    answers = [result for result in results if isinstance(result, Completion)]
    failures = Counter(
        type(result).__name__
        for result in results
        if not isinstance(result, Completion)
    )
    known = [result.cost_usd for result in results if result.cost_usd is not None]
    unpriced = sum(answer.cost_usd is None for answer in answers)
    taken = sorted(answer.latency_ms for answer in answers)
    return {
        "calls": len(results),
        "answered": len(answers),
        "failed": dict(failures.most_common()),
        "seconds": round(seconds, 3),
        "calls_per_second": round(len(results) / seconds, 3),
        "cost_usd": None if unpriced and not known else f"{sum(known, Decimal(0)):f}",
        "unpriced": unpriced,
        "latency_ms": {
            f"p{share}": percentile(taken, share) if taken else None for share in SHARES
        },
        "histogram": _histogram(taken) if taken else [],
    }


def percentile(values: Sequence[int], share: int) -> int:
    """Return the smallest of the sorted values that ``share`` % do not exceed."""
    return values[max(0, -(-len(values) * share // 100) - 1)]


def _histogram(values: Sequence[int]) -> list[dict[str, int]]:
    """Return how many of the sorted values are in each of some equal classes."""
    low, high = values[0], values[-1]
    step = -(-(high - low + 1) // HISTOGRAM_ROWS)
    return [
        {
            "from_ms": start,
            "to_ms": start + step - 1,
            "calls": sum(start <= value < start + step for value in values),
        }
        for start in range(low, high + 1, step)
    ]


def _show(found: dict[str, Any]) -> None:
    answered, latency = found["answered"], found["latency_ms"]
    echo(f"{answered} of {found['calls']} answered in {found['seconds']:.1f} s")
    echo(f"{found['calls_per_second']:.1f} calls/s")
    echo(f"cost {found['cost_usd'] or 'unknown'} USD, {found['unpriced']} unpriced")
    for name, count in found["failed"].items():
        echo(f"{count} x {name}")
    if answered:
        echo(", ".join(f"{name} {value} ms" for name, value in latency.items()))
        show(
            Table(
                columns=[Column("ms", "name"), Column("calls"), Column("", "bar")],
                rows=[
                    [
                        f"{row['from_ms']}-{row['to_ms']}",
                        str(row["calls"]),
                        Bar(row["calls"] / answered),
                    ]
                    for row in found["histogram"]
                ],
            )
        )
