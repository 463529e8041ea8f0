"""Answers given before, kept under a key of all that shaped them."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flask_llm.chat import Question
from flask_llm.errors import ConfigError
from flask_llm.guards.cache.backends import Backend
from flask_llm.guards.cache.flight import Lead, SingleFlight
from flask_llm.guards.cache.local import Flights
from flask_llm.guards.cache.remote import Turns
from flask_llm.guards.cache.texts import Answer, is_final, read, write
from flask_llm.guards.outage import Outage
from flask_llm.guards.shared import Shared
from flask_llm.providers import Provider
from flask_llm.retry import Deadline
from flask_llm.wire import Call

VERSION = 1
"""Raised when what is kept changes its shape; older answers are then not found."""

JITTER = 0.1
"""The share of a lifetime that chance takes off, so that not all end at once."""


class AnswerCache:
    """Looks answers up and keeps them; a cache that fails costs a call, not an error.

    :param secret: keys the hash, so that nobody who sees a key can test a guess at it.
    :param scope: who shares answers: ``user``, ``tenant`` or ``app``.
    :param shared: Redis, where processes agree on who asks; None leaves each to itself.
    :param jitter: a number from 0 to 1.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        kept: Backend,
        *,
        secret: bytes,
        scope: str,
        shared: Shared | None = None,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._kept = kept
        self._secret = secret
        self._scope = scope
        self._jitter = jitter
        self._clock = clock
        self._outage = Outage(
            "The cache of answers", "every question is asked", clock=clock
        )
        self._flights = Flights(clock=clock)
        self._single = SingleFlight(
            self._flights, Turns(shared), jitter=jitter, sleep=sleep
        )

    def key(self, prompt: Question, provider: Provider, call: Call) -> str:
        """Return the SHA-256 (HMAC) of the request as sent and of who may share it.

        The provider's key is not in it: answers outlive its rotation.
        """
        scopes = {
            "user": [prompt.tenant, prompt.user],
            "tenant": [prompt.tenant],
            "app": [],
        }
        text = _canonical(
            [
                VERSION,
                provider.name,
                provider.protocol,
                provider.base_url,
                dict(provider.headers),
                call.path,
                dict(call.headers),
                call.body,
                self._scope,
                scopes[self._scope],
            ]
        )
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def find(self, key: str, deadline: Deadline) -> Answer | Lead:
        """Return the answer kept under a key, or let this caller ask for it.

        Where another caller is asking already, in this process or in another, wait for
        its answer. Whoever gets a :class:`Lead` must finish it, however the call ends.

        :raises DeadlineExceeded: where another caller's answer does not come in time.
        """
        found = self.get(key)
        if found:
            return found
        return self._single.ask(
            key, deadline, partial(self.get, key), partial(self.set, key)
        )

    def get(self, key: str) -> Answer | None:
        """Return the answer kept under a key."""
        text = self._try(lambda: self._kept.get(key))
        return read(text)

    def set(self, key: str, completion: Answer, seconds: int) -> None:
        """Keep an answer that is whole, unrefused, asks for no tool and is new."""
        if completion.cached or not is_final(completion):
            return
        lifetime = max(1, int(seconds * (1 - JITTER * self._jitter())))
        self._try(lambda: self._kept.set(key, write(completion), timeout=lifetime))

    def _try(self, use: Callable[[], Any]) -> Any:
        """Use the back end, or do without where it fails."""
        if not self._outage.is_over():
            return None
        began = self._clock()
        try:
            result = use()
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - any back end, any failure
            self._outage.failed(error)
            return None
        self._outage.ended(began)
        return result


def _canonical(value: object) -> str:
    """Write JSON that does not depend on the order of any dict."""
    write_sorted = partial(json.dumps, sort_keys=True, separators=(",", ":"))
    try:
        return write_sorted(value)
    except TypeError:
        # Keys that are not all strings become so on their way to the provider.
        return write_sorted(json.loads(json.dumps(value)))
