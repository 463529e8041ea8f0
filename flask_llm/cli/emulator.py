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
@click.option(
    "--latency",
    type=click.FloatRange(0),
    nargs=2,
    default=(0, 0),
    show_default=True,
    metavar="LEAST MOST",
    help="Seconds before an answer, evenly spread.",
)
@click.option(
    "--faults",
    type=click.FloatRange(0, 1),
    default=0,
    show_default=True,
    help="Share of requests that are refused with 429, 500, 503, or broken off.",
)
def emulator(
    port: int, interval: float, latency: tuple[float, float], faults: float
) -> None:
    """Serve the providers' wire formats on this machine, until Ctrl-C."""
    try:
        house = Emulator(
            interval_seconds=interval, latency_seconds=latency, fault_share=faults
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    app = Flask("emulator")
    app.register_blueprint(house.blueprint)
    with serve(app, port=port) as url, suppress(KeyboardInterrupt):
        click.echo(f"OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY=emulator-key")
        click.echo(f"ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=emulator-key")
        click.echo(f"GOOGLE_GEMINI_BASE_URL={url} GOOGLE_API_KEY=emulator-key")
        threading.Event().wait()
