"""The whole story of a call: guards, row, slot, provider, price, row."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from flask_llm.chat import Completion, Embeddings, Inputs, Prompt
from flask_llm.client.books import Books
from flask_llm.client.embed import batches, charge, joined
from flask_llm.client.estimate import Estimator
from flask_llm.client.files import fetch, rendered
from flask_llm.client.fitting import mended
from flask_llm.client.gate import Gate
from flask_llm.client.job import Job, Whole
from flask_llm.client.stream import Replay, Stream
from flask_llm.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequestError,
    LLMError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
    ReadTimeout,
    SchemaError,
    ServerError,
)
from flask_llm.guards import Budgets, Taken
from flask_llm.pricing import Prices
from flask_llm.protocols import embedding_format
from flask_llm.providers import Providers
from flask_llm.retry import Deadline
from flask_llm.transport import EventStream, Fetcher, Transport
from flask_llm.usage import Ledger

GO_ON = (
    OverloadedError,
    RateLimitError,
    QuotaExhaustedError,
    ServerError,
    ReadTimeout,
    ConnectionFailed,
    DeadlineExceeded,
)
"""Errors that another model may not have."""

Answer = TypeVar("Answer", Completion, Stream)


class Client:
    """Calls providers for one app.

    :param fetcher: fetches files for providers that do not.
    :param sender: what signals come from: the app.
    :param log_content: show providers' own words in tracebacks.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        providers: Providers,
        transport: Transport,
        ledger: Ledger,
        prices: Prices,
        budgets: Budgets,
        gate: Gate,
        fetcher: Fetcher,
        sender: object = None,
        log_content: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.providers = providers
        self.fetcher = fetcher
        self._transport = transport
        self._gate = gate
        self._clock = clock
        self.estimator = Estimator(providers, transport, gate, prices, clock=clock)
        self._books = Books(
            ledger,
            prices,
            budgets,
            gate,
            sender=sender,
            log_content=log_content,
            clock=clock,
        )

    def complete(
        self,
        prompt: Prompt,
        *,
        whole: Deadline | None = None,
        first_id: str | None = None,
        files: dict[str, bytes] | None = None,
    ) -> Completion:
        """Ask and wait for the whole answer.

        :param whole: the deadline that this call shares with others.
        :param first_id: the request id that it shares with them.
        :param files: what has been fetched for them, by URL; added to.
        :raises LLMError: how it ended otherwise.
        """
        return self._first_of(
            prompt,
            self._answer,
            streamed=False,
            whole=whole,
            first_id=first_id,
            files=files,
        )

    def stream(self, prompt: Prompt, *, heartbeat: float | None = None) -> Stream:
        """Ask, and return once the answer has begun.

        :param heartbeat: seconds of silence after which the stream says so.
        :raises LLMError: how it ended otherwise.
        """

        def begin(job: Job) -> Stream:
            return self._stream(job, heartbeat)

        return self._first_of(prompt, begin, streamed=True)

    def embed(self, inputs: Inputs) -> Embeddings:
        """Turn texts into vectors, with as many requests as that takes.

        Each has its own row, and all share one request id and one deadline.

        :raises LLMError: how it ended otherwise; what was paid for until then is on it.
        """
        provider = self.providers[inputs.provider]
        form = embedding_format(provider)
        whole = Deadline(inputs.timeout, clock=self._clock)
        done: list[Embeddings] = []
        for batch in batches(inputs, form.caps(provider)):
            call = form.render(batch, provider)
            job = Job(
                prompt=batch,
                provider=provider,
                call=call,
                started=self._clock(),
                whole=whole,
                retry=self._transport.retry(inputs.retries, whole),
                cached_call=call if inputs.cache else None,
                first_id=done[0].request_id if done else None,
            )
            parse = partial(form.parse, texts=len(batch.texts))
            try:
                done.append(self._ask(job, parse, Embeddings))
            except LLMError as error:
                charge(error, done)
                raise
        return joined(done)

    def deadline(self, prompt: Prompt) -> Deadline:
        """Begin the time that a call has."""
        return Deadline(prompt.timeout, clock=self._clock)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()

    def _answer(self, job: Job) -> Completion:
        """Ask one model, and let it mend an answer that does not fit the schema."""
        prompt = cast("Prompt", job.prompt)  # texts to embed have no schema
        misfits: list[Completion] = []
        while True:
            try:
                return self._complete(job).after(misfits)
            except SchemaError as error:
                whole = error.completion.after(misfits)
                misfits.append(error.completion)
                tries = prompt.schema_retries
                if len(misfits) > tries or job.deadline.remaining() <= 0:
                    error.usage, error.cost_usd = whole.usage, whole.cost_usd
                    raise
                prompt = mended(prompt, error)
                again = self._job(prompt, job.deadline, streamed=False, is_last=True)
                again.first_id, again.files = job.request_id, job.files
                job = again

    def _complete(self, job: Job) -> Completion:
        return self._ask(job, job.protocol.parse, Completion)

    def _ask(
        self, job: Job, parse: Callable[[Mapping[str, Any]], Whole], kind: type[Whole]
    ) -> Whole:
        with self._books.watch(job):
            self._gate.check(job)
            fetch(job, self.fetcher)
            if found := self._gate.find(job, kind):
                return self._books.kept(job, found)
            self._books.open(job)
            self._gate.wait(job)
            # No name for what came: it may quote the key, and tracebacks show names.
            answer = parse(self._transport.send(job.call, job.provider, job.retry).json)
        return self._books.finish(job, answer)

    def _stream(self, job: Job, heartbeat: float | None) -> Stream:
        with self._books.watch(job):
            self._gate.check(job)
            fetch(job, self.fetcher)
            if found := self._gate.find(job, Completion):
                return Replay(self._books.kept(job, found))
            self._books.open(job)
            self._gate.wait(job)
            events = self._open(job)
        job.begin_answer()
        return Stream(job, self._books, self._gate, events, heartbeat=heartbeat)

    def _open(self, job: Job) -> EventStream:
        """Begin a stream; once more where the server does not know its options."""
        prompt = cast("Prompt", job.prompt)
        try:
            return self._transport.stream(job.call, job.provider, job.retry)
        except InvalidRequestError as error:
            if not self.providers.learns(prompt, job.call, error):
                raise
        job.provider = self.providers.serving(prompt)
        job.call = job.protocol.render(prompt, job.provider, stream=True)
        job.retry.amend()
        return self._transport.stream(job.call, job.provider, job.retry)

    def _first_of(
        self,
        prompt: Prompt,
        ask: Callable[[Job], Answer],
        *,
        streamed: bool,
        whole: Deadline | None = None,
        first_id: str | None = None,
        files: dict[str, bytes] | None = None,
    ) -> Answer:
        """Ask the model and, where it cannot answer, those that stand in for it.

        Each has its own row, and all share one request id and one deadline.
        """
        whole = whole or self.deadline(prompt)
        stand_ins = list(prompt.fallbacks)
        failed: list[str] = []
        taken: list[Taken] = []
        files = {} if files is None else files
        while True:
            job = self._job(prompt, whole, streamed=streamed, is_last=not stand_ins)
            job.first_id, job.taken, job.files = first_id, taken, files
            try:
                return ask(job)
            except GO_ON as error:
                if not stand_ins or whole.remaining() <= 0:
                    _tell_of(failed, error)
                    raise
                failed.append(f"{prompt.full_model}: {error.message}")
                first_id = job.request_id
                prompt = self.instead(prompt, stand_ins.pop(0))

    def _job(
        self, prompt: Prompt, whole: Deadline, *, streamed: bool, is_last: bool
    ) -> Job:
        provider = self.providers.serving(prompt)
        call, cached_call = rendered(prompt, provider, streamed=streamed)
        deadline = whole
        if not is_last:
            # What stands in needs time, too, where this one does not answer at all.
            seconds = min(whole.remaining() / 2, provider.timeout or math.inf)
            deadline = whole.within(seconds)
        return Job(
            prompt=prompt,
            provider=provider,
            call=call,
            started=self._clock(),
            whole=whole,
            retry=self._transport.retry(prompt.retries, deadline),
            streamed=streamed,
            is_last=is_last,
            cached_call=cached_call,
        )

    def instead(self, prompt: Prompt, model: str) -> Prompt:
        """Return the same question to another model.

        ``extra`` is in one wire format's words, and stays behind where the other
        model's is a different one.
        """
        provider, name = self.providers.resolve(model)
        other = replace(prompt, provider=provider.name, model=name)
        protocols = {
            self.providers.serving(asked).protocol for asked in (prompt, other)
        }
        return other if len(protocols) == 1 else replace(other, extra={})


def _tell_of(failed: list[str], error: LLMError) -> None:
    for line in failed:
        error.add_note(f"Tried before: {line}")
