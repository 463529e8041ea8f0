"""The extension: sets an app up, and carries functions of the app's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from flask import Flask, appcontext_pushed
from flask.blueprints import BlueprintSetupState

from flask_llm.assembly import assemble
from flask_llm.cli import llm_cli
from flask_llm.errors import ConfigError, LLMError
from flask_llm.observe import log
from flask_llm.pricing import Prices
from flask_llm.state import Hooks, State
from flask_llm.usage.models import exclude_name
from flask_llm.web import llm_bp, problem

Loader = TypeVar("Loader", bound=Callable[[], Any])
LimitLoader = TypeVar("LimitLoader", bound=Callable[[str, str, str], Any])

logger = logging.getLogger("flask_llm")


class LLM:
    """The extension object, for apps that hang functions of their own on it.

    An app that does not needs only ``app.register_blueprint(llm_bp)``. Either may come
    first.

    :param app: set up at once; otherwise call :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._hooks = Hooks()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the settings and set the app up.

        Nothing is connected to, and no thread is started.

        :raises ConfigError: where a setting is wrong, and on the second time.
        """
        present: State | None = app.extensions.get("llm")
        if present is not None and not present.plain:
            raise ConfigError(f"The app {app.name!r} has been set up already.")
        _set_up(app, self._hooks, plain=False)

    def user_loader(self, function: Loader) -> Loader:
        """Register what tells the user a request's calls are written down to."""
        self._hooks.user = function
        return function

    def tenant_loader(self, function: Loader) -> Loader:
        """Register what tells the tenant a request's calls are written down to."""
        self._hooks.tenant = function
        return function

    def budget_limit(self, function: LimitLoader) -> LimitLoader:
        """Register what tells the limit of a budget for one of its subjects.

        It is called with the scope (``"user"``), the subject (``"ann"``, empty for
        nobody) and the period (``"day"``) before each call that a line of
        ``LLM_BUDGETS`` applies to, and returns USD, or None for the limit that the line
        says.
        """
        self._hooks.budget_limit = function
        return function

    def reports_authorizer(self, function: Loader) -> Loader:
        """Register what tells whether a request may see the reports."""
        self._hooks.authorizer = function
        return function

    def reports_scope(self, function: Loader) -> Loader:
        """Register what narrows the reports that a request may see.

        It returns None for everything, or a dict of labels, ``{"tenant": "acme"}`` or
        ``{"user": ["ann", "bob"]}``. Every report, row and budget is then narrowed to
        them. Anything else closes the reports with a ``ConfigError``, an empty label
        too.
        """
        self._hooks.scope = function
        return function


def _on_register(setup: BlueprintSetupState) -> None:
    """Set an app up that only registers the blueprint."""
    app: Any = setup.app
    if "llm" not in app.extensions:
        _set_up(app, Hooks(), plain=True)
    taken = LLMError in app.error_handler_spec[None][None]
    if app.extensions["llm"].settings.error_handler and not taken:
        app.register_error_handler(LLMError, problem)


llm_bp.record(_on_register)


def _set_up(app: Flask, hooks: Hooks, *, plain: bool) -> None:
    state = assemble(app, hooks, plain=plain)
    app.extensions["llm"] = state
    app.cli.add_command(llm_cli)
    log.instrument(app)
    _warn_of_retirement(state.prices, state.settings.models)
    _keep_out_of_migrations(app)


def _warn_of_retirement(prices: Prices, models: Mapping[str, str]) -> None:
    today = datetime.now(UTC).date()
    for model, key in models.items():
        notice = prices.retirement_notice(model, today)
        if notice:
            logger.warning("%s Set %s to a current model.", notice, key)


def _keep_out_of_migrations(app: Flask) -> None:
    """Keep our tables out of the autogenerate of a host's Flask-Migrate.

    It may be set up after us, and after the app's first contexts, so it is looked for
    whenever the app runs until it is there.
    """

    def wrap(sender: Flask, **_: Any) -> None:
        migrate = sender.extensions.get("migrate")
        if migrate is not None:
            appcontext_pushed.disconnect(wrap, sender)
            arguments = migrate.configure_args
            arguments["include_name"] = _both(arguments.get("include_name"))

    appcontext_pushed.connect(wrap, app, weak=False)


def _both(theirs: Callable[..., bool] | None) -> Callable[..., bool]:
    def include(name: str | None, type_: str, parents: object) -> bool:
        return exclude_name(name, type_) and (
            theirs is None or theirs(name, type_, parents)
        )

    return include
