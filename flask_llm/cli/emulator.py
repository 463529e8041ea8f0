"""``flask llm emulator``: providers to try things on, without a key."""

from __future__ import annotations

import threading
from contextlib import suppress

import click
from flask import Flask

from flask_llm.cli.group import llm_cli
from flask_llm.emulator import Emulator, serve


@llm_cli.command()
@click.option("--port", default=8111, show_default=True)
@click.option("--interval", default=0.03, show_default=True, help="Seconds per word.")
def emulator(port: int, interval: float) -> None:
    """Serve the providers' wire formats on this machine, until Ctrl-C."""
    app = Flask("emulator")
    app.register_blueprint(Emulator(interval_seconds=interval).blueprint)
    with serve(app, port=port) as url, suppress(KeyboardInterrupt):
        click.echo(f"OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY=emulator-key")
        click.echo(f"ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=emulator-key")
        click.echo(f"GOOGLE_GEMINI_BASE_URL={url} GOOGLE_API_KEY=emulator-key")
        threading.Event().wait()
