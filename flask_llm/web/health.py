"""How the parts are that calls need, for monitors to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_llm.errors import LLMError
from flask_llm.guards.shared import Down
from flask_llm.state import State
from flask_llm.usage.database import named_errors

OK = "ok"


def health(state: State) -> tuple[dict[str, Any], int]:
    """Return what is known of an app's health, and the HTTP status that tells it.

    503 is for a database that cannot be used: nothing can be written down, and where
    budgets apply nothing is asked. What calls get by without, or can go round, such as
    a provider that is left alone, makes the status ``degraded`` and no more: the app is
    not to be taken out of service for it.
    """
    database = _database(state)
    redis = _redis(state)
    waiting = bool(state.ledger.journal)
    providers = list(_providers(state))
    shut = any(provider["circuit"] == "open" for provider in providers)
    status = OK
    if shut or waiting or redis == "unreachable":
        status = "degraded"
    if database != OK:
        status = "down"
    found = {
        "status": status,
        "database": database,
        "redis": redis,
        "journal": "rows waiting" if waiting else "empty",
        "providers": providers,
    }
    return found, 503 if status == "down" else 200


def _database(state: State) -> str:
    """Say ``ok``, or by the error's code why the tables cannot be used."""
    try:
        with named_errors():
            state.database.prepare()
    except LLMError as error:
        return error.code or "failed"
    return OK


def _redis(state: State) -> str | None:
    if state.shared is None:
        return None
    try:
        state.shared.run("return 1", [])
    except Down:
        return "unreachable"
    return OK


def _providers(state: State) -> Iterator[dict[str, Any]]:
    """Return how those stand that have a key or were called by this process."""
    for provider in state.client.providers:
        if provider.keys is not None or state.breaker.knows(provider):
            stands = state.breaker.state(provider)
            yield {
                "name": provider.name,
                "circuit": stands.state,
                "failures_in_a_row": stands.failures,
                "left_alone_seconds": round(stands.seconds, 3),
            }
