"""The emulator: a blueprint, its script, and its record of what it was asked."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from .batches import BatchCourse, Batches, House, parse_course
from .chat_completions import CHAT_COMPLETIONS
from .counting import COUNT_TOKENS, INPUT_TOKENS, MESSAGE_TOKENS
from .dialect import Ask, Call, Dialect, Problem, RejectedError, mapping
from .door import Decide, Door
from .embeddings import EMBED_CONTENT, EMBEDDINGS
from .generate_content import GENERATE_CONTENT
from .messages import MESSAGES
from .models import acting
from .plan import Scene, refusal
from .responses import RESPONSES
from .script import Item, parse_item
from .steps import Plan
from .traffic import Arrival
from .weather import Weather

_Scripted = TypeVar("_Scripted")


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
    :param latency_seconds: the least and the most silence before an answer that nobody
        has scripted, evenly spread.
    :param fault_share: the share of requests that fail though nobody has scripted it,
        from 0 to 1: refused with 429, 500 or 503, or broken off.
    :param strict: refuse parameters that the provider itself does not know; ``False``
        to stand in for servers that are compatible and have some of their own.
    :param keep: how many requests stay on record.
    :param control: let requests to ``<prefix>/control`` script it and read the record.
    :param batch_polls: how many polls find a batch at work before it has ended.
    :param sleep: how to pause.
    :param clock: what time it is, for the dates in batches and files.
    :param chance: a number from 0 to 1, for latency and faults.
    """

    def __init__(
        self,
        *,
        name: str = "emulator",
        api_key: str | None = None,
        interval_seconds: float = 0.0,
        latency_seconds: tuple[float, float] = (0.0, 0.0),
        fault_share: float = 0.0,
        strict: bool = True,
        keep: int = 10_000,
        control: bool = True,
        batch_polls: int = 0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._weather = Weather(
            latency_seconds=latency_seconds, fault_share=fault_share, chance=chance
        )
        self._door = Door(api_key=api_key, strict=strict, keep=keep, sleep=sleep)
        self._traffic = self._door.traffic
        self._script: deque[tuple[str | None, Item]] = deque()
        self._courses: deque[tuple[str | None, BatchCourse]] = deque()
        self._lock = threading.Lock()
        house = House(
            check_key=self._door.check_key,
            answer=self._plan,
            course=self._course,
            clock=clock,
            polls=batch_polls,
        )
        self._batches = Batches(house, self._door)
        self.blueprint = Blueprint(name, __name__)
        """Register it with a ``url_prefix``."""
        self._add_routes()
        if control:
            self._add_control()

    def script(self, *items: Item | BatchCourse, model: str | None = None) -> None:
        """Queue what the next requests get, in order; refused ones use nothing up.

        The lines of a batch take their answers from here as single requests do, when
        the batch is made; how it goes is a queue of its own.

        :param items: :class:`Answer` and :class:`Fault` values, and
            :class:`BatchCourse` for batches.
        :param model: keep these items for requests that name this model.
        """
        with self._lock:
            for item in items:
                if isinstance(item, BatchCourse):
                    self._courses.append((model, item))
                else:
                    self._script.append((model, item))

    def reset(self) -> None:
        """Forget script, batches and the record, and start counting again."""
        with self._lock:
            self._script.clear()
            self._courses.clear()
        self._batches.reset()
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
            "responses/input_tokens": INPUT_TOKENS,
            "messages": MESSAGES,
            "messages/count_tokens": MESSAGE_TOKENS,
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
        self._batches.add_routes(self.blueprint)

    def _add_control(self) -> None:
        add = self.blueprint.add_url_rule
        add("/control", "show", self._show, methods=["GET"])
        add("/control", "control", self._control, methods=["POST"])

    def _named_in_body(self, dialect: Dialect) -> Response:
        body = mapping(request.get_json(silent=True, force=True))
        model, stream = str(body.get("model") or ""), body.get("stream") is True
        decide = partial(self._plan, dialect)
        return self._door.serve(decide, model=model, stream=stream)

    def _named_in_path(self, version: str, target: str) -> Response:
        model, _, verb = target.rpartition(":")
        stream = verb == "streamGenerateContent"
        dialect = (EMBED_CONTENT | COUNT_TOKENS).get(verb, GENERATE_CONTENT)
        decide: Decide = partial(self._plan, dialect)
        if verb == "batchGenerateContent":
            decide = self._batches.create_google
        return self._door.serve(
            decide, model=model, stream=stream, version=version, verb=verb
        )

    def _unknown(self, version: str, target: str) -> Response:
        """Answer 404 in the shape of whoever was probably meant."""
        message = f"Invalid URL ({request.method} /{version}/{target})"
        problem = Problem(status=404, message=message, code="")
        dialect = CHAT_COMPLETIONS if version == "v1" else GENERATE_CONTENT
        if "anthropic-version" in request.headers:
            dialect = MESSAGES
        return self._door.serve(
            lambda call: refusal(dialect, call.serial, problem), version=version
        )

    def _plan(self, dialect: Dialect, call: Call) -> Plan:
        try:
            ask = self._checked(dialect, call)
        except RejectedError as rejected:
            return refusal(dialect, call.serial, rejected.problem)
        scripted = self._next(ask.model) or acting(ask.model, call.serial)
        item = scripted or self._weather.fault()
        return Scene(dialect, ask, self._interval_seconds).plan(item)

    def _checked(self, dialect: Dialect, call: Call) -> Ask:
        self._door.check_key(dialect, call)
        if not call.readable:
            raise RejectedError(dialect.malformed)
        return dialect.read(call)

    def _next(self, model: str) -> Item | None:
        """Take from the script what the next request for this model gets."""
        with self._lock:
            return _take(self._script, model)

    def _course(self, model: str) -> BatchCourse | None:
        """Take from the script how the next batch for this model goes."""
        with self._lock:
            return _take(self._courses, model)

    def _show(self) -> ResponseReturnValue:
        with self._lock:
            scripted = len(self._script) + len(self._courses)
        times = [arrival.time for arrival in self.requests]
        return jsonify({**self._traffic.counts(), "scripted": scripted, "times": times})

    def _control(self) -> ResponseReturnValue:
        """Script this emulator from another process.

        Entries are read by :func:`parse_item`; ``{"batch": …}`` by
        :func:`parse_course`.
        """
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


def _entry(data: Mapping[str, Any]) -> tuple[str | None, Item | BatchCourse]:
    rest = dict(data)
    model = rest.pop("model", None)
    if set(rest) == {"batch"}:
        return model, parse_course(rest["batch"])
    return model, parse_item(rest)


def _take(queue: deque[tuple[str | None, _Scripted]], model: str) -> _Scripted | None:
    """Take the first item that is meant for this model, or for any."""
    for place, (wanted, item) in enumerate(queue):
        if wanted is None or wanted == model:
            del queue[place]
            return item
    return None
