"""The whole story of a call: cache, row, slot, provider, price, row."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask_llm.chat import Completion, Prompt
from flask_llm.client.books import Books
from flask_llm.client.job import Job
from flask_llm.client.stream import Replay, Stream
from flask_llm.guards import AnswerCache, Pacing
from flask_llm.pricing import Prices
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import Providers
from flask_llm.transport import Transport
from flask_llm.usage import Ledger


class Client:
    """Calls providers for one app.

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
        pacing: Pacing,
        cache: AnswerCache,
        sender: object = None,
        log_content: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.providers = providers
        self._transport = transport
        self._pacing = pacing
        self._cache = cache
        self._clock = clock
        self._books = Books(
            ledger, prices, sender=sender, log_content=log_content, clock=clock
        )

    def complete(self, prompt: Prompt) -> Completion:
        """Ask and wait for the whole answer.

        :raises LLMError: how it ended otherwise.
        """
        job = self._job(prompt)
        if found := self._found(job):
            return self._books.kept(job, found)
        with self._books.open(job):
            self._start(job)
            with self._pacing.slot(job.provider, job.retry.deadline):
                job.sent = True
                reply = self._transport.send(job.call, job.provider, job.retry)
            completion = job.protocol.parse(reply.json)
        completion = self._books.finish(job, completion)
        if job.cache_key:
            self._cache.set(job.cache_key, completion, prompt.cache)
        return completion

    def stream(self, prompt: Prompt, *, heartbeat: float | None = None) -> Stream:
        """Ask, and return once the answer has begun.

        :param heartbeat: seconds of silence after which the stream says so.
        :raises LLMError: how it ended otherwise.
        """
        job = self._job(prompt, streamed=True)
        if found := self._found(job):
            return Replay(self._books.kept(job, found))
        with self._books.open(job):
            self._start(job)
            job.slot = self._pacing.acquire(job.provider, job.retry.deadline)
            job.sent = True
            events = self._transport.stream(job.call, job.provider, job.retry)
        return Stream(job, self._books, self._cache, events, heartbeat=heartbeat)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()

    def _job(self, prompt: Prompt, *, streamed: bool = False) -> Job:
        provider = self.providers[prompt.provider]
        protocol = PROTOCOLS[provider.protocol]
        job = Job(
            prompt=prompt,
            provider=provider,
            call=protocol.render(prompt, provider, stream=streamed),
            started=self._clock(),
            streamed=streamed,
        )
        if prompt.cache:
            whole = protocol.render(prompt, provider, stream=False)
            job.cache_key = self._cache.key(prompt, provider, whole)
        return job

    def _start(self, job: Job) -> None:
        """Begin the deadline: a slow database is not to use up the provider's time."""
        job.retry = self._transport.retry(job.prompt.retries, job.prompt.timeout)

    def _found(self, job: Job) -> Completion | None:
        return self._cache.get(job.cache_key) if job.cache_key else None
