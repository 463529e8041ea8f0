"""Where answers are kept: a back end of our own, or the app's."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from flask import Flask

from flask_llm.errors import ConfigError, nearest
from flask_llm.forks import after_fork
from flask_llm.guards.cache.plain import plain
from flask_llm.guards.shared import patience

PREFIX = "llm:answer:"


class Backend(Protocol):
    """What is used of a Flask-Caching back end."""

    def get(self, key: str) -> Any:
        """Return what is kept, or None."""

    def set(self, key: str, value: str, timeout: int) -> Any:
        """Keep a value for some seconds."""


def backend(
    redis_url: str | None, *, given: Any = None, app: Flask | None = None
) -> Backend:
    """Make or borrow a back end.

    Flask-Caching is loaded when an answer is first looked for, or at once where the
    app gave something to check.

    :param redis_url: where to keep answers; None keeps them in this process.
    :param given: ``LLM_CACHE``: Flask-Caching's settings for a back end of our own, a
        ``Cache`` of the app's to borrow, or True for its only one.
    :param app: the app that lends.
    :raises ConfigError: where what was given is of no use.
    """
    if given is None:
        return _Own(_default(redis_url))
    if isinstance(given, dict):
        own = _Own(_checked(given, redis_url))
        own.make()
        return own
    cache_class = importlib.import_module("flask_caching").Cache
    if app is not None and (given is True or isinstance(given, cache_class)):
        return _Borrowed(app, None if given is True else given)
    raise ConfigError(
        "LLM_CACHE: the app's flask_caching.Cache is needed, or True for its only one, "
        "or a dict of CACHE_ settings for one of ours, not "
        f"{'False' if given is False else type(given).__name__}."
    )


class _Own:
    """A back end of our own, made when it is first used, and anew after a fork.

    :param config: Flask-Caching's settings, whole.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._made: dict[str, Backend] = {}
        after_fork(self.forget)

    def get(self, key: str) -> Any:
        return self.make().get(key)

    def set(self, key: str, value: str, timeout: int) -> Any:
        return self.make().set(key, value, timeout)

    def make(self) -> Backend:
        """Return the back end.

        :raises ConfigError: where the settings do not make one.
        """
        found = self._made.get("it")
        if found is None:
            # Where two threads come at the same time, both go on with the first one.
            found = self._made.setdefault("it", _make(self._config))
        return found

    def forget(self) -> None:
        """Begin anew, as a forked worker must: a lock may be held for ever."""
        self._made = {}


class _Borrowed:
    """The back end of a ``Cache`` of the app's, which may be set up after us.

    :param cache: None for the only one that the app has.
    """

    def __init__(self, app: Flask, cache: Any) -> None:
        self._app = app
        self._cache = cache

    def get(self, key: str) -> Any:
        return self._kept.get(PREFIX + key)

    def set(self, key: str, value: str, timeout: int) -> Any:
        return self._kept.set(PREFIX + key, value, timeout=timeout)

    @property
    def _kept(self) -> Backend:
        there: dict[Any, Backend] = self._app.extensions.get("cache", {})
        if self._cache in there:
            return there[self._cache]
        if self._cache is not None or not there:
            raise ConfigError(
                f"LLM_CACHE: the app {self._app.name!r} has no such Cache; did you "
                "forget cache.init_app(app)?"
            )
        if len(there) > 1:
            raise ConfigError(
                f"LLM_CACHE is True, but the app {self._app.name!r} has {len(there)} "
                "Caches: set it to the one that is meant."
            )
        return next(iter(there.values()))


def _default(redis_url: str | None) -> dict[str, Any]:
    if redis_url:
        return {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": redis_url}
    return {"CACHE_TYPE": "SimpleCache"}


def _checked(given: dict[str, Any], redis_url: str | None) -> dict[str, Any]:
    """Return the app's settings for a back end of ours, with what they leave open."""
    foreign = [key for key in given if not str(key).startswith("CACHE_")]
    if foreign:
        raise ConfigError(
            f"LLM_CACHE: {foreign[0]!r} is no setting of Flask-Caching; they all begin "
            "with CACHE_."
        )
    if not isinstance(given.get("CACHE_TYPE"), str):
        raise ConfigError(
            "LLM_CACHE: CACHE_TYPE is missing; it names the back end, such as "
            "'RedisCache' or 'FileSystemCache'."
        )
    if "CACHE_SERIALIZER" in given:
        raise ConfigError(
            "LLM_CACHE: leave CACHE_SERIALIZER out; answers are kept as plain text, so "
            "that nothing is ever unpickled."
        )
    own_redis = given["CACHE_TYPE"] == "RedisCache" and "CACHE_REDIS_HOST" not in given
    if redis_url and own_redis:
        return {"CACHE_REDIS_URL": redis_url} | given
    return dict(given)


def _make(config: dict[str, Any]) -> Backend:
    """Make a back end on an app that stands in for the host's.

    On the host's, Flask-Caching would mix the host's own ``CACHE_`` settings into ours.
    """
    name = config["CACHE_TYPE"]
    kind = _kind(name)
    whole = {"CACHE_THRESHOLD": 1000, "CACHE_KEY_PREFIX": PREFIX} | config
    whole |= {
        "CACHE_TYPE": f"{plain.__module__}.{plain.__name__}",
        "LLM_CACHE_KIND": kind,
    }
    app = Flask(__name__)
    cache = importlib.import_module("flask_caching").Cache(with_jinja2_ext=False)
    try:
        if issubclass(
            kind, importlib.import_module("flask_caching.backends").RedisCache
        ):
            options = config.get("CACHE_OPTIONS") or {}
            whole["CACHE_OPTIONS"] = patience() | options
        cache.init_app(app, config=whole)
    except Exception as error:
        raise ConfigError(
            f"LLM_CACHE: {name} cannot be made with these settings "
            f"({type(error).__name__}); Flask-Caching's documentation says what it "
            "needs."
        ) from error
    return app.extensions["cache"][cache]  # type: ignore[no-any-return]


def _backends() -> Any:
    return importlib.import_module("flask_caching.backends")


def _kind(name: str) -> Any:
    """Find the class of a back end, and see that its values can be plain text."""
    backends = _backends()
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module or backends.__name__), attribute)
    except (ImportError, AttributeError, ValueError):
        kind = None
    if isinstance(kind, type) and issubclass(kind, backends.BaseCache):
        if hasattr(kind, "serializer") or issubclass(kind, backends.NullCache):
            return kind
        raise ConfigError(
            f"LLM_CACHE: {name} unpickles what it reads, whoever wrote it; take "
            "RedisCache or FileSystemCache, or lend the app's own Cache."
        )
    raise ConfigError(
        f"LLM_CACHE: there is no back end {name!r}.{nearest(name, backends.__all__)} "
        "Take RedisCache, FileSystemCache, SimpleCache or NullCache, or give the full "
        "name of a class."
    )
