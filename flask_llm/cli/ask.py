"""``flask llm ask``: one question, to see that the set-up works."""

from __future__ import annotations

import sys

import click

from flask_llm.api import complete, stream
from flask_llm.chat import Completion
from flask_llm.cli.group import llm_cli
from flask_llm.cli.terminal import echo, shown


@llm_cli.command()
@click.argument("text")
@click.option("--model", help="provider/model; LLM_MODEL by default.")
@click.option("--system", help="Instructions above the question.")
@click.option("--max-tokens", type=int, help="Tokens that the answer may have.")
@click.option("--stream", "streamed", is_flag=True, help="Show the answer as it comes.")
def ask(
    text: str,
    model: str | None,
    system: str | None,
    max_tokens: int | None,
    *,
    streamed: bool,
) -> None:
    """Ask a model TEXT; the answer goes to stdout, what it cost to stderr."""
    if not streamed:
        answer = complete(
            text, model=model, system=system, max_tokens=max_tokens, feature="cli"
        )
        echo(shown(answer.text, sys.stdout))
    else:
        with stream(
            text, model=model, system=system, max_tokens=max_tokens, feature="cli"
        ) as chunks:
            for chunk in chunks:
                echo(shown(chunk.text, sys.stdout), nl=False)
        echo()
        answer = chunks.completion
    echo(_summary(answer), err=True)


def _summary(answer: Completion) -> str:
    usage = answer.usage
    cost = "unknown" if answer.cost_usd is None else f"${answer.cost_usd:f}"
    return (
        f"{answer.model}: {usage.input_tokens} + {usage.output_tokens} tokens, "
        f"{cost}, {answer.latency_ms} ms, {answer.finish_reason}"
    )
