"""How a call is written down: opened, priced, settled, and told to listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from blinker import NamedSignal

from flask_llm import signals, tokens
from flask_llm.chat import Completion, Embeddings
from flask_llm.client.costs import cost_of, known
from flask_llm.client.fitting import fitted
from flask_llm.client.gate import Gate
from flask_llm.client.job import Job, Whole
from flask_llm.client.outcomes import (
    complaint,
    finish_reason,
    may_be_billed,
    spent,
    status,
)
from flask_llm.errors import BudgetExceeded, ConfigError, LLMError, ProviderError
from flask_llm.guards import Budgets, BudgetState
from flask_llm.guards.budgets import passed_warning, refusal
from flask_llm.pricing import Cost, Prices
from flask_llm.usage import Entry, Ledger, NoRoom, Outcome, Reservation
from flask_llm.usage.engines import PATIENCE_SECONDS
from flask_llm.usage.rows import NOTHING

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
        budgets: Budgets,
        gate: Gate,
        *,
        sender: object,
        log_content: bool,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._prices = prices
        self._budgets = budgets
        self._gate = gate
        self._sender = sender
        self._log_content = log_content
        self._clock = clock
        self._unpriced: set[str] = set()

    @contextmanager
    def watch(self, job: Job) -> Iterator[None]:
        """Write a call down that fails, whether its row is open or not.

        Wrong set-up is no call: without tables there is nothing to write to.
        """
        try:
            yield
        except BaseException as error:
            written = job.entry is not None and job.entry.is_written
            if isinstance(error, ConfigError) and not written:
                self._gate.leave(job, error=error)
            else:
                self.fail(job, error)
            raise

    def open(self, job: Job) -> None:
        """Write the row of a call, and reserve what it may cost.

        :raises BudgetExceeded: where a budget has no room for it.
        :raises UnknownPriceError: where a budget applies and the price is not known.
        """
        began = self._clock()
        reservation = self._budgets.reservation(job.prompt, job.call)
        job.entry = self._entry(job, reservation)
        try:
            self._ledger.open(job.entry)
        except NoRoom as full:
            raise refusal(reservation.nanos, full.hold, full.standing) from None
        # A slow database is not to use up the provider's time.
        job.extend(min(self._clock() - began, PATIENCE_SECONDS))
        self._tell(signals.completion_started, job)

    def finish(self, job: Job, completion: Whole) -> Whole:
        """Price an answer, settle its row and let the next call in.

        :raises ProviderError: where it does not fit the schema that was asked for; the
            row is settled with what it cost.
        """
        try:
            completion = fitted(job.prompt, completion)
        except ProviderError as error:
            self.fail(job, error, whole=True)
            raise
        completion, cost = self._completed(job, completion, partial=False)
        self._gate.leave(job, completion=completion)
        used = spent(completion, cost) | {"duration_ms": completion.latency_ms}
        self._settle(job, Outcome(status="ok", may_be_billed=True, **used))
        self._gate.keep(job, completion)
        self._tell_end(job, "ok", completion=completion)
        return completion

    def fail(
        self,
        job: Job,
        error: BaseException,
        partial: Completion | None = None,
        *,
        whole: bool = False,
    ) -> Completion | None:
        """Settle a call that ended badly, with what it used all the same.

        :param partial: as much of the answer as has come.
        :param whole: that is all of it.
        """
        used: dict[str, Any] = {"may_be_billed": job.sent and may_be_billed(error)}
        if partial is None and isinstance(error, ProviderError):
            partial = error.completion
        if partial is not None:
            partial, cost = self._completed(job, partial, partial=not whole)
            used |= spent(partial, cost) | {"duration_ms": partial.latency_ms}
        self._gate.leave(job, completion=partial, error=error)
        how = status(job, error)
        self._settle(job, Outcome(status=how, **used, **complaint(error)), error)
        if isinstance(error, LLMError):
            self._fill_in(job, error, partial)
        if isinstance(error, BudgetExceeded):
            self._tell(signals.budget_exceeded, job, error=error)
        self._tell_end(job, how, completion=partial, error=error)
        return partial

    def kept(self, job: Job, found: Whole) -> Whole:
        """Write down an answer that came from the cache: free, and what it saved."""
        outcome = Outcome(
            status="cached",
            cost_nanos=0,
            saved_nanos=known(found.cost_usd).nanos,
            cost_source="cache",
            served_model=found.served_model,
            duration_ms=self.elapsed_ms(job),
            finish_reason=finish_reason(found),
        )
        self._gate.leave(job)
        job.entry = self._entry(job)
        self._ledger.settle(job.entry, outcome)
        completion = replace(
            self._identified(job, found), cost_usd=Decimal(0), cost_source="cache"
        )
        self._tell_end(job, "cached", completion=completion)
        return completion

    def elapsed_ms(self, job: Job) -> int:
        """Return the milliseconds since the call began."""
        return round((self._clock() - job.started) * 1000)

    def _completed(
        self, job: Job, completion: Whole, *, partial: bool
    ) -> tuple[Whole, Cost]:
        """Add to an answer what only we know."""
        usage = tokens.usage_of(job.prompt, completion, partial=partial)
        completion = replace(self._identified(job, completion), usage=usage)
        cost = self._cost(job, completion)
        return replace(completion, cost_usd=cost.usd, cost_source=cost.source), cost

    def _identified(self, job: Job, completion: Whole) -> Whole:
        return replace(
            completion,
            provider=job.provider.name,
            model=job.prompt.full_model,
            request_id=job.request_id,
            attempts=job.attempts,
            latency_ms=self.elapsed_ms(job),
        )

    def _cost(self, job: Job, completion: Completion | Embeddings) -> Cost:
        cost = cost_of(self._prices, job.prompt.full_model, completion)
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
        self._tell(signals.price_unknown, job, model=model)

    def _fill_in(
        self, job: Job, error: LLMError, completion: Completion | None
    ) -> None:
        error.provider = job.provider.name
        error.model = job.prompt.full_model
        error.request_id = job.request_id
        error.attempts = job.attempts
        if completion is not None:
            error.usage, error.cost_usd = completion.usage, completion.cost_usd
            if isinstance(error, ProviderError):
                error.completion = completion
        error.add_note(f"{error.model}, request_id {job.request_id}")
        words = getattr(error, "provider_message", None)
        if self._log_content and words:
            error.add_note(f"The provider's words: {words}")

    def _settle(
        self, job: Job, outcome: Outcome, error: BaseException | None = None
    ) -> None:
        if job.sent:
            self._tell(signals.provider_called, job, error=error)
        taken = outcome.duration_ms
        outcome = replace(
            outcome,
            # What an answer says of itself is what its row says, to the millisecond.
            duration_ms=self.elapsed_ms(job) if taken is None else taken,
            first_token_ms=job.first_token_ms,
            attempts=job.attempts,
        )
        if job.entry is None:
            job.entry = self._entry(job)
        standings = self._ledger.settle(job.entry, outcome)
        charged = job.entry.row["cost_nanos"] or 0
        for hold, standing in standings.items():
            if passed_warning(hold, standing, charged):
                state = BudgetState.of(hold, standing)
                self._tell(signals.budget_warning, job, budget=state)

    def _entry(self, job: Job, reservation: Reservation = NOTHING) -> Entry:
        return self._ledger.entry(
            job.prompt, reservation, request_id=job.first_id, streamed=job.streamed
        )

    def _tell_end(self, job: Job, status: str, **facts: Any) -> None:
        self._tell(signals.completion_finished, job, status=status, **facts)

    def _tell(self, signal: NamedSignal, job: Job, **facts: Any) -> None:
        if not signal.receivers:
            return
        signals.send(
            signal,
            self._sender,
            prompt=job.prompt,
            request_id=job.request_id,
            attempts=job.attempts,
            queued_ms=job.queued_ms,
            row=MappingProxyType(job.entry.row if job.entry else {}),
            base_url=job.provider.base_url,
            notes=job.notes,
            **facts,
        )
