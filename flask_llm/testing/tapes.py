"""Exchanges with a provider, kept in a file with every secret struck out."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

_KEPT_HEADERS = re.compile(
    r"content-type$|retry-after|x-should-retry$|x-ratelimit-|anthropic-ratelimit-",
    re.IGNORECASE,
)
"""What the package reads; keys, cookies and the account's names are never written."""

_ACCOUNT = re.compile(r"\b(org|proj)[-_](?=[A-Za-z]*\d)[A-Za-z0-9]{12,}")
"""Ids of organisations and projects, as OpenAI quotes them in its errors."""

_SECRET_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
_STRUCK = "***"
_KEY_LENGTH_MIN = 8


class Tape:
    """One file of exchanges: each is given again, in its turn, for the same request.

    Requests are the same where method, host, path and body are.

    :param path: a JSON file.
    :param live: make the file where there is none, by really asking.
    """

    def __init__(self, path: str | Path, *, live: bool) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._given: set[int] = set()
        self._exchanges: list[dict[str, Any]] = []
        self.is_recording = live and not self.path.exists()
        if not self.is_recording:
            self._exchanges = self._read()

    def replay(self, request: requests.PreparedRequest) -> Any:
        """Return the recorded answer to a request as ``responses`` takes it.

        The last one of several is given for ever.

        :raises LookupError: where there is none; the message says what is recorded.
        """
        asked = _asked(request)
        with self._lock:
            places = [
                place
                for place, exchange in enumerate(self._exchanges)
                if exchange["request"] == asked
            ]
            if not places:
                raise LookupError(self._unknown(asked))
            fresh = [place for place in places if place not in self._given]
            place = (fresh or places[-1:])[0]
            self._given.add(place)
            answer = self._exchanges[place]["response"]
        return answer["status"], list(answer["headers"].items()), _decoded(answer)

    def record(self, response: requests.Response) -> None:
        """Write an exchange down, and leave its body to be read as if it had not been.

        :param response: one whose body nobody has begun to read.
        """
        body = response.raw.read(decode_content=True)
        response.raw = _raw(response, body)
        for name in ("Content-Encoding", "Content-Length", "Transfer-Encoding"):
            response.headers.pop(name, None)
        secrets = _secrets(response.request)
        exchange = {
            "request": _asked(response.request),
            "response": {
                "status": response.status_code,
                "headers": {
                    name: value
                    for name, value in response.headers.items()
                    if _KEPT_HEADERS.match(name)
                },
                **_encoded(body),
            },
        }
        with self._lock:
            self._exchanges.append(_scrubbed(exchange, secrets))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self._exchanges, ensure_ascii=False, indent=1)
            self.path.write_text(text + "\n", "utf-8")

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            raise FileNotFoundError(
                f"There is no recording {self.path}. To make it, by really asking the "
                "provider once: pytest --llm-record, with a real key."
            )
        exchanges: list[dict[str, Any]] = json.loads(self.path.read_text("utf-8"))
        return exchanges

    def _unknown(self, asked: dict[str, Any]) -> str:
        known = [json.dumps(each["request"]) for each in self._exchanges]
        return "\n    ".join(
            [
                f"{self.path} has no answer to this request:",
                json.dumps(asked, ensure_ascii=False),
                "Recorded are:",
                *known,
                "Delete the file and run pytest --llm-record to ask anew.",
            ]
        )


def _asked(request: requests.PreparedRequest) -> dict[str, Any]:
    url = urlsplit(str(request.url))
    asked = {
        "method": request.method,
        "host": url.hostname,
        "path": url.path,
        "body": _readable(request.body),
    }
    # Compared with what is in the file, which is scrubbed.
    scrubbed: dict[str, Any] = _scrubbed(asked, _secrets(request))
    return scrubbed


def _readable(body: bytes | str | None) -> Any:
    """Read a body as JSON, and as text where it is none."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


def _secrets(request: requests.PreparedRequest) -> list[str]:
    values = [str(request.headers.get(name, "")) for name in _SECRET_HEADERS]
    keys = [value.removeprefix("Bearer ") for value in values]
    return [key for key in keys if len(key) >= _KEY_LENGTH_MIN]


def _scrubbed(value: Any, secrets: list[str]) -> Any:
    """Strike keys and names of accounts out of all texts."""
    if isinstance(value, dict):
        return {key: _scrubbed(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrubbed(item, secrets) for item in value]
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, _STRUCK)
    return _ACCOUNT.sub(rf"\1-{_STRUCK}", value)


def _encoded(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _decoded(answer: dict[str, Any]) -> bytes:
    if "base64" in answer:
        return base64.b64decode(answer["base64"])
    return str(answer["body"]).encode()


def _raw(response: requests.Response, body: bytes) -> Any:
    """Make a raw body that has not been read from one that has."""
    kind = type(response.raw)
    return kind(
        body=io.BytesIO(body),
        status=response.status_code,
        preload_content=False,
    )
