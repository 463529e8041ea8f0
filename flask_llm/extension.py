"""The extension: reads settings and puts one app's parts together."""

from __future__ import annotations

import logging
import os
from collections import ChainMap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from flask import Flask, appcontext_pushed
from flask.blueprints import BlueprintSetupState
from sqlalchemy import Engine, StaticPool

from flask_llm.cli import llm_cli
from flask_llm.client import Client
from flask_llm.errors import ConfigError, InvalidRequestError, LLMError
from flask_llm.guards import AnswerCache, Pacing
from flask_llm.guards.cache import backend
from flask_llm.pricing import Prices
from flask_llm.providers import Providers
from flask_llm.settings import Settings
from flask_llm.state import Hooks, State
from flask_llm.transport import Transport
from flask_llm.usage import Database, Journal, Ledger, Reports
from flask_llm.usage.models import exclude_name
from flask_llm.web import llm_bp, problem

Loader = TypeVar("Loader", bound=Callable[[], Any])

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

    def reports_authorizer(self, function: Loader) -> Loader:
        """Register what tells whether a request may see the reports."""
        self._hooks.authorizer = function
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
    settings = Settings.read(app.config)
    database = _database(app, settings)
    folder = Path(app.instance_path)
    journal = Journal(settings.journal or folder / "llm-journal.jsonl")
    ledger = Ledger(database, journal)
    prices = Prices.load(settings.prices)
    app.extensions["llm"] = State(
        settings=settings,
        client=_client(app, settings, ledger, prices),
        database=database,
        ledger=ledger,
        reports=Reports(database),
        prices=prices,
        hooks=hooks,
        plain=plain,
    )
    app.cli.add_command(llm_cli)
    _warn_of_retirement(prices, settings.model)
    _keep_out_of_migrations(app)


def _client(app: Flask, settings: Settings, ledger: Ledger, prices: Prices) -> Client:
    secret = app.secret_key or b""
    transport = Transport(
        connect_timeout=settings.connect_timeout,
        backoff=settings.backoff,
        max_response_bytes=settings.max_response_bytes,
    )
    providers = Providers(settings, ChainMap(_strings(app), dict(os.environ)))
    try:
        providers.resolve(settings.model)
    except InvalidRequestError as error:
        raise ConfigError(f"LLM_MODEL: {error.message}") from None
    return Client(
        providers=providers,
        transport=transport,
        ledger=ledger,
        prices=prices,
        pacing=Pacing(),
        cache=AnswerCache(
            backend(settings.redis_url),
            secret=secret if isinstance(secret, bytes) else secret.encode(),
            scope=settings.cache_scope,
        ),
        sender=app,
        log_content=settings.log_content,
    )


def _strings(app: Flask) -> dict[str, str]:
    """Return the app's settings that could be keys or addresses of providers."""
    endings = ("_API_KEY", "_BASE_URL", "_ENDPOINT")
    return {
        name: value
        for name, value in app.config.items()
        if name.endswith(endings) and isinstance(value, str)
    }


def _database(app: Flask, settings: Settings) -> Database:
    if settings.bind_key and settings.database_uri:
        raise ConfigError("LLM_BIND_KEY and LLM_DATABASE_URI exclude each other.")
    migrate = settings.auto_migrate
    if settings.bind_key:
        return Database(
            _host_engine(app, settings.bind_key), auto_migrate=bool(migrate)
        )
    default = f"sqlite:///{Path(app.instance_path) / 'llm.sqlite'}"
    if migrate is None:
        migrate = settings.database_uri is None
    return Database(settings.database_uri or default, auto_migrate=migrate)


def _host_engine(app: Flask, bind_key: str) -> Callable[[], Engine]:
    """Borrow the engine of the app's Flask-SQLAlchemy, once it is there."""

    def engine() -> Engine:
        with app.app_context():
            try:
                engines = app.extensions["sqlalchemy"].engines
                found: Engine = engines[None if bind_key == "default" else bind_key]
            except KeyError as error:
                raise ConfigError(
                    f"LLM_BIND_KEY={bind_key!r}: the app has no Flask-SQLAlchemy "
                    "with that bind."
                ) from error
        if isinstance(found.pool, StaticPool):
            raise ConfigError(
                f"LLM_BIND_KEY={bind_key!r}: a SQLite database in memory has one "
                "connection for all, so our commits would be the app's too; use a "
                "file, or LLM_DATABASE_URI instead."
            )
        return found

    return engine


def _warn_of_retirement(prices: Prices, model: str) -> None:
    notice = prices.retirement_notice(model, datetime.now(UTC).date())
    if notice:
        logger.warning("%s Set LLM_MODEL to a current model.", notice)


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
