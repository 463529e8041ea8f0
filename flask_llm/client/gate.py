"""What a call passes on its way in, and gives back on its way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask_llm import tokens
from flask_llm.chat import Completion, Embeddings, Question
from flask_llm.client.fitting import fitted
from flask_llm.client.job import Job, Whole
from flask_llm.errors import ProviderError
from flask_llm.guards import AnswerCache, Breaker, Lead, Pacing, Quotas, Taken
from flask_llm.providers import Provider
from flask_llm.retry import Deadline


class Gate:
    """The guards of one app, in the order in which a call meets them.

    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        quotas: Quotas,
        breaker: Breaker,
        cache: AnswerCache,
        pacing: Pacing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._quotas = quotas
        self._breaker = breaker
        self._cache = cache
        self._pacing = pacing

    def check(self, job: Job) -> None:
        """Count the call.

        A fallback is no further call, nor are more texts of one call: only what is
        counted by model or provider counts them.

        :raises QuotaExceeded: where a quota is used up.
        """
        scopes = ("provider", "model") if job.is_further else None
        job.taken.append(self._quotas.check(job.prompt, scopes))

    def find(self, job: Job, kind: type[Whole]) -> Whole | None:
        """Return the answer that is kept or that another call is about to bring.

        One that no longer fits, since the class behind the schema is another, is none.

        :param kind: what the answer is.
        :raises DeadlineExceeded: where that other call takes too long.
        """
        if not job.cached_call:
            return None
        key = self._cache.key(job.prompt, job.provider, job.cached_call)
        found = self._cache.find(key, job.deadline)
        if isinstance(found, Lead):
            job.lead = found
            return None
        try:
            return fitted(job.prompt, found) if isinstance(found, kind) else None
        except ProviderError:
            return None

    def wait(self, job: Job, *, tokens_expected: int | None = None) -> None:
        """Wait for one of the provider's slots, unless it keeps failing.

        The breaker is asked last, since it may let just this call through as a trial.

        :param tokens_expected: what it takes of ``tokens_per_minute``; by default the
            prompt's, estimated, and as many as the answer may have.
        :raises OverloadedError: where the provider is left alone.
        :raises DeadlineExceeded: where no slot comes free in time.
        """
        self._breaker.check(job.provider)
        if tokens_expected is None:
            cap = tokens.output_ceiling(job.call.body) or 0
            tokens_expected = tokens.input_estimate(job.prompt) + cap
        began = self._clock()
        try:
            job.slot = self._pacing.acquire(
                job.provider, job.deadline, tokens=tokens_expected
            )
        finally:
            job.queued_ms = round((self._clock() - began) * 1000)

    def count(self, question: Question) -> Taken:
        """Count a batch, as one call.

        :raises QuotaExceeded: where a quota is used up.
        """
        return self._quotas.check(question, None)

    @contextmanager
    def slot(self, provider: Provider, deadline: Deadline) -> Iterator[None]:
        """Hold one of the provider's slots for a request that brings no answer.

        :raises OverloadedError: where the provider is left alone.
        :raises DeadlineExceeded: where no slot comes free in time.
        """
        self._breaker.check(provider)
        with self._pacing.slot(provider, deadline):
            try:
                yield
            except BaseException as error:
                self._breaker.note(provider, error)
                raise
            self._breaker.note(provider, None)

    def leave(
        self,
        job: Job,
        *,
        completion: Completion | Embeddings | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Give back what the call holds; the second time does nothing."""
        slot, job.slot = job.slot, None
        if slot:
            used = completion.usage.total_tokens if completion else None
            slot.release(used)
        if job.sent:
            self._breaker.note(job.provider, error)
            job.taken.clear()
        elif error is not None and job.is_last:
            while job.taken:
                job.taken.pop().refund()
        if error is not None:
            self.keep(job, None)

    def keep(self, job: Job, completion: Completion | Embeddings | None) -> None:
        """Keep an answer where that was asked for, and tell those who wait for it."""
        lead, job.lead = job.lead, None
        if lead:
            lead.finish(completion, job.prompt.cache)

    def abandon(self, job: Job) -> None:
        """Give back from a finaliser, which must not wait for any lock."""
        if job.slot:
            job.slot.abandon()
        if job.lead:
            job.lead.abandon()
