"""Writes down what a batch cost, and tells who listens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from flask_llm import signals
from flask_llm.client.batches.answers import NO_RESULT, Answer, Reader
from flask_llm.errors import LLMError
from flask_llm.guards import Budgets, BudgetState
from flask_llm.guards.budgets import passed_warning
from flask_llm.usage import BatchLedger, Charges, Hold, Outcome, Share, as_batch

logger = logging.getLogger("flask_llm")


class Settlement:
    """Settles the batches of one app.

    :param sender: what signals come from: the app.
    :param now: the time of day, in UTC.
    """

    def __init__(
        self,
        ledger: BatchLedger,
        budgets: Budgets,
        *,
        sender: object,
        now: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._budgets = budgets
        self._sender = sender
        self._now = now
        self._unpriced: set[str] = set()

    def settle(self, row: Any, reader: Reader, answers: Sequence[Answer]) -> None:
        """Settle all rows, but those that another try may yet bring a result for.

        :raises LLMError: where the database fails; the rest can be settled later.
        """
        is_last = self._now() >= row.expires_at

        def outcome(place: int) -> Outcome | None:
            answer = answers[place]
            missing = isinstance(answer, LLMError) and answer.code == NO_RESULT
            return None if missing and not is_last else reader.outcome(answer)

        def charged(charges: Charges) -> None:
            self._warn(row, charges)

        if self._ledger.settle(row.id, outcome, charged=charged):
            self._close(self._ledger.find(row.id))

    def _warn(self, row: Any, charges: Charges) -> None:
        """Tell of budgets that were taken past 80 % of their limit."""
        for share, (nanos, standing) in charges.items():
            hold = self._hold(share, row.created_at)
            if hold is not None and passed_warning(hold, standing, nanos):
                signals.send(
                    signals.budget_warning,
                    self._sender,
                    budget=BudgetState.of(hold, standing),
                    **_as_of_a_call(row),
                )

    def _hold(self, share: Share, at: datetime) -> Hold | None:
        try:
            return self._budgets.hold(share, at)
        except Exception:  # what was charged is to be written down all the same
            logger.exception("The limit of the budget of %s is not known.", share)
            return None

    def _close(self, row: Any) -> None:
        """Tell that a batch is settled, and warn once of an unknown price."""
        if row.cost_nanos is None:
            self._warn_unpriced(row)
        signals.send(signals.batch_settled, self._sender, batch=as_batch(row))

    def _warn_unpriced(self, row: Any) -> None:
        if row.model not in self._unpriced:
            self._unpriced.add(row.model)
            logger.warning(
                "The price of %s in batches is not known: they count as unpriced "
                "until LLM_PRICES says what they cost.",
                row.model,
            )
        signals.send(
            signals.price_unknown,
            self._sender,
            model=row.model,
            **_as_of_a_call(row),
        )


def _as_of_a_call(row: Any) -> dict[str, Any]:
    """Return what listeners hear of calls; the submitter alone knows the prompts."""
    return {"prompt": None, "request_id": row.id, "attempts": 1}
