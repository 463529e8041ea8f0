"""``flask llm loadtest``: many calls at once, and how they fared."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import click

from flask_llm.api import complete_many
from flask_llm.chat import Completion
from flask_llm.cli.group import confirmed, llm_cli
from flask_llm.client import Result

HISTOGRAM_ROWS = 8
BAR_WIDTH = 32


@llm_cli.command()
@click.option("--calls", default=50, show_default=True, help="How many calls.")
@click.option("--threads", type=int, help="At a time; the provider's slots by default.")
@click.option("--model", help="provider/model; LLM_MODEL by default.")
@click.option("--prompt", default="Say hello.", show_default=True)
@click.option("--max-tokens", default=32, show_default=True)
@confirmed("Each call costs money at a real provider. Go on?")
def loadtest(
    calls: int, threads: int | None, model: str | None, prompt: str, max_tokens: int
) -> None:
    """Send many calls and show latency, throughput, errors and cost."""
    started = time.monotonic()
    with click.progressbar(length=calls, label="Calls") as bar:
        results = complete_many(
            [f"{prompt} ({number})" for number in range(calls)],
            model=model,
            max_tokens=max_tokens,
            max_workers=threads,
            feature="loadtest",
            on_result=lambda _place, _result: bar.update(1),
        )
    click.echo("\n".join(summary(results, time.monotonic() - started)))


def summary(results: Sequence[Result], seconds: float) -> list[str]:
    """Return the lines of a load test's report."""
    answers = [result for result in results if isinstance(result, Completion)]
    failures = Counter(
        type(result).__name__
        for result in results
        if not isinstance(result, Completion)
    )
    known = [answer.cost_usd for answer in answers if answer.cost_usd is not None]
    lines = [
        f"{len(answers)} of {len(results)} answered in {seconds:.1f} s",
        f"{len(results) / seconds:.1f} calls/s",
        f"cost {sum(known, Decimal(0)):f} USD, {len(answers) - len(known)} unpriced",
    ]
    lines += [f"{count} x {name}" for name, count in failures.most_common()]
    return lines + _latencies([answer.latency_ms for answer in answers])


def percentile(values: Sequence[int], share: int) -> int:
    """Return the smallest of the sorted values that ``share`` % do not exceed."""
    return values[max(0, -(-len(values) * share // 100) - 1)]


def _latencies(values: list[int]) -> list[str]:
    if not values:
        return []
    values = sorted(values)
    shares = (50, 95, 99)
    lines = [", ".join(f"p{share} {percentile(values, share)} ms" for share in shares)]
    low, high = values[0], values[-1]
    step = max(1, -(-(high - low + 1) // HISTOGRAM_ROWS))
    for start in range(low, high + 1, step):
        count = sum(start <= value < start + step for value in values)
        bar = "█" * round(BAR_WIDTH * count / len(values))
        lines.append(f"{start:>7}-{start + step - 1:<7} ms {count:>6} {bar}".rstrip())
    return lines
