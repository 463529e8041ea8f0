"""The ways of asking, and what the caller of each gets to see."""

import http.client
import json
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import flask_llm
from flask_llm import signals
from flask_llm.emulator import serve
from flask_llm.errors import LLMError
from flask_llm.wire import EventReader

PROMPT = "Is the vicar a beekeeper?"


@dataclass(kw_only=True)
class Seen:
    """What a caller has seen of a call that is over."""

    error: BaseException | None = None
    completion: Any = None
    said: list[str] = field(default_factory=list)
    """The pieces of text, where they came one by one."""
    seconds: float = 0.0
    told: list[dict[str, Any]] = field(default_factory=list)
    """What the signal said that a call is over."""


@dataclass(kw_only=True)
class Page(Seen):
    """What a browser has seen, and what the server knows beside that."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def problem(self):
        """The body of a refusal."""
        return json.loads(self.body)

    @property
    def events(self):
        """Name and data of each event."""
        reader = EventReader()
        read = [*reader.feed(self.body), *reader.close()]
        return [(event.name, event.json) for event in read]


def ask(way, app, **options):
    """Make a call, and return what came of it."""
    began = time.monotonic()
    with endings_of(app) as told:
        seen = WAYS[way](app, options)
    return replace(seen, seconds=time.monotonic() - began, told=told)


@contextmanager
def endings_of(app):
    """Collect what an app's signals say of calls that are over."""
    told = []

    def listen(_, **facts):
        told.append(facts)

    with signals.completion_finished.connected_to(listen, sender=app):
        yield told


def complete(app, options):
    """Wait for the whole answer."""
    try:
        with app.app_context():
            return Seen(completion=flask_llm.complete(PROMPT, **options))
    except LLMError as error:
        return Seen(error=error)


def stream(app, options):
    """Read a stream."""
    said = []
    try:
        with app.app_context(), flask_llm.stream(PROMPT, **options) as pieces:
            said.extend(piece.text for piece in pieces)
        return Seen(completion=pieces.completion, said=said)
    except LLMError as error:
        return Seen(error=error, said=said)


def stream_response(app, options):
    """Read a view's answer over a real socket, as a browser would."""
    app.add_url_rule(
        "/ask", view_func=lambda: flask_llm.stream_response(PROMPT, **options)
    )
    with endings_of(app) as told, serve(app) as url:
        page = get(f"{url}/ask")
    page.said = [data["text"] for name, data in page.events if name == "delta"]
    (ending,) = told
    page.error, page.completion = ending.get("error"), ending["completion"]
    return page


def get(url):
    """Get a page, all of it."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    with closing(connection):
        connection.request("GET", address.path)
        response = connection.getresponse()
        return Page(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read(),
        )


WAYS = {
    "complete": complete,
    "stream": stream,
    "stream_response": stream_response,
}
