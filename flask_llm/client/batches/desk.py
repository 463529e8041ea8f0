"""Where batches are taken in: counted, reserved for, written down and handed over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from flask_llm import signals
from flask_llm.chat import Batch, Prompt
from flask_llm.client.batches.order import Order, ordered
from flask_llm.client.batches.talk import Talk, Terms
from flask_llm.client.gate import Gate
from flask_llm.client.outcomes import complaint
from flask_llm.errors import (
    BudgetExceeded,
    ConfigError,
    LimitError,
    LLMError,
    ProviderError,
)
from flask_llm.guards import Budgets, Taken
from flask_llm.guards.budgets import refusal
from flask_llm.protocols.batches import BatchState
from flask_llm.providers import Provider, Providers
from flask_llm.retry import undone
from flask_llm.usage import BatchLedger, NoRoom, Outcome

logger = logging.getLogger("flask_llm")


class Desk:
    """Takes batches in for one app.

    :param talk: begins a conversation with a provider.
    :param sender: what signals come from: the app.
    """

    def __init__(
        self,
        *,
        providers: Providers,
        talk: Callable[[Provider, Terms], Talk],
        ledger: BatchLedger,
        budgets: Budgets,
        gate: Gate,
        sender: object,
    ) -> None:
        self._providers = providers
        self._talk = talk
        self._ledger = ledger
        self._budgets = budgets
        self._gate = gate
        self._sender = sender

    def take(self, prompts: Sequence[Prompt]) -> tuple[Batch, BatchState | None]:
        """Write a batch down and hand it over.

        :param prompts: which differ in what they say alone.
        :return: the batch, and how it stands; None where nobody knows whether the
            provider has it.
        :raises LimitError: where a limit of ours has no room for all of it.
        :raises ProviderError: where the provider refuses it.
        """
        provider = self._providers.serving(prompts[0])
        order = ordered(self._ledger.new_id(), prompts, provider)
        batch, taken = self._open(order)
        try:
            return batch, self._hand_over(order)
        except LLMError as error:
            if isinstance(error, LimitError) or getattr(error, "status", None) is None:
                taken.refund()
            raise

    def _open(self, order: Order) -> tuple[Batch, Taken]:
        """Count the batch, and write it down with what it reserves; all or nothing."""
        taken: Taken | None = None
        try:
            taken = self._gate.count(order.prompt)
            asked = list(zip(order.prompts, order.calls, strict=True))
            nanos, reservation = self._budgets.batch(asked)
            try:
                batch = self._ledger.open(
                    order.batch_id,
                    order.prompt,
                    nanos,
                    reservation,
                    protocol=order.provider.protocol,
                    window_seconds=order.form.CAPS.window_seconds,
                )
            except NoRoom as full:
                raise refusal(reservation.nanos, full.hold, full.standing) from None
            except LLMError as error:
                if not isinstance(error, ConfigError):
                    self._give_up(order, error)  # some of it may be written
                raise
        except LLMError as error:
            if taken is not None:
                taken.refund()
            self._refuse(order, error)
            raise
        return batch, taken

    def _refuse(self, order: Order, error: LLMError) -> None:
        """Write down that a limit of ours stopped a batch, and tell of it."""
        _name(order, error)
        if isinstance(error, ConfigError):
            return
        outcome = Outcome(status="refused", **complaint(error))
        self._ledger.refuse(order.batch_id, order.prompt, outcome)
        if isinstance(error, BudgetExceeded):
            signals.send(
                signals.budget_exceeded,
                self._sender,
                prompt=order.prompt,
                request_id=order.batch_id,
                attempts=0,
                error=error,
            )

    def _hand_over(self, order: Order) -> BatchState | None:
        prompt = order.prompt
        terms = Terms(timeout=prompt.timeout, retries=prompt.retries)
        talk = self._talk(order.provider, terms)
        sent = False
        try:
            uploaded = talk.ask(order.upload) if order.upload else None
            call = order.form.create(order.batch_id, order.requests, uploaded)
            sent = True
            return order.form.state(talk.ask(call))
        except LLMError as error:
            if sent and isinstance(error, ProviderError) and not undone(error):
                logger.warning(
                    "Nobody knows yet whether %s has the batch %s (%s); its status "
                    "will tell.",
                    order.provider.name,
                    order.batch_id,
                    error.code or type(error).__name__,
                )
                return None
            self._give_up(order, error)
            raise

    def _give_up(self, order: Order, error: LLMError) -> None:
        """Settle the rows of a batch that the provider has not taken."""
        _name(order, error)
        told = complaint(error)
        limited = isinstance(error, LimitError)
        outcome = Outcome(status="refused" if limited else "failed", **told)
        changes = {"status": "failed", "error_code": (told["error_code"] or "")[:64]}
        try:
            self._ledger.note(order.batch_id, changes)
            self._ledger.settle(order.batch_id, lambda _place: outcome)
        except LLMError as failure:
            logger.warning(
                "The batch %s may still be written down as preparing: %s",
                order.batch_id,
                failure.message,
            )


def _name(order: Order, error: LLMError) -> None:
    error.provider = order.provider.name
    error.model = order.prompt.full_model
    error.request_id = order.batch_id
