"""Answers given before, kept in Flask-Caching under a key of all that shaped them."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import IO, Any, Protocol

from flask import Flask
from flask_caching import Cache

from flask_llm.chat import Completion, Prompt, Text, Usage
from flask_llm.providers import Provider
from flask_llm.wire import Call

VERSION = 1
"""Raised when what is kept changes its shape; older answers are then not found."""

JITTER = 0.1
"""The share of a lifetime that chance takes off, so that not all end at once."""

TIMEOUT_SECONDS = 2
"""How long Redis may take; a cache that is slower than that is no help."""

logger = logging.getLogger("flask_llm")


class Backend(Protocol):
    """What is used of a Flask-Caching back end."""

    def get(self, key: str) -> Any:
        """Return what is kept, or None."""

    def set(self, key: str, value: str, timeout: int) -> Any:
        """Keep a value for some seconds."""


class _Plain:
    """Strings as they are: nobody who writes to the cache can make us unpickle."""

    def dumps(self, value: str, **_: Any) -> bytes:
        return value.encode()

    def loads(self, bvalue: bytes | None, **_: Any) -> str | None:
        return None if bvalue is None else bytes(bvalue).decode()

    def dump(self, value: str, f: IO[bytes], **_: Any) -> None:
        f.write(self.dumps(value))

    def load(self, f: IO[bytes], **_: Any) -> str | None:
        return self.loads(f.read())


def backend(redis_url: str | None) -> Backend:
    """Make a back end of our own.

    On an app that stands in for the host's: Flask-Caching would mix the host's own
    ``CACHE_`` settings into ours.

    :param redis_url: where to keep answers; None keeps them in this process.
    """
    config: dict[str, Any] = {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 1000}
    if redis_url:
        config = {
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_URL": redis_url,
            "CACHE_KEY_PREFIX": "llm:answer:",
            "CACHE_OPTIONS": {
                "socket_timeout": TIMEOUT_SECONDS,
                "socket_connect_timeout": TIMEOUT_SECONDS,
            },
        }
    app = Flask(__name__)
    cache = Cache(with_jinja2_ext=False)
    cache.init_app(app, config=config)
    kept: Any = app.extensions["cache"][cache]
    kept.serializer = _Plain()
    return kept  # type: ignore[no-any-return]


class AnswerCache:
    """Looks answers up and keeps them; a cache that fails costs a call, not an error.

    :param secret: keys the hash, so that nobody who sees a key can test a guess at it.
    :param scope: who shares answers: ``user``, ``tenant`` or ``app``.
    """

    def __init__(
        self,
        kept: Backend,
        *,
        secret: bytes,
        scope: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._kept = kept
        self._secret = secret
        self._scope = scope
        self._jitter = jitter

    def key(self, prompt: Prompt, provider: Provider, call: Call) -> str:
        """Return the SHA-256 (HMAC) of the request as sent and of who may share it."""
        scopes = {
            "user": [prompt.tenant, prompt.user],
            "tenant": [prompt.tenant],
            "app": [],
        }
        shaped = [
            VERSION,
            provider.name,
            provider.base_url,
            call.path,
            dict(call.headers),
            call.body,
            self._scope,
            scopes[self._scope],
        ]
        text = json.dumps(shaped, sort_keys=True, separators=(",", ":"))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def get(self, key: str) -> Completion | None:
        """Return the answer kept under a key."""
        try:
            text = self._kept.get(key)
            return _read(json.loads(text)) if text else None
        except Exception as error:  # noqa: BLE001 - any back end, any failure: a miss
            logger.warning("The answer cache cannot be read: %s", type(error).__name__)
            return None

    def set(self, key: str, completion: Completion, seconds: int) -> None:
        """Keep an answer that is whole, unrefused and asks for no tool."""
        if completion.finish_reason != "stop" or not completion.text:
            return
        lifetime = max(1, int(seconds * (1 - JITTER * self._jitter())))
        try:
            self._kept.set(key, json.dumps(_written(completion)), timeout=lifetime)
        except Exception as error:  # noqa: BLE001 - any back end, any failure
            logger.warning(
                "The answer cache cannot be written: %s", type(error).__name__
            )


_KEPT = (
    "reasoning",
    "finish_reason",
    "raw_finish_reason",
    "service_tier",
    "served_model",
    "response_id",
)


def _written(completion: Completion) -> dict[str, Any]:
    cost = completion.cost_usd
    usage = {name: getattr(completion.usage, name) for name in Usage.__slots__}
    return {
        "text": completion.text,
        "usage": usage,
        "cost_usd": None if cost is None else str(cost),
        **{name: getattr(completion, name) for name in _KEPT},
    }


def _read(kept: Mapping[str, Any]) -> Completion:
    """Read an answer back; ``cost_usd`` is what it cost when it was asked for."""
    cost = kept["cost_usd"]
    return Completion(
        content=(Text(kept["text"]),),
        usage=Usage(**kept["usage"]),
        cost_usd=None if cost is None else Decimal(cost),
        cached=True,
        **{name: kept[name] for name in _KEPT},
    )
