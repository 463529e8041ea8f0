"""``flask llm loadtest``: many calls at once, and how they fared."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import click
from flask import Flask, current_app

from flask_llm.api import complete, stream
from flask_llm.chat import Completion
from flask_llm.cli.crowd import Asked, Waits, is_streamed, together
from flask_llm.cli.drawing import show
from flask_llm.cli.group import confirmed, json_option, llm_cli, show_json
from flask_llm.cli.tables import Bar, Column, Table
from flask_llm.cli.terminal import echo, progress
from flask_llm.signals import completion_finished
from flask_llm.state import current_state

CALLS = 50
HISTOGRAM_ROWS = 8
SHARES = (50, 95, 99)
"""The percentiles of the latency that are told."""


@llm_cli.command()
@click.option(
    "--calls",
    type=click.IntRange(1),
    help=f"{CALLS} by default, without --seconds; with them no limit.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="After which no further call is begun.",
)
@click.option(
    "--users",
    "--threads",
    type=click.IntRange(1),
    help="Who ask at a time; the provider's slots by default.",
)
@click.option(
    "--streams",
    type=click.FloatRange(0, 1),
    default=0,
    show_default=True,
    help="Share of the calls that are streams.",
)
@click.option("--model", help="provider/model; LLM_MODEL by default.")
@click.option("--prompt", default="Say hello.", show_default=True)
@click.option("--max-tokens", default=32, show_default=True)
@json_option
@confirmed("Each call costs money at a real provider. Go on?")
def loadtest(
    calls: int | None,
    seconds: float | None,
    users: int | None,
    streams: float,
    model: str | None,
    prompt: str,
    max_tokens: int,
    *,
    as_json: bool,
) -> None:
    """Send many calls and show latency, throughput, errors, cost, CPU and waiting."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Flask's documented way to hand an app to a thread
    providers = current_state().client.providers
    provider, _ = providers.resolve(model or current_state().settings.model)
    if calls is None and seconds is None:
        calls = CALLS

    def ask(number: int) -> Completion:
        how = _streamed if is_streamed(number, streams) else complete
        with app.app_context():
            return how(
                f"{prompt} ({number})",
                model=model,
                max_tokens=max_tokens,
                feature="loadtest",
            )

    waits = Waits()
    began, cpu_began = time.monotonic(), time.process_time()
    with completion_finished.connected_to(waits.note, app):
        crowd = together(
            ask, users=users or provider.max_concurrent, calls=calls, seconds=seconds
        )
        with progress(crowd, length=calls, label="Calls") as bar:
            asked = list(bar)
    cpu_seconds = time.process_time() - cpu_began
    found = summary(asked, waits, time.monotonic() - began, cpu_seconds)
    (show_json if as_json else _show)(found)


def _streamed(prompt: str, **options: Any) -> Completion:
    with stream(prompt, **options) as chunks:
        for _ in chunks:
            pass
    return chunks.completion


def summary(
    asked: Sequence[Asked], waits: Waits, seconds: float, cpu_seconds: float
) -> dict[str, Any]:
    """Return what a load test has found; money as decimal strings."""
    failures = Counter(one.error for one in asked if one.error)
    known = [one.cost_usd for one in asked if one.cost_usd is not None]
    unpriced = sum(one.is_unpriced for one in asked)
    taken = sorted(one.latency_ms for one in asked if one.latency_ms is not None)
    return {
        "calls": len(asked),
        "answered": len(taken),
        "failed": dict(failures.most_common()),
        "seconds": round(seconds, 3),
        "calls_per_second": round(len(asked) / seconds, 3),
        "cpu_ms_per_call": round(1000 * cpu_seconds / max(1, len(asked)), 3),
        "queue_share": round(waits.queue_share, 4),
        "cost_usd": None if unpriced and not known else f"{sum(known, Decimal(0)):f}",
        "unpriced": unpriced,
        "latency_ms": _percentiles(taken),
        "first_token_ms": _percentiles(waits.first_token_ms),
        "histogram": _histogram(taken) if taken else [],
    }


def _percentiles(values: Sequence[int]) -> dict[str, int | None]:
    return {
        f"p{share}": percentile(values, share) if values else None for share in SHARES
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
    answered, calls = found["answered"], found["calls"]
    echo(f"{answered} of {calls} answered in {found['seconds']:.1f} s")
    echo(f"{found['calls_per_second']:.1f} calls/s")
    echo(f"{found['cpu_ms_per_call']:.1f} ms of CPU for each")
    echo(f"{found['queue_share']:.0%} of their time waiting for a slot")
    echo(f"cost {found['cost_usd'] or 'unknown'} USD, {found['unpriced']} unpriced")
    for name, count in found["failed"].items():
        echo(f"{count} x {name}")
    for what, name in (("", "latency_ms"), ("first piece ", "first_token_ms")):
        shares = [f"{share} {value} ms" for share, value in found[name].items()]
        if found[name]["p50"] is not None:
            echo(what + ", ".join(shares))
    if answered:
        show(_drawn(found))


def _drawn(found: dict[str, Any]) -> Table:
    return Table(
        columns=[Column("ms", "name"), Column("calls"), Column("", "bar")],
        rows=[
            [
                f"{row['from_ms']}-{row['to_ms']}",
                str(row["calls"]),
                Bar(row["calls"] / found["answered"]),
            ]
            for row in found["histogram"]
        ],
    )
