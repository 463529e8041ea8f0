"""What one app keeps in ``app.extensions["llm"]``, and how to get at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app, has_app_context

from flask_llm.client import Batches, Client
from flask_llm.errors import ConfigError
from flask_llm.guards import Attempts, Breaker, Budgets, Shared
from flask_llm.pricing import Prices
from flask_llm.settings import Settings
from flask_llm.usage import Database, Ledger, Reports, Requests


@dataclass(slots=True, kw_only=True)
class Hooks:
    """Functions of the app's own, hung on :class:`flask_llm.LLM`."""

    user: Callable[[], str | None] | None = None
    tenant: Callable[[], str | None] | None = None
    authorizer: Callable[[], bool] | None = None
    budget_limit: Callable[[str, str, str], object] | None = None
    scope: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that belongs to one app."""

    settings: Settings
    client: Client
    batches: Batches
    database: Database
    ledger: Ledger
    reports: Reports
    requests: Requests
    budgets: Budgets
    prices: Prices
    breaker: Breaker
    attempts: Attempts
    shared: Shared | None
    """Redis, where the settings name one."""
    hooks: Hooks
    plain: bool
    """Made by the blueprint alone; an ``LLM`` of the app's own may take its place."""

    def close(self) -> None:
        """Let go of connections, for tests and for programs that make many apps."""
        self.client.close()
        if self.shared:
            self.shared.close()
        self.database.close()


def current_state() -> State:
    """Return the state of the current app.

    :raises ConfigError: outside an app context, and where the app was not set up.
    """
    if not has_app_context():
        raise ConfigError(
            "There is no app here: call this from a view, or within "
            "'with app.app_context():' in a job or a script."
        )
    state: State | None = current_app.extensions.get("llm")
    if state is None:
        raise ConfigError(
            f"The app {current_app.name!r} does not know flask_llm; "
            "add app.register_blueprint(flask_llm.llm_bp)."
        )
    return state
