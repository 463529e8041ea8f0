"""Where this server can be reached from itself."""

from __future__ import annotations

import os

import click

# Nothing is bound to these here.
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # nosec B104


def own_url() -> str:
    """Return the address of the server that is about to run this app.

    ``flask run`` knows it; under other servers ``FLASK_RUN_PORT`` or ``PORT`` tells.
    """
    context = click.get_current_context(silent=True)
    run = context.params if context and context.info_name == "run" else {}
    host = str(run.get("host") or "127.0.0.1")
    host = _ANYWHERE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{run.get('port') or _port()}"


def _port() -> str:
    return os.environ.get("FLASK_RUN_PORT") or os.environ.get("PORT") or "5000"
