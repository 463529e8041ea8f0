"""A streamed answer, from its first event to its settled row."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from types import TracebackType
from typing import NoReturn, Self

from flask_llm.chat import Chunk, Completion, Text
from flask_llm.client.books import Books
from flask_llm.client.gate import Gate
from flask_llm.client.job import Job
from flask_llm.errors import LLMError, ProviderError, ResponseError, StreamInterrupted
from flask_llm.retry import Deadline
from flask_llm.transport import EventStream
from flask_llm.wire import Event


class Left(BaseException):
    """The reader went away before the end; nobody catches it, it names the ending."""

    code = "stream_left"


class Stream:
    """An answer as it comes: iterate over its chunks, then look at ``completion``.

    Use it in a ``with`` statement, or call :meth:`close`. A stream that is left early
    hangs up on the provider and is settled with what had come; one that is neither
    read to its end nor closed is found by the sweep, minutes later.

    .. code-block:: python

        with flask_llm.stream("Tell me a story.") as story:
            for chunk in story:
                print(chunk.text, end="")
        print(story.completion.cost_usd)

    :raises StreamInterrupted: from the iteration, where the answer breaks off.
    """

    def __init__(
        self,
        job: Job,
        books: Books,
        gate: Gate,
        events: EventStream,
        *,
        heartbeat: float | None = None,
    ) -> None:
        self._job = job
        self._books = books
        self._gate = gate
        self._events = events
        self._incoming = events.events(heartbeat)
        self._heartbeat = heartbeat
        self._fold = job.protocol.fold()
        self._ready: deque[Chunk] = deque()
        self._completion: Completion | None = None
        self._over = False

    @property
    def completion(self) -> Completion:
        """The whole answer, or what had come of it where it was left early.

        :raises LLMError: while the stream is still running, or where it failed.
        """
        if self._completion is None:
            raise LLMError("The stream has no completion yet: read it to its end.")
        return self._completion

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        while not self._ready:
            piece = self.piece()
            if piece is not None:
                return piece
        return self._ready.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Dropped without being closed, as by a view that fails after it has made its
        # response. The row is left to the sweep: a finaliser may wait for no lock.
        if not getattr(self, "_over", True):
            self._gate.abandon(self._job)

    def piece(self) -> Chunk | None:
        """Return the next chunk, or None where the model was silent for a heartbeat.

        Events that hold nothing for the reader, such as pings, are silence too.

        :raises StopIteration: at the end.
        """
        silence: Deadline | None = None
        while not self._ready:
            if self._over:
                raise StopIteration
            silence = silence or self._job.deadline.within(self._heartbeat or math.inf)
            heard = self._take(self._receive())
            waited = self._heartbeat and not silence.remaining()
            if not self._ready and not self._over and (waited or not heard):
                return None
        return self._ready.popleft()

    def close(self) -> None:
        """Leave the stream; does nothing once it is over."""
        if not self._over:
            self._completion = self._stop(Left(), self._so_far())

    def _receive(self) -> Event | None:
        """Wait for the next event; None for a heartbeat and for the end."""
        try:
            return next(self._incoming)
        except StopIteration:
            self._end()
        except ProviderError as error:
            self._break(error, interrupted=True)
        except BaseException as error:
            self._stop(error, self._so_far())
            raise
        return None

    def _take(self, event: Event | None) -> bool:
        """Take an event and tell whether there was one."""
        if event is None:
            return False
        try:
            self._ready.extend(self._fold.feed(event))
        except ProviderError as error:
            began = self._job.first_token_ms is not None
            del event  # it may quote the key, and tracebacks show what is here
            self._break(error.with_traceback(None), interrupted=began)
        if self._ready and self._job.first_token_ms is None:
            self._job.first_token_ms = self._books.elapsed_ms(self._job)
        if self._fold.finished:
            self._events.linger()
        return True

    def _end(self) -> None:
        if not self._fold.finished:
            cause = ResponseError("The stream ended before its end marker.")
            self._break(cause, interrupted=True)
        self._over = True
        self._events.close()
        try:
            completion = self._job.protocol.parse(self._fold.raw)
        except ProviderError as error:
            self._books.fail(self._job, error)
            raise
        self._completion = self._books.finish(self._job, completion)

    def _break(self, cause: ProviderError, *, interrupted: bool) -> NoReturn:
        """Settle a stream that broke, and raise why.

        :param interrupted: whether what came of an answer, if anything, is cut off.
        """
        self._events.strike(cause)
        partial = self._so_far()
        begun = self._job.first_token_ms is not None or _says_anything(partial)
        if not begun or not interrupted:
            self._stop(cause, partial if begun else None)
            raise cause
        error = StreamInterrupted(
            f"The answer broke off: {cause.message}",
            cause,
            code=cause.code,
            status=cause.status,
            type=cause.type,
            provider_message=cause.provider_message,
            retry_after=cause.retry_after,
        )
        error.completion = self._stop(error, partial)
        raise error from cause

    def _so_far(self) -> Completion:
        """Return as much of the answer as has come."""
        try:
            partial = self._job.protocol.parse(self._fold.raw)
        except ProviderError:
            partial = Completion(finish_reason="other")
        if not self._fold.finished:
            partial = replace(partial, finish_reason="other")
        return partial

    def _stop(
        self, error: BaseException, partial: Completion | None
    ) -> Completion | None:
        """Hang up and settle."""
        self._over = True
        self._events.close()
        return self._books.fail(self._job, error, partial)


def _says_anything(answer: Completion) -> bool:
    """Tell whether there is anything of an answer in what came of it."""
    said = answer.content or answer.reasoning or answer.refusal
    named = answer.response_id or answer.served_model
    return bool(said or named or answer.usage.source == "provider")


class Replay(Stream):
    """An answer from the cache, played as a stream."""

    def __init__(self, completion: Completion) -> None:
        thought = completion.reasoning
        self._ready = deque([Chunk(reasoning=thought)] if thought else [])
        for part in completion.content:
            if isinstance(part, Text):
                self._ready.append(Chunk(part.text))
        self._completion = completion
        self._over = True
