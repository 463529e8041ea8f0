"""``flask llm batch``: prompts in a file, and their answers a day later."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

import click

from flask_llm import batches
from flask_llm.chat import Batch, Completion
from flask_llm.cli.group import Group, llm_cli
from flask_llm.cli.terminal import echo, harmless, shown
from flask_llm.errors import LLMError

batch_cli = Group("batch", help="Many prompts at half the price, within a day.")
llm_cli.add_command(batch_cli)

_seconds = click.option(
    "--timeout", type=float, help="Seconds to talk to the provider; LLM_TIMEOUT."
)


@batch_cli.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--model", help="provider/model; LLM_MODEL by default.")
@click.option("--system", help="Instructions above each prompt.")
@click.option("--max-tokens", type=int, help="Tokens that each answer may have.")
@click.option("--temperature", type=float, help="0 to 2.")
@click.option("--reasoning", help="Effort: none minimal low medium high xhigh max.")
@_seconds
def submit(file: TextIO, **options: Any) -> None:
    """Submit the prompts in FILE, one in each line, and print the batch.

    A line is JSON: a text, a message such as {"role": "user", "content": "Hi"}, or a
    list of messages. "-" reads from stdin.
    """
    _show(batches.submit(_prompts(file), feature="cli", **options))


@batch_cli.command("list")
@click.option("--limit", default=100, show_default=True)
@click.option("--unsettled", is_flag=True, help="Those that nobody has fetched.")
def list_(limit: int, *, unsettled: bool) -> None:
    """Print the newest batches, as they stood when they were last looked at."""
    for batch in batches.list(limit=limit, unsettled=unsettled):
        _show(batch)


@batch_cli.command()
@click.argument("batch_id", required=False, metavar="[ID]")
@_seconds
@click.pass_context
def poll(context: click.Context, batch_id: str | None, timeout: float | None) -> None:
    """Ask how a batch stands, or all that are not settled, and settle those that ended.

    For a cron job: what has ended is written down at what it cost, whether or not
    anybody fetches it. Exits with 1 where one cannot be asked about.
    """
    idents = [batch_id] if batch_id else _unsettled()
    failed = False
    for ident in idents:
        try:
            batch = batches.status(ident, timeout=timeout)
            if batch.is_over and not batch.is_settled:
                batches.results(ident, timeout=timeout)
                batch = batches.status(ident, timeout=timeout)
        except LLMError as error:
            failed = True
            echo(harmless(f"{ident}: {error.message}"), err=True)
        else:
            _show(batch)
    context.exit(1 if failed else 0)


@batch_cli.command()
@click.argument("batch_id", metavar="ID")
@_seconds
def fetch(batch_id: str, timeout: float | None) -> None:
    """Print what became of each prompt, one line of JSON for each, in their order."""
    for answer in batches.results(batch_id, timeout=timeout):
        echo(shown(json.dumps(_told(answer), ensure_ascii=False), sys.stdout))


@batch_cli.command()
@click.argument("batch_id", metavar="ID")
@_seconds
def cancel(batch_id: str, timeout: float | None) -> None:
    """Give a batch up; what was answered by then is paid for."""
    _show(batches.cancel(batch_id, timeout=timeout))


_ALL = 10_000
"""As many unsettled batches as one poll goes through."""


def _unsettled() -> list[str]:
    """Return the ids of batches that nobody has fetched, the oldest first."""
    return [batch.id for batch in reversed(batches.list(limit=_ALL, unsettled=True))]


def _prompts(file: TextIO) -> list[Any]:
    prompts = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            prompts.append(json.loads(line))
        except ValueError as error:
            message = f"line {number} is no JSON: {error}"
            raise click.BadParameter(message, param_hint="FILE") from None
    return prompts


def _show(batch: Batch) -> None:
    click.echo(json.dumps(batch.to_dict()))


def _told(answer: Completion | LLMError) -> dict[str, Any]:
    if isinstance(answer, Completion):
        return answer.to_dict()
    cost = answer.cost_usd
    return {
        "success": False,
        "error": type(answer).__name__,
        "code": answer.code,
        "message": answer.message,
        "request_id": answer.request_id,
        "cost_usd": None if cost is None else format(cost, "f"),
    }
