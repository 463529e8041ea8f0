"""Sends calls until an answer comes or trying again would be wrong."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from urllib.request import getproxies

import requests
from requests.utils import should_bypass_proxies

from flask_llm.errors import (
    OverloadedError,
    ProviderError,
    RateLimitError,
    ResponseError,
)
from flask_llm.forks import after_fork
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import Provider
from flask_llm.retry import Deadline, Retry, undone
from flask_llm.transport.body import BULK_BYTES_MAX, EventStream, Lines, Reader
from flask_llm.transport.failures import named_errors, too_late
from flask_llm.transport.session import Prepared, new_session, prepare, rest, strike
from flask_llm.wire import Call, Reply

_ERROR_STATUS = 400

Headers = Mapping[str, str]


def _nothing(*_: object) -> None:
    """Stand in for whoever is not interested."""


class Transport:
    """Sends calls and reads what comes back.

    :param connect_timeout: seconds for one connect.
    :param backoff: seconds before the second try.
    :param max_response_bytes: where an answer is cut off as an error.
    :param pool_size: connections kept per host.
    :param environ: where proxies and the CA bundle are named.
    :param heed: told the headers of every answer as soon as they are there, names in
        lower case.
    :param hold: told for how many seconds a provider wants to be left alone by all,
        where it says so and no other key would help.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        backoff: float = 1.0,
        max_response_bytes: int = 32 * 1024 * 1024,
        pool_size: int = 64,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        environ: Mapping[str, str] = os.environ,
        heed: Callable[[Provider, Headers], object] = _nothing,
        hold: Callable[[Provider, float], object] = _nothing,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._backoff = backoff
        self._max_bytes = max_response_bytes
        self._pool_size = pool_size
        self._clock = clock
        self._sleep = sleep
        self._heed = heed
        self._hold = hold
        self._proxies = getproxies()
        self._no_proxy = self._proxies.pop("no", None)
        self._bundle = environ.get("REQUESTS_CA_BUNDLE") or environ.get(
            "CURL_CA_BUNDLE"
        )
        self._lock = threading.Lock()
        self._session: requests.Session | None = None
        after_fork(self._forget)

    @property
    def session(self) -> requests.Session:
        """The session of this process; a forked worker makes its own."""
        if self._session is None:
            with self._lock:
                if self._session is None:
                    self._session = new_session(self._pool_size)
        return self._session

    def close(self) -> None:
        """Close the connections that are kept."""
        if self._session is not None:
            self._session.close()

    def _forget(self) -> None:
        """Begin without a session, as a forked worker must: its sockets are shared."""
        self._lock = threading.Lock()
        self._session = None

    def retry(self, retries: int, within: Deadline | float) -> Retry:
        """Return a call's supply of tries.

        :param within: its deadline, or the seconds until then.
        """
        if not isinstance(within, Deadline):
            within = Deadline(within, clock=self._clock)
        return Retry(
            retries,
            deadline=within,
            backoff=self._backoff,
            connect_timeout=self._connect_timeout,
            sleep=self._sleep,
        )

    def send(self, call: Call, provider: Provider, retry: Retry) -> Reply:
        """Send until an answer comes or trying again would be wrong.

        :raises ProviderError: how the last try ended.
        """
        while True:
            prepared = _prepared(call, provider)
            try:
                response = self._open(prepared, provider, retry)
                return self._whole(response, call, provider, retry.deadline)
            except ProviderError as error:
                if call.once and not undone(error):
                    raise
                self._after(error, prepared, provider, retry)

    def lines(self, call: Call, provider: Provider, retry: Retry) -> Lines:
        """Send until an answer begins, and yield its lines, those that are empty aside.

        One line may be as long as an answer, and all of them as a bulk of answers.

        :raises ProviderError: how the last try ended, or how the answer broke off.
        """
        while True:
            prepared = _prepared(call, provider)
            try:
                response = self._open(prepared, provider, retry)
                if response.status_code >= _ERROR_STATUS:
                    self._whole(response, call, provider, retry.deadline)
                break
            except ProviderError as error:
                self._after(error, prepared, provider, retry)
        with closing(response):
            reader = Reader(response, retry.deadline, BULK_BYTES_MAX)
            yield from reader.lines(self._max_bytes)

    def stream(self, call: Call, provider: Provider, retry: Retry) -> EventStream:
        """Send until a stream has begun: its first event is there and is no error.

        :raises ProviderError: how the last try ended.
        """
        while True:
            prepared = _prepared(call, provider)
            try:
                response = self._open(prepared, provider, retry)
                return self._begin(response, call, provider, retry)
            except ProviderError as error:
                self._after(error, prepared, provider, retry)

    def _after(
        self, error: ProviderError, prepared: Prepared, provider: Provider, retry: Retry
    ) -> None:
        """Wait for the next try; not at all where it is another key's turn.

        :raises ProviderError: the error itself, where there is to be none.
        """
        if rest(error, prepared, provider):
            if retry.failed >= retry.retries or not retry.deadline.remaining():
                raise error
            retry.failed += 1
            return
        if (
            isinstance(error, (RateLimitError, OverloadedError))
            and error.retry_after is not None
        ):
            self._hold(provider, error.retry_after)
        retry.after(error)

    def _open(
        self, prepared: Prepared, provider: Provider, retry: Retry
    ) -> requests.Response:
        """Send once and read no further than the headers."""
        remaining = retry.deadline.remaining()
        if remaining <= 0:
            too_late()
        retry.sent = True
        with named_errors():
            response = self.session.send(
                prepared.request,
                retry=retry,
                stream=True,
                allow_redirects=False,
                timeout=(min(self._connect_timeout, remaining), remaining),
                proxies=self._proxies_for(provider),
                verify=self._verify(provider),
            )
        if provider.keys is None or not provider.keys.several:
            self._heed(provider, _headers(response))
        if response.is_redirect:
            response.close()
            raise ResponseError(
                f"{provider.host} answered with a redirect, which is never followed; "
                f"check the base_url of {provider.name}.",
                status=response.status_code,
            )
        return response

    def _begin(
        self, response: requests.Response, call: Call, provider: Provider, retry: Retry
    ) -> EventStream:
        if response.status_code >= _ERROR_STATUS:
            self._whole(response, call, provider, retry.deadline)
        stream = EventStream(response, retry.deadline, self._max_bytes)
        try:
            error = _first_error(provider, stream, response)
        except BaseException:
            stream.close()
            raise
        if error:
            stream.close()
            raise error
        return stream

    def _whole(
        self,
        response: requests.Response,
        call: Call,
        provider: Provider,
        deadline: Deadline,
    ) -> Reply:
        """Read an answer to its end, within the deadline and the size allowed.

        :raises ProviderError: where it is an error.
        """
        body = bytearray()
        most = BULK_BYTES_MAX if call.bulk else self._max_bytes
        reader = Reader(response, deadline, most)
        try:
            while block := reader.read():
                body += block
        finally:
            response.close()
        reply = Reply(
            status=response.status_code,
            headers=_headers(response),
            body=bytes(body),
        )
        if call.bulk and reply.status < _ERROR_STATUS:
            return reply
        error = _error(provider, reply, response)
        if error is None:
            return reply
        del reply, body, block  # they may quote the key, and tracebacks them
        raise error

    def _proxies_for(self, provider: Provider) -> dict[str, str]:
        if provider.proxies or not self._proxies:
            return dict(provider.proxies)
        if should_bypass_proxies(provider.base_url, no_proxy=self._no_proxy):
            return {}
        return self._proxies

    def _verify(self, provider: Provider) -> bool | str:
        if provider.verify is True and self._bundle:
            return self._bundle
        return provider.verify


def _prepared(call: Call, provider: Provider) -> Prepared:
    with named_errors():
        return prepare(call, provider)


def _headers(response: requests.Response) -> dict[str, str]:
    return dict(response.headers.lower_items())


def _first_error(
    provider: Provider, stream: EventStream, response: requests.Response
) -> ProviderError | None:
    """Wait for a stream's first event and return the error that it may be."""
    first = stream.prime()
    if first is None:
        return None
    reply = Reply(status=200, headers=stream.headers, body=first.data.encode())
    return _error(provider, reply, response)


def _error(
    provider: Provider, reply: Reply, response: requests.Response
) -> ProviderError | None:
    error = PROTOCOLS[provider.protocol].error(reply)
    if error:
        strike(error, response.request)
    return error
