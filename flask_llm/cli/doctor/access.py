"""Checks of the way in: the reports' token, proxies, browsers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_llm.cli.doctor.check import BAD, HINT, OK, Check, Setup

TOKEN_LENGTH_MIN = 16


def token(setup: Setup) -> Iterator[Check]:
    """See that somebody may see the reports, and that nobody guesses how."""
    found = setup.state.settings.reports_token
    if found is not None and len(found) < TOKEN_LENGTH_MIN:
        yield Check(
            "reports",
            HINT,
            f"LLM_REPORTS_TOKEN is shorter than {TOKEN_LENGTH_MIN} characters.",
            'Make one: python -c "import secrets; print(secrets.token_urlsafe())"',
        )
    elif found or setup.state.hooks.authorizer:
        yield Check("reports", OK, "The reports open for whoever may see them.")
    else:
        yield Check(
            "reports",
            BAD,
            "The reports are closed to all.",
            "Set LLM_REPORTS_TOKEN or register a function with "
            "@llm.reports_authorizer.",
        )


def proxy(setup: Setup) -> Iterator[Check]:
    """See that callers behind a proxy can be told apart."""
    if setup.state.settings.reports_token is None:
        return
    if _is_wrapped(setup.app.wsgi_app):
        yield Check("proxy", OK, "Callers are known by what the proxy says of them.")
    else:
        yield Check(
            "proxy",
            HINT,
            "Behind a proxy all callers would share its address, and whoever guesses "
            "the reports' token would lock all of them out.",
            "Where there is a proxy, wrap the app in Werkzeug's ProxyFix.",
        )


def _is_wrapped(wsgi_app: Any) -> bool:
    """Look for ProxyFix among layers of middleware, which mostly wrap their ``app``."""
    while wsgi_app is not None:
        if type(wsgi_app).__name__ == "ProxyFix":
            return True
        wsgi_app = getattr(wsgi_app, "app", None)
    return False


def browsers(setup: Setup) -> Iterator[Check]:
    """Say what stands between a stream and its reader, which cannot be seen here."""
    del setup
    yield Check(
        "proxy",
        HINT,
        "Streams ask proxies not to collect them (X-Accel-Buffering), as nginx heeds.",
        "Tell other proxies not to buffer or compress text/event-stream.",
    )
    yield Check(
        "csp",
        HINT,
        "A Content-Security-Policy applies to pages that read streams.",
        "Where the app sends one, let connect-src name where its streams are: 'self'.",
    )
