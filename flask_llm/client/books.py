"""How a call is written down: opened, priced, settled, and told to listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from blinker import NamedSignal

from flask_llm import signals, tokens
from flask_llm.chat import Completion
from flask_llm.client.job import Job
from flask_llm.errors import LimitError, LLMError
from flask_llm.pricing import Cost, Prices
from flask_llm.usage import Ledger, Outcome

logger = logging.getLogger("flask_llm")


class Books:
    """Keeps one app's books.

    :param sender: what signals come from: the app.
    :param log_content: show providers' own words in tracebacks.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        prices: Prices,
        *,
        sender: object,
        log_content: bool,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._prices = prices
        self._sender = sender
        self._log_content = log_content
        self._clock = clock
        self._unpriced: set[str] = set()

    @contextmanager
    def open(self, job: Job) -> Iterator[None]:
        """Write the row of a call, and settle it where the call fails."""
        job.entry = self._ledger.open(job.prompt, streamed=job.streamed)
        self._tell(signals.completion_started, job)
        try:
            yield
        except BaseException as error:
            self.fail(job, error)
            raise

    def finish(self, job: Job, completion: Completion) -> Completion:
        """Price an answer and settle its row."""
        completion, cost = self._completed(job, completion, partial=False)
        self._settle(job, Outcome(status="ok", **_spent(completion, cost)))
        self._tell_end(job, "ok", completion=completion)
        return completion

    def fail(
        self, job: Job, error: BaseException, partial: Completion | None = None
    ) -> Completion | None:
        """Settle a call that ended badly, with what it used all the same.

        :param partial: as much of the answer as has come.
        """
        spent: dict[str, Any] = {}
        if partial is not None:
            partial, cost = self._completed(job, partial, partial=True)
            spent = _spent(partial, cost)
        if isinstance(error, LLMError):
            self._fill_in(job, error, partial)
        status = _status(error)
        self._settle(job, Outcome(status=status, **spent, **_complaint(error)), error)
        self._tell_end(job, status, completion=partial, error=error)
        return partial

    def kept(self, job: Job, found: Completion) -> Completion:
        """Write down an answer that came from the cache: free, and what it saved."""
        outcome = Outcome(
            status="cached",
            cost_nanos=0,
            saved_nanos=_known(found.cost_usd).nanos,
            cost_source="cache",
            served_model=found.served_model,
            duration_ms=self.elapsed_ms(job),
            finish_reason=found.finish_reason,
        )
        job.entry = self._ledger.record(job.prompt, outcome, streamed=job.streamed)
        completion = replace(
            self._identified(job, found), cost_usd=Decimal(0), cost_source="cache"
        )
        self._tell_end(job, "cached", completion=completion)
        return completion

    def elapsed_ms(self, job: Job) -> int:
        """Return the milliseconds since the call began."""
        return round((self._clock() - job.started) * 1000)

    def _completed(
        self, job: Job, completion: Completion, *, partial: bool
    ) -> tuple[Completion, Cost]:
        """Add to an answer what only we know."""
        usage = tokens.usage_of(job.prompt, completion, partial=partial)
        completion = replace(self._identified(job, completion), usage=usage)
        cost = self._cost(job, completion)
        return replace(completion, cost_usd=cost.usd, cost_source=cost.source), cost

    def _identified(self, job: Job, completion: Completion) -> Completion:
        return replace(
            completion,
            provider=job.provider.name,
            model=job.prompt.full_model,
            request_id=job.request_id,
            attempts=job.attempts,
            latency_ms=self.elapsed_ms(job),
        )

    def _cost(self, job: Job, completion: Completion) -> Cost:
        """Price an answer: the provider's own figure, our prices, then the table.

        An alias or a router's name often has no price where the model that served has.
        """
        if completion.cost_source == "provider":
            return _known(completion.cost_usd, "provider")
        tier, usage = completion.service_tier, completion.usage
        cost = self._prices.cost(job.prompt.full_model, usage, service_tier=tier)
        if cost.usd is None and completion.served_model:
            served = f"{job.provider.name}/{completion.served_model}"
            cost = self._prices.cost(served, usage, service_tier=tier)
        if cost.usd is None:
            self._warn_unpriced(job)
        return cost

    def _warn_unpriced(self, job: Job) -> None:
        model = job.prompt.full_model
        if model not in self._unpriced:
            self._unpriced.add(model)
            logger.warning(
                "The price of %s is not known: its calls count as unpriced until "
                "LLM_PRICES says what they cost.",
                model,
            )
        self._tell(signals.price_unknown, job)

    def _fill_in(
        self, job: Job, error: LLMError, completion: Completion | None
    ) -> None:
        error.provider = job.provider.name
        error.model = job.prompt.full_model
        error.request_id = job.request_id
        error.attempts = job.attempts
        if completion is not None:
            error.usage, error.cost_usd = completion.usage, completion.cost_usd
        error.add_note(f"{error.model}, request_id {job.request_id}")
        words = getattr(error, "provider_message", None)
        if self._log_content and words:
            error.add_note(f"The provider's words: {words}")

    def _settle(
        self, job: Job, outcome: Outcome, error: BaseException | None = None
    ) -> None:
        if job.slot:
            job.slot.release()
        if job.sent:
            self._tell(signals.provider_called, job, error=error)
        assert job.entry is not None  # noqa: S101 - open() has written it
        self._ledger.settle(
            job.entry,
            replace(
                outcome,
                duration_ms=self.elapsed_ms(job),
                first_token_ms=job.first_token_ms,
                attempts=job.attempts,
            ),
        )

    def _tell_end(self, job: Job, status: str, **facts: Any) -> None:
        self._tell(signals.completion_finished, job, status=status, **facts)

    def _tell(self, signal: NamedSignal, job: Job, **facts: Any) -> None:
        signals.send(
            signal,
            self._sender,
            prompt=job.prompt,
            request_id=job.request_id,
            attempts=job.attempts,
            **facts,
        )


def _known(usd: Decimal | None, source: str = "none") -> Cost:
    return Cost(usd=usd, source=source, basis="", prices_version="")


def _spent(completion: Completion, cost: Cost) -> dict[str, Any]:
    return {
        "usage": completion.usage,
        "cost_nanos": cost.nanos,
        "cost_source": cost.source,
        "served_model": completion.served_model,
        "service_tier": completion.service_tier,
        "finish_reason": completion.finish_reason,
    }


def _complaint(error: BaseException) -> dict[str, Any]:
    code = getattr(error, "code", None)
    status = getattr(error, "status", None)
    return {
        # Exceptions of others have codes of their own: SystemExit's is a number.
        "error_code": code if code and isinstance(code, str) else type(error).__name__,
        "error_status": status if isinstance(status, int) else None,
        "provider_request_id": getattr(error, "provider_request_id", None),
    }


def _status(error: BaseException) -> str:
    if isinstance(error, LimitError):
        return "refused"
    return "failed" if isinstance(error, Exception) else "cancelled"
