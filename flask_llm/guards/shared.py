"""Redis, where all workers and machines meet; the only place that loads it."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from flask_llm.errors import ConfigError
from flask_llm.guards.outage import Outage

TIMEOUT_SECONDS = 1.0
"""How long Redis may take to connect or to answer."""


class Down(Exception):  # noqa: N818 - a state, which every caller has an answer to
    """Redis cannot be reached; each process counts by itself until it can."""


class Shared:
    """Runs scripts in Redis, each of them atomic there.

    Nothing is connected to before the first script. Redis going down and coming back
    are each logged once.

    :param url: ``LLM_REDIS_URL``.
    :param clock: monotonic seconds.
    :raises ConfigError: where the ``redis`` package is not installed, or the URL has
        options that it does not take.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if importlib.util.find_spec("redis") is None:
            raise ConfigError(
                "LLM_REDIS_URL needs a package that is not installed: "
                "pip install 'flask-llm[redis]'."
            )
        try:
            self._redis.connection.parse_url(url)
        except ValueError as error:
            raise ConfigError(f"LLM_REDIS_URL: {error}.") from None
        self._url = url
        self._clock = clock
        self._scripts: dict[str, Any] = {}
        self._outage = Outage("Redis", "each process counts by itself", clock=clock)

    def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | float] = ()
    ) -> Any:
        """Run a Lua script and return what it returns; texts are bytes.

        :raises Down: where Redis cannot be reached, or could not a moment ago.
        """
        if not self._outage.is_over():
            raise Down
        began = self._clock()
        try:
            result = self._script(script)(keys=keys, args=arguments)
        except (self._redis.RedisError, OSError) as error:
            self._outage.failed(error)
            raise Down from error
        self._outage.ended(began)
        return result

    def close(self) -> None:
        """Close the connections that are kept."""
        if "client" in self.__dict__:
            self.client.close()

    @cached_property
    def client(self) -> Any:
        """The client; it makes its connections anew after a fork."""
        return self._redis.Redis.from_url(self._url, **patience())

    @cached_property
    def _redis(self) -> Any:
        return _load()

    def _script(self, script: str) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self.client.register_script(script)
        return self._scripts[script]


def patience() -> dict[str, Any]:
    """Return the options of a Redis client that waits no longer than it must.

    By itself it would sleep between tries. One more, at once, is for connections that
    were kept while Redis was started anew.
    """
    redis = _load()
    again = redis.retry.Retry(
        redis.backoff.NoBackoff(), 1, supported_errors=(redis.ConnectionError,)
    )
    return {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": again,
    }


def _load() -> Any:
    return importlib.import_module("redis")
