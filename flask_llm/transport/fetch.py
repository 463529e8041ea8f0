"""Fetches images and PDFs from the public internet, and from nowhere else.

The address is checked where the connection is opened, on the very addresses that are
then connected to, so that neither a name that changes its mind (DNS rebinding), nor a
redirect, nor two readings of one URL leads past the check. No proxy is used, since it
would resolve the name itself; no cookie, key or word of ours is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from typing import Any, NoReturn
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from flask_llm.chat import media_type_of
from flask_llm.errors import DeadlineExceeded, InvalidRequestError
from flask_llm.retry import Deadline
from flask_llm.transport import addresses
from flask_llm.transport.addresses import RefusedError
from flask_llm.transport.connection import Dial, current, pools_by
from flask_llm.transport.unzip import Unzip

BYTES_MAX = 15 * 1024 * 1024
"""What one call may fetch: in base64 20 MiB, about what Google takes in a request."""

SECONDS_MAX = 10.0
"""How long one file may take, where the call's deadline leaves so much."""

REDIRECTS_MAX = 3
PORTS = frozenset({80, 443})
TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp", "application/pdf")

_BLOCK_BYTES = 65_536
_CONNECT_SECONDS = 3.0
_REDIRECTS = {301, 302, 303, 307, 308}
_OK = 200
_HEADERS = {
    "Accept": ", ".join(TYPES),
    "Accept-Encoding": "identity",
    # Many servers refuse requests without one; this one says nothing.
    "User-Agent": "Mozilla/5.0 (compatible)",
}


class _Adapter(HTTPAdapter):
    """Opens its connections through the guard; there is no session around it."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make pools of connections that the guard opens."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = pools_by(self._dial)


class Fetcher:
    """Fetches files for prompts.

    :param resolve: returns all addresses of a name.
    :param is_public: tells of an address whether it may be connected to.
    :param ports: to which connections may be made.
    :param seconds_max: how long one file may take.
    :param environ: where the CA bundle is named.
    """

    def __init__(
        self,
        *,
        resolve: addresses.Resolve = addresses.resolve,
        is_public: addresses.IsPublic = addresses.is_public,
        ports: Collection[int] = PORTS,
        seconds_max: float = SECONDS_MAX,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._resolve = resolve
        self._is_public = is_public
        self._ports = ports
        self._seconds_max = seconds_max
        self._verify: bool | str = (
            environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or True
        )

    def fetch(
        self, url: str, deadline: Deadline, *, max_bytes: int = BYTES_MAX
    ) -> bytes:
        """Return what a URL leads to: an image or a PDF, told by its bytes.

        :raises InvalidRequestError: where it leads to anything else, or to where it
            must not; the message names the host and nothing else of the URL, which may
            be a signed one.
        :raises DeadlineExceeded: where the call's own time is over.
        """
        patience = deadline.within(self._seconds_max)
        adapter = _Adapter(self._dial)
        try:
            return self._follow(adapter, url, patience, max_bytes)
        except RefusedError as refused:
            why = str(refused)
        finally:
            adapter.close()
        # Raised out here so that it has no context, which would quote the URL.
        if deadline.remaining() <= 0:
            raise DeadlineExceeded(f"No time was left to fetch a file: {why}.")
        raise InvalidRequestError(f"A file was not fetched: {why}.", code="not_fetched")

    def _follow(
        self, adapter: _Adapter, url: str, patience: Deadline, max_bytes: int
    ) -> bytes:
        for _ in range(REDIRECTS_MAX + 1):
            host = self._check(url)
            try:
                response = self._open(adapter, url, patience)
                try:
                    onward = _redirect(response, url)
                    if onward is None:
                        return _whole(response, patience, max_bytes)
                finally:
                    response.close()
            except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
                raise RefusedError(f"{host} {_words(error)}") from None
            except RefusedError as refused:
                raise RefusedError(f"{host} {refused}") from None
            url = onward
        raise RefusedError(f"{host} redirects more than {REDIRECTS_MAX} times")

    def _open(
        self, adapter: _Adapter, url: str, patience: Deadline
    ) -> requests.Response:
        _check_time(patience)
        request = requests.Request("GET", url, headers=_HEADERS).prepare()
        current.deadline = patience
        try:
            return adapter.send(
                request, stream=True, timeout=patience.remaining(), verify=self._verify
            )
        finally:
            current.deadline = None

    def _check(self, url: str) -> str:
        """See that a URL may be fetched, wherever its name leads; return its host.

        :raises RefusedError: where it may not.
        """
        parts = _split(url)
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"}:
            raise RefusedError(f"{host or 'its URL'} is not given by http or https")
        if "@" in parts.netloc:
            raise RefusedError(f"{host} is given with a user or password")
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            self._check_host(host, port)
        except RefusedError as refused:
            raise RefusedError(f"{host or 'its URL'} {refused}") from None
        except ValueError:
            raise RefusedError(f"{host} has a port that is none") from None
        return host

    def _check_host(self, host: str, port: int) -> str | None:
        """Return the address that a host is, None for a name."""
        address = addresses.literal(host.removesuffix("."))
        if port not in self._ports:
            raise RefusedError(f"is asked at port {port}, which is not allowed")
        if address is not None and not self._is_public(address):
            raise RefusedError("is no public address")
        return address

    def _dial(self, host: str, port: int) -> socket.socket:
        """Connect to a host; all its addresses must be public, and one must answer.

        :raises RefusedError: where that is not so.
        """
        patience = current.deadline
        if patience is None:
            raise RuntimeError("The guard dials for fetch() alone.")
        address = self._check_host(host, port)
        found = [address] if address else self._addresses(host, port, patience)
        for one in found:
            _check_time(patience)
            try:
                seconds = max(0.001, min(_CONNECT_SECONDS, patience.remaining()))
                connection = socket.create_connection((one, port), timeout=seconds)
            except OSError:
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(max(0.001, patience.remaining()))
            return connection
        raise RefusedError("could not be connected to")

    def _addresses(self, host: str, port: int, patience: Deadline) -> list[str]:
        try:
            found = addresses.resolve_within(
                self._resolve, host, port, patience.remaining()
            )
        except TimeoutError:
            found = []
            _check_time(patience)
        except OSError:
            found = []
        # In one sentence: a stranger is not to learn which names there are inside.
        if not found or not all(map(self._is_public, found)):
            raise RefusedError("is not on the public internet")
        return found


def _split(url: str) -> SplitResult:
    if any(letter <= " " or letter in "\\\x7f" for letter in url):
        raise RefusedError("its URL holds spaces, backslashes or control characters")
    try:
        return urlsplit(url)
    except ValueError:
        raise RefusedError("its URL cannot be read") from None


def _redirect(response: requests.Response, url: str) -> str | None:
    """Return where an answer leads on to; None where it is the end.

    :raises RefusedError: where it is neither, or leads from https to http.
    """
    status, location = response.status_code, response.headers.get("Location")
    if status in _REDIRECTS and location:
        onward = urljoin(url, location)
        if _scheme(url) == "https" != _scheme(onward):
            raise RefusedError("redirects from https to something else")
        return onward
    if status != _OK:
        raise RefusedError(f"answered with status {status}")
    return None


def _scheme(url: str) -> str:
    return urlsplit(url).scheme


def _whole(response: requests.Response, patience: Deadline, max_bytes: int) -> bytes:
    """Read a body to its end, and see that it is what models look at."""
    if (response.raw.length_remaining or 0) > max_bytes:
        _too_large(max_bytes)
    unzip = Unzip(response.headers.get("Content-Encoding"))
    body = bytearray()
    while True:
        _check_time(patience)
        block = response.raw.read1(_BLOCK_BYTES, decode_content=False)
        if not block:
            break
        body += unzip.feed(block, max_bytes - len(body) + 1)
        if len(body) > max_bytes:
            _too_large(max_bytes)
    unzip.close()
    data = bytes(body)
    if media_type_of(data) not in set(TYPES):
        raise RefusedError(f"sent something that is none of {', '.join(TYPES)}")
    return data


def _too_large(max_bytes: int) -> NoReturn:
    raise RefusedError(
        f"has more than the {max_bytes:,} bytes that are left of the {BYTES_MAX:,} "
        "which one call may fetch"
    )


def _check_time(patience: Deadline) -> None:
    if patience.remaining() <= 0:
        raise RefusedError("took too long")


def _words(error: Exception) -> str:
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return "took too long"
    if isinstance(error, requests.exceptions.SSLError):
        return "has a certificate or TLS that is not accepted"
    return "could not be read, or hung up"
