"""The group that all commands belong to, and how they fail."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from flask.cli import AppGroup

from flask_llm.errors import LLMError

Command = TypeVar("Command", bound=Callable[..., Any])

COMMANDS = ("ask", "batch", "db", "doctor", "emulator", "loadtest", "prices", "usage")
"""Each is a module of this package, loaded when it is called for."""


class Group(AppGroup):
    """Shows an error of ours as one line and not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except LLMError as error:
            raise click.ClickException(error.message) from error


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
