"""From a request that would leave the machine to the emulator, and back as bytes."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask

from flask_llm.emulator import Answer, Emulator, Fault

Reply = tuple[int, list[tuple[str, str]], io.BufferedIOBase]
"""Status, headers and body, as a callback of ``responses`` returns them."""

_STRICT_HOSTS = re.compile(
    r"(api\.openai\.com|api\.anthropic\.com|generativelanguage\.googleapis\.com)$"
)
"""Whose rules the emulator knows; others are compatible, with words of their own."""


class Bridge:
    """Has the emulator answer requests in the wire format that each is written in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._emulators: dict[bool, tuple[Emulator, Flask]] = {}

    def respond(
        self, request: requests.PreparedRequest, outcome: Answer | Fault
    ) -> Reply:
        """Answer one request; its body comes piece by piece, as it is read.

        A request that the provider would refuse is refused all the same.
        """
        url = urlsplit(request.url or "")
        headers = {
            name: str(value)
            for name, value in request.headers.items()
            if name.lower() != "content-length"
        }
        with self._lock:  # the script of an emulator is one queue for all
            emulator, app = self._emulator(strict=_strict(url.hostname))
            emulator.script(outcome)
            response = app.test_client(use_cookies=False).open(
                _path(url.path),
                query_string=url.query,
                method=request.method or "POST",
                headers=headers,
                data=request.body,
                buffered=False,
            )
            if response.status_code == _REFUSED:
                emulator.reset()  # it may have used nothing up
        body = io.BufferedReader(_Body(response))
        return response.status_code, list(response.headers.items()), body

    def _emulator(self, *, strict: bool) -> tuple[Emulator, Flask]:
        if strict not in self._emulators:
            emulator = Emulator(strict=strict, control=False)
            app = Flask("flask_llm.testing", static_folder=None)
            app.testing = True
            app.register_blueprint(emulator.blueprint)
            self._emulators[strict] = emulator, app
        return self._emulators[strict]


_REFUSED = 400


def _strict(host: str | None) -> bool:
    return _STRICT_HOSTS.search(host or "") is not None


def is_count(request: requests.PreparedRequest) -> bool:
    """Tell whether a request has tokens counted, which is no call of a model."""
    return urlsplit(request.url or "").path.endswith(_COUNTS)


_COUNTS = ("/responses/input_tokens", "/messages/count_tokens", ":countTokens")


def _path(path: str) -> str:
    """Return the emulator's own path for one of any base URL."""
    found = re.search(r"/v1(beta)?/.*", path)
    return found[0] if found else f"/v1{path}"


class _Body(io.RawIOBase):
    """Bytes of a response, each piece when the reader comes for it."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._pieces: Iterator[bytes] = response.iter_encoded()
        self._rest = b""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read one piece, or as much of it as fits."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Hang up on the emulator."""
        if not self.closed:
            self._response.close()
        super().close()
