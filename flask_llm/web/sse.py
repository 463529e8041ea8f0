"""A stream as server-sent events, ready to return from a view."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any, Unpack

from flask import Flask, Response, current_app

from flask_llm.api import open_stream
from flask_llm.client import Stream
from flask_llm.errors import LLMError
from flask_llm.options import Options, PromptLike
from flask_llm.state import current_state
from flask_llm.web.problem import problem_fields

KEEP_ALIVE = b": keep-alive\n\n"

HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
"""What keeps proxies from collecting the events before passing them on."""


def stream_response(prompt: PromptLike, **options: Unpack[Options]) -> Response:
    """Answer a request with a model's answer as it comes.

    Takes what :func:`flask_llm.complete` does. The events are ``delta`` (a chunk as
    JSON), at the end ``done`` (:meth:`Completion.to_dict`), and ``error`` (problem
    JSON) where the answer breaks off. While the model is silent, comments keep the
    line busy: they are how a browser that left is noticed.

    :raises LLMError: where the provider refuses, so that the status tells.
    """
    heartbeat = current_state().settings.heartbeat
    stream = open_stream(prompt, options, heartbeat=heartbeat)
    try:
        first = stream.piece()
    except StopIteration:
        first = None
    except BaseException:
        stream.close()
        raise
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    response = Response(_Body(app, stream, first), mimetype="text/event-stream")
    response.headers.update(HEADERS)
    return response


class _Body:
    """The bytes of the response; whoever stops reading closes it.

    No generator with a context around it: one that is abandoned would leave the
    context standing on its thread (https://github.com/pallets/flask/issues/6123).
    So there is none while this runs.
    """

    def __init__(self, app: Flask, stream: Stream, first: Any) -> None:
        self._app = app
        self._stream = stream
        self._events = self._run(first)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._events)

    def close(self) -> None:
        """Leave the stream; WSGI servers call this however the response ends."""
        self._events.close()
        self._stream.close()

    def _run(self, piece: Any) -> Generator[bytes, None, None]:
        try:
            while True:
                yield _event("delta", piece.to_dict()) if piece else KEEP_ALIVE
                piece = self._stream.piece()
        except StopIteration:
            yield _event("done", self._stream.completion.to_dict())
        except LLMError as error:
            yield _event("error", self._problem(error))

    def _problem(self, error: LLMError) -> dict[str, Any]:
        with self._app.app_context():
            return problem_fields(error)


def _event(name: str, data: dict[str, Any]) -> bytes:
    # In ASCII: half an emoji, which some models stream, has no UTF-8.
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
