"""One app's parts, made from its settings and put together."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask, current_app, has_app_context
from sqlalchemy import Engine, StaticPool

from flask_llm.client import Batches, Client
from flask_llm.client.gate import Gate
from flask_llm.errors import ConfigError, InvalidRequestError
from flask_llm.guards import (
    AnswerCache,
    Attempts,
    Breaker,
    Budgets,
    Pacing,
    Quotas,
    Shared,
    Storage,
)
from flask_llm.guards.cache import backend
from flask_llm.pricing import Prices
from flask_llm.providers import Providers
from flask_llm.settings import Settings
from flask_llm.state import Hooks, State
from flask_llm.transport import Fetcher, Transport
from flask_llm.usage import (
    BatchLedger,
    Database,
    Journal,
    Ledger,
    Reports,
    Requests,
)


def assemble(app: Flask, hooks: Hooks, *, plain: bool) -> State:
    """Read an app's settings and make its parts; nothing is connected to.

    :raises ConfigError: where a setting is wrong.
    """
    settings, providers = _read(app)
    database = _database(app, settings)
    ledger = Ledger(database, _journal(app, settings))
    prices = Prices.load(settings.prices)
    shared = Shared(settings.redis_url) if settings.redis_url else None
    storage = Storage(app, limiter=settings.limiter, shared=shared)
    breaker = _breaker(settings, shared)
    pacing = Pacing(shared)
    budgets = _budgets(settings, prices, hooks)
    client, batches = _callers(
        log_content=settings.log_content,
        providers=providers,
        transport=_transport(settings, pacing),
        ledger=ledger,
        prices=prices,
        budgets=budgets,
        gate=_gate(app, settings, shared, storage, breaker, pacing),
        sender=app,
    )
    return State(
        settings=settings,
        client=client,
        batches=batches,
        database=database,
        ledger=ledger,
        reports=Reports(database),
        requests=Requests(database),
        budgets=budgets,
        prices=prices,
        breaker=breaker,
        attempts=Attempts(storage),
        shared=shared,
        hooks=hooks,
        plain=plain,
    )


def _read(app: Flask) -> tuple[Settings, Providers]:
    settings = Settings.read(app.config)
    providers = Providers(settings, ChainMap(_strings(app), dict(os.environ)))
    return _resolved(settings, providers), providers


def _journal(app: Flask, settings: Settings) -> Journal:
    return Journal(settings.journal or Path(app.instance_path) / "llm-journal.jsonl")


def _callers(
    *, ledger: Ledger, log_content: bool, **parts: Any
) -> tuple[Client, Batches]:
    """Make what calls providers, of the same parts."""
    client = Client(ledger=ledger, fetcher=Fetcher(), log_content=log_content, **parts)
    return client, Batches(ledger=BatchLedger(ledger), **parts)


def _transport(settings: Settings, pacing: Pacing) -> Transport:
    return Transport(
        connect_timeout=settings.connect_timeout,
        backoff=settings.backoff,
        max_response_bytes=settings.max_response_bytes,
        heed=pacing.heed,
        hold=pacing.hold,
    )


def _budgets(settings: Settings, prices: Prices, hooks: Hooks) -> Budgets:
    def limit(scope: str, subject: str, period: str) -> object:
        own = hooks.budget_limit
        return None if own is None else own(scope, subject, period)

    return Budgets(
        settings.budgets,
        prices,
        zone=settings.timezone,
        allow_unknown=settings.unknown_price == "allow",
        limit=limit,
    )


def _breaker(settings: Settings, shared: Shared | None) -> Breaker:
    return Breaker(
        shared,
        failures=settings.breaker_failures,
        seconds=settings.breaker_seconds,
    )


def _gate(
    app: Flask,
    settings: Settings,
    shared: Shared | None,
    storage: Storage,
    breaker: Breaker,
    pacing: Pacing,
) -> Gate:
    secret = app.secret_key or b""
    return Gate(
        quotas=Quotas(settings.quotas, storage, storage_down=settings.storage_down),
        breaker=breaker,
        cache=AnswerCache(
            backend(settings.redis_url, given=settings.cache, app=app),
            secret=secret if isinstance(secret, bytes) else secret.encode(),
            scope=settings.cache_scope,
            shared=shared,
        ),
        pacing=pacing,
    )


def _resolved(settings: Settings, providers: Providers) -> Settings:
    """See that every model that settings name has a provider, and write it whole."""

    def whole(key: str, model: str) -> str:
        try:
            provider, name = providers.resolve(model)
        except InvalidRequestError as error:
            raise ConfigError(f"{key}: {error.message}") from None
        return f"{provider.name}/{name}"

    model = whole("LLM_MODEL", settings.model)
    embed_model = whole("LLM_EMBED_MODEL", settings.embed_model)
    fallbacks = {
        whole("LLM_FALLBACKS", model): tuple(
            whole(f"LLM_FALLBACKS[{model!r}]", other) for other in others
        )
        for model, others in settings.fallbacks.items()
    }
    return replace(settings, model=model, embed_model=embed_model, fallbacks=fallbacks)


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
        here = has_app_context() and current_app == app
        with nullcontext() if here else app.app_context():
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
