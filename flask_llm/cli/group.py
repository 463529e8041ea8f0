"""The group that all commands belong to, and how they fail."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from flask.cli import AppGroup

from flask_llm.cli.terminal import harmless
from flask_llm.errors import LLMError
from flask_llm.usage.reports import BadQuery

Command = TypeVar("Command", bound=Callable[..., Any])

COMMANDS = (
    *("ask", "batch", "budgets", "db", "doctor", "emulator", "export", "loadtest"),
    *("prices", "purge", "rollup", "usage"),
)
"""Each is a module of this package, loaded when it is called for."""


class Group(AppGroup):
    """Shows an error of ours as one line and not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except LLMError as error:
            raise click.ClickException(harmless(error.message, keep="\n")) from error


class _LazyGroup(Group):
    """Loads commands when they are called for, so that web workers do without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the module that adds the command."""
        if cmd_name in COMMANDS:
            importlib.import_module(f"flask_llm.cli.{cmd_name}")
        return super().get_command(ctx, cmd_name)


@contextmanager
def named_options() -> Iterator[None]:
    """Say which option is wrong as click does."""
    try:
        yield
    except BadQuery as error:
        option = error.parameter.replace("_", "-")
        problem = str(error).removeprefix(f"{error.parameter}: ")
        raise click.UsageError(f"--{option}: {problem}") from error


def given(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the options that were given, as parameters of a query."""
    return [
        (name, value)
        for name, values in options.items()
        for value in ([values] if isinstance(values, str) else values or ())
    ]


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print it as JSON, for programs."
)


def show_json(value: Mapping[str, Any]) -> None:
    """Print what a command has found as JSON."""
    click.echo(json.dumps(value, indent=2))


def filtered(command: Command) -> Command:
    """Add the options that narrow a report to some of its calls."""
    for name in reversed(FILTERS):
        command = click.option(f"--{name}", multiple=True, help=FILTERS[name])(command)
    return command


FILTERS = {
    "model": "Calls of this model only; may be given again, as may the next five.",
    "provider": "As in openai.",
    "user": "Empty for calls without one.",
    "tenant": "The same.",
    "feature": "The same.",
    "status": "ok, cached, failed, cancelled, refused, abandoned.",
}


def confirmed(question: str) -> Callable[[Command], Command]:
    """Ask whoever sits at a terminal before a command runs; ``--yes`` is the answer.

    Scripts are not asked: they have decided.
    """

    def ask(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
        del context, parameter
        if not value and sys.stdin.isatty():
            click.confirm(question, abort=True)

    return click.option(
        "--yes",
        is_flag=True,
        callback=ask,
        expose_value=False,
        help="Do not ask.",
    )


llm_cli = _LazyGroup("llm", help="Language models: tables, reports and tools.")
