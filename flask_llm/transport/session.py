"""The session, and what is sent through it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict
from urllib3 import encode_multipart_formdata

from flask_llm.errors import (
    ConfigError,
    ProviderError,
    QuotaExhaustedError,
    RateLimitError,
)
from flask_llm.providers import Provider
from flask_llm.retry import Retry
from flask_llm.transport.connection import POOLS, current
from flask_llm.wire import Call, written

REST_SECONDS = 30.0
"""How long a rate-limited key rests where the provider does not say."""

LONG_REST_SECONDS = 600.0
"""How long a key rests whose account is used up, and at most any other: a figure that
is wrong is not to cost a key for the day."""


class Adapter(HTTPAdapter):
    """Gives urllib3 each call's own Retry; requests keeps one per adapter."""

    def __init__(self, pool_size: int) -> None:
        super().__init__(
            pool_connections=32, pool_maxsize=pool_size, max_retries=Retry(0)
        )

    @property
    def max_retries(self) -> urllib3.Retry:
        """The Retry of the call that this thread is sending."""
        return current.retry or self._default

    @max_retries.setter
    def max_retries(self, value: urllib3.Retry) -> None:
        self._default = value

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, *, retry: Retry, **options: Any
    ) -> requests.Response:
        """Send one request under its own Retry."""
        current.retry, current.deadline, current.fresh = retry, retry.deadline, False
        try:
            return super().send(request, **options)
        finally:
            current.retry = current.deadline = None

    def build_response(
        self, req: requests.PreparedRequest, resp: Any
    ) -> requests.Response:
        """Return what came, without a look for cookies in it: none is kept."""
        response = requests.Response()
        response.status_code, response.reason = resp.status, resp.reason
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw, response.url = resp, req.url or ""
        response.request = req
        return response

    def close(self) -> None:
        """Close what is kept at once; urllib3 leaves it to the garbage collector.

        That may take as long as somebody keeps an error that leads to the pool.
        """
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it is no mapping to iterate
                manager.pools[key].close()
        super().close()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make pools of connections that know the deadline."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.PoolManager:
        """Do the same for the way through a proxy."""
        manager: urllib3.PoolManager = super().proxy_manager_for(proxy, **options)
        if isinstance(manager, urllib3.ProxyManager):
            manager.pool_classes_by_scheme = POOLS
        return manager


class _Session(requests.Session):
    """Looks at no redirect: requests reads its whole body to see where it leads."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Know of none."""
        del resp


def new_session(pool_size: int) -> requests.Session:
    """Make a session that takes nothing from the environment and keeps no cookie."""
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = Adapter(pool_size)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent."""

    request: requests.PreparedRequest
    key: str = field(repr=False)
    """The one of the provider's keys whose turn it was."""


def prepare(call: Call, provider: Provider) -> Prepared:
    """Make the request of a call, with the key for the provider's own host."""
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict(
        {
            "User-Agent": "flask-llm",
            "Accept": "text/event-stream" if call.stream else "application/json",
            # A compressed stream comes in batches.
            "Accept-Encoding": "identity" if call.stream else "gzip, deflate",
        }
    )
    headers.update(call.headers)
    headers.update(provider.headers)
    key = _key(provider)
    if provider.keys:
        bearer = provider.auth == "bearer"
        name = "Authorization" if bearer else provider.auth
        headers[name] = f"Bearer {key}" if bearer else key
    content_type, body = _content(call)
    if content_type:
        headers.setdefault("Content-Type", content_type)
    if body is not None:
        headers["Content-Length"] = str(len(body))
    request = requests.PreparedRequest()
    request.prepare_method(call.method)
    request.url = _address(provider.base_url + call.path)
    request.prepare_headers(headers)
    request.body, request.hooks = body, default_hooks()
    return Prepared(request, key)


@lru_cache(maxsize=256)
def _address(url: str) -> str | None:
    """Return an address as it is sent; reading it takes longer than all the rest."""
    request = requests.PreparedRequest()
    request.prepare_url(url, None)
    return request.url


def _content(call: Call) -> tuple[str | None, bytes | None]:
    """Return what is sent, and of which type it is."""
    if call.upload:
        file = call.upload.name, call.upload.content, call.upload.content_type
        body, content_type = encode_multipart_formdata({**call.body, "file": file})
        return content_type, body
    if call.method == "GET":
        return None, None
    return "application/json", written(call.body)


def _key(provider: Provider) -> str:
    key = provider.keys.next() if provider.keys else ""
    if isinstance(key, str) and key.isascii() and key.isprintable():
        return key
    del key  # or the traceback would hold it
    raise ConfigError(
        f"The key of {provider.name} holds characters that no header can carry; "
        "was a line break copied with it?"
    )


def rest(error: ProviderError, prepared: Prepared, provider: Provider) -> bool:
    """Let a key rest that is rate limited, and tell whether another one is awake.

    Where none is, the provider can be asked again when the first one wakes.
    """
    keys = provider.keys
    if keys is None or not isinstance(error, (RateLimitError, QuotaExhaustedError)):
        return False
    seconds = LONG_REST_SECONDS
    if isinstance(error, RateLimitError):
        asked = error.retry_after
        seconds = min(REST_SECONDS if asked is None else asked, LONG_REST_SECONDS)
    if keys.rest(prepared.key, seconds):
        return True
    if not keys.awake and error.retry_after is not None:
        error.retry_after = min(error.retry_after, keys.wait)
    return False


_KEY_LENGTH_MIN = 8
"""Shorter ones stand in for a key at servers that want none, and are plain words."""


def strike(error: ProviderError, request: requests.PreparedRequest | None) -> None:
    """Strike the key of a request out of the words of a provider that echoes it."""
    headers = request.headers if request is not None else {}
    for header in ("Authorization", "x-api-key", "x-goog-api-key", "api-key"):
        key = str(headers.get(header, "")).removeprefix("Bearer ")
        if len(key) >= _KEY_LENGTH_MIN:
            for name in ("provider_message", "code", "type", "param", "message"):
                words = getattr(error, name)
                if words:
                    setattr(error, name, _struck(words, key))
            error.args = (error.message,)


def _struck(words: str, key: str) -> str:
    """Strike a key, and the beginning of one that was cut off at the end."""
    words = words.replace(key, "***")
    for length in range(len(key) - 1, _KEY_LENGTH_MIN - 1, -1):
        if words.endswith(key[:length]):
            return words[:-length] + "***"
    return words
