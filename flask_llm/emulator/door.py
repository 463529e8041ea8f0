"""The way in and out: requests on record, keys, and responses played to a socket."""

from __future__ import annotations

import hmac
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Response, request

from .dialect import Call, Dialect, RejectedError, mapping
from .play import Sleep, play
from .steps import Plan
from .traffic import Arrival, Traffic, Visit

Decide = Callable[[Call], Plan]
"""What a request gets."""


class Door:
    """Let requests in one by one, and play what is decided for each.

    :param api_key: refuse every other key; any key will do if ``None``.
    :param strict: refuse parameters that the provider itself does not know.
    :param keep: how many requests stay on record.
    :param sleep: how to pause.
    """

    def __init__(
        self, *, api_key: str | None, strict: bool, keep: int, sleep: Sleep
    ) -> None:
        self._api_key = api_key
        self._strict = strict
        self._sleep = sleep
        self.traffic = Traffic(keep=keep)

    def serve(
        self,
        decide: Decide,
        *,
        model: str = "",
        stream: bool = False,
        version: str = "v1",
        verb: str = "",
    ) -> Response:
        """Let one request in, decide what it gets, and play that."""
        serial, visit = self.traffic.arrive()
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
                readable=isinstance(body, dict),
            )
            plan = decide(call)
        except BaseException:
            visit.leave()
            raise
        return self._response(plan, visit)

    def check_key(self, dialect: Dialect, call: Call) -> None:
        """Refuse a request that brought another key than the one there is.

        :raises RejectedError: with the provider's own error for it.
        """
        key = dialect.key(call)
        if self._api_key is not None and not hmac.compare_digest(
            key.encode(), self._api_key.encode()
        ):
            raise RejectedError(dialect.wrong_key)

    def _record(self, body: object, *, model: str, stream: bool) -> None:
        self.traffic.record(
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

    def _response(self, plan: Plan, visit: Visit) -> Response:
        connection = _connection(request.environ)
        body = play(plan, connection=connection, sleep=self._sleep, visit=visit)
        response = Response(body, plan.status, dict(plan.headers))
        if plan.content_length is not None:
            response.headers["Content-Length"] = str(plan.content_length)
        # A body that nobody began to read never reaches its own clean-up.
        response.call_on_close(partial(visit.leave, abandoned=True))
        return response


def _headers() -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _connection(environ: Mapping[str, Any]) -> socket.socket | None:
    """Find the client's socket where the server shows it: werkzeug and gunicorn do."""
    found = environ.get("werkzeug.socket") or environ.get("gunicorn.socket")
    return found if isinstance(found, socket.socket) else None
