"""The emulator: a blueprint, its script, and its record of what it was asked."""

from __future__ import annotations

import hmac
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from .chat_completions import CHAT_COMPLETIONS
from .dialect import Ask, Call, Dialect, Problem, RejectedError, mapping
from .embeddings import EMBED_CONTENT, EMBEDDINGS
from .generate_content import GENERATE_CONTENT
from .messages import MESSAGES
from .models import acting
from .plan import Scene, refusal
from .play import play
from .responses import RESPONSES
from .script import Item, parse_item
from .steps import Plan
from .traffic import Arrival, Traffic, Visit


class Emulator:
    """Speak the wire formats of OpenAI, Anthropic and Google over real HTTP.

    ::

        emulator = Emulator()
        app.register_blueprint(emulator.blueprint, url_prefix="/emulator")

    With that prefix OpenAI's base URL is ``http://host/emulator/v1``, Anthropic's and
    Google's ``http://host/emulator``. Unscripted requests get a default answer, and
    the model names in :mod:`flask_llm.emulator.models` act by themselves. For tests,
    demonstrations and load tests, where anyone who reaches it may use it.

    :param name: the blueprint's name, to register several emulators on one app.
    :param api_key: refuse every other key; any key will do if left out.
    :param interval_seconds: pause between the pieces of a stream.
    :param strict: refuse parameters that the provider itself does not know; ``False``
        to stand in for servers that are compatible and have some of their own.
    :param keep: how many requests stay on record.
    :param control: let requests to ``<prefix>/control`` script it and read the record.
    :param sleep: how to pause.
    """

    def __init__(
        self,
        *,
        name: str = "emulator",
        api_key: str | None = None,
        interval_seconds: float = 0.0,
        strict: bool = True,
        keep: int = 10_000,
        control: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api_key = api_key
        self._interval_seconds = interval_seconds
        self._strict = strict
        self._sleep = sleep
        self._traffic = Traffic(keep=keep)
        self._script: deque[tuple[str | None, Item]] = deque()
        self._lock = threading.Lock()
        self.blueprint = Blueprint(name, __name__)
        """Register it with a ``url_prefix``."""
        self._add_routes()
        if control:
            self._add_control()

    def script(self, *items: Item, model: str | None = None) -> None:
        """Queue what the next requests get, in order; refused ones use nothing up.

        :param items: :class:`Answer` and :class:`Fault` values.
        :param model: keep these items for requests that name this model.
        """
        with self._lock:
            self._script.extend((model, item) for item in items)

    def reset(self) -> None:
        """Forget the script and the record, and start counting again."""
        with self._lock:
            self._script.clear()
        self._traffic.reset()

    @property
    def requests(self) -> list[Arrival]:
        """A copy of the latest requests on record, oldest first, refused ones too."""
        return self._traffic.arrivals

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and not been answered to the last byte."""
        return self._traffic.counts()["in_flight"]

    @property
    def max_in_flight(self) -> int:
        """The most there ever were at a time."""
        return self._traffic.counts()["max_in_flight"]

    @property
    def abandoned(self) -> int:
        """Requests whose client left before it had the whole answer."""
        return self._traffic.counts()["abandoned"]

    def _add_routes(self) -> None:
        formats = {
            "chat/completions": CHAT_COMPLETIONS,
            "embeddings": EMBEDDINGS,
            "responses": RESPONSES,
            "messages": MESSAGES,
        }
        add = self.blueprint.add_url_rule
        for path, dialect in formats.items():
            view = partial(self._named_in_body, dialect)
            endpoint = path.replace("/", "_")
            add(f"/v1/{path}", endpoint, view, methods=["POST"])
        for version in ("v1", "v1beta"):
            view = partial(self._named_in_path, version)
            rule = f"/{version}/models/<path:target>"
            add(rule, f"models_{version}", view, methods=["POST"])
            methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
            unknown = partial(self._unknown, version)
            rest = f"/{version}/<path:target>"
            add(rest, f"unknown_{version}", unknown, methods=methods)

    def _add_control(self) -> None:
        add = self.blueprint.add_url_rule
        add("/control", "show", self._show, methods=["GET"])
        add("/control", "control", self._control, methods=["POST"])

    def _named_in_body(self, dialect: Dialect) -> Response:
        body = mapping(request.get_json(silent=True, force=True))
        model, stream = str(body.get("model") or ""), body.get("stream") is True
        return self._serve(dialect, model=model, stream=stream)

    def _named_in_path(self, version: str, target: str) -> Response:
        model, _, verb = target.rpartition(":")
        stream = verb == "streamGenerateContent"
        dialect = EMBED_CONTENT.get(verb, GENERATE_CONTENT)
        return self._serve(
            dialect, model=model, stream=stream, version=version, verb=verb
        )

    def _unknown(self, version: str, target: str) -> Response:
        """Answer 404 in the shape of whoever was probably meant."""
        serial, visit = self._traffic.arrive()
        try:
            self._record(request.get_json(silent=True, force=True))
        finally:
            visit.leave()
        message = f"Invalid URL ({request.method} /{version}/{target})"
        problem = Problem(status=404, message=message, code="")
        dialect = CHAT_COMPLETIONS if version == "v1" else GENERATE_CONTENT
        if "anthropic-version" in request.headers:
            dialect = MESSAGES
        plan = refusal(dialect, serial, problem)
        return Response(plan.body, plan.status, dict(plan.headers))

    def _serve(
        self,
        dialect: Dialect,
        *,
        model: str,
        stream: bool,
        version: str = "v1",
        verb: str = "",
    ) -> Response:
        """Let one request in, decide what it gets, and play that."""
        serial, visit = self._traffic.arrive()
        try:
            body = request.get_json(silent=True, force=True)
            self._record(body, model=model, stream=stream)
            call = Call(
                model=model,
                stream=stream,
                version=version,
                verb=verb,
                headers=_headers(),
                query=request.args.to_dict(),
                body=mapping(body),
                serial=serial,
                strict=self._strict,
            )
            plan = self._plan(dialect, call, readable=isinstance(body, dict))
        except BaseException:
            visit.leave()
            raise
        return self._response(plan, visit)

    def _record(self, body: object, *, model: str = "", stream: bool = False) -> None:
        self._traffic.record(
            Arrival(
                time=time.monotonic(),
                method=request.method,
                path=request.path,
                query=request.query_string.decode(),
                headers=_headers(),
                body=body,
                model=model,
                stream=stream,
            )
        )

    def _plan(self, dialect: Dialect, call: Call, *, readable: bool) -> Plan:
        try:
            ask = self._checked(dialect, call, readable=readable)
        except RejectedError as rejected:
            return refusal(dialect, call.serial, rejected.problem)
        item = self._next(ask.model) or acting(ask.model, call.serial)
        return Scene(dialect, ask, self._interval_seconds).plan(item)

    def _checked(self, dialect: Dialect, call: Call, *, readable: bool) -> Ask:
        key = dialect.key(call)
        if self._api_key is not None and not hmac.compare_digest(
            key.encode(), self._api_key.encode()
        ):
            raise RejectedError(dialect.wrong_key)
        if not readable:
            raise RejectedError(dialect.malformed)
        return dialect.read(call)

    def _next(self, model: str) -> Item | None:
        """Take from the script the first item that is meant for this model."""
        with self._lock:
            for place, (wanted, item) in enumerate(self._script):
                if wanted is None or wanted == model:
                    del self._script[place]
                    return item
        return None

    def _response(self, plan: Plan, visit: Visit) -> Response:
        connection = _connection(request.environ)
        body = play(plan, connection=connection, sleep=self._sleep, visit=visit)
        response = Response(body, plan.status, dict(plan.headers))
        if plan.content_length is not None:
            response.headers["Content-Length"] = str(plan.content_length)
        # A body that nobody began to read never reaches its own clean-up.
        response.call_on_close(partial(visit.leave, abandoned=True))
        return response

    def _show(self) -> ResponseReturnValue:
        with self._lock:
            scripted = len(self._script)
        times = [arrival.time for arrival in self.requests]
        return jsonify({**self._traffic.counts(), "scripted": scripted, "times": times})

    def _control(self) -> ResponseReturnValue:
        """Script this emulator from another process; see :func:`parse_item`."""
        try:
            order = mapping(request.get_json(silent=True, force=True))
            entries = [_entry(data) for data in order.get("script", [])]
        except (TypeError, ValueError) as error:
            return jsonify({"error": str(error)}), 400
        if order.get("reset"):
            self.reset()
        for model, item in entries:
            self.script(item, model=model)
        return self._show()


def _entry(data: Mapping[str, Any]) -> tuple[str | None, Item]:
    rest = dict(data)
    model = rest.pop("model", None)
    return model, parse_item(rest)


def _headers() -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _connection(environ: Mapping[str, Any]) -> socket.socket | None:
    """Find the client's socket where the server shows it: werkzeug and gunicorn do."""
    found = environ.get("werkzeug.socket") or environ.get("gunicorn.socket")
    return found if isinstance(found, socket.socket) else None
