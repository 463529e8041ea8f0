"""The story of a batch once it is handed over, told by whoever asks, in any process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask_llm import signals
from flask_llm.chat import OVER, Batch, Prompt
from flask_llm.client.batches.answers import (
    NEVER_SENT,
    Answer,
    Reader,
    never_sent,
)
from flask_llm.client.batches.desk import Desk
from flask_llm.client.batches.notes import changes
from flask_llm.client.batches.search import Lost, search
from flask_llm.client.batches.settlement import Settlement
from flask_llm.client.batches.talk import (
    NOT_OURS,
    Talk,
    Terms,
    Until,
    accounts,
    with_any_key,
)
from flask_llm.client.gate import Gate
from flask_llm.errors import (
    ConfigError,
    InvalidRequestError,
    LLMError,
    ProviderError,
)
from flask_llm.guards import Budgets
from flask_llm.pricing import Prices
from flask_llm.protocols.batches import BatchState, Result
from flask_llm.providers import Provider, Providers
from flask_llm.schema import Schema
from flask_llm.transport import Transport
from flask_llm.usage import BatchLedger, as_batch, place_of

logger = logging.getLogger("flask_llm")


class Batches:
    """The batches of one app.

    :param sender: what signals come from: the app.
    :param clock: monotonic seconds.
    :param now: the time of day, in UTC.
    """

    def __init__(
        self,
        *,
        providers: Providers,
        transport: Transport,
        ledger: BatchLedger,
        prices: Prices,
        budgets: Budgets,
        gate: Gate,
        sender: object = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._providers = providers
        self._transport = transport
        self._ledger = ledger
        self._prices = prices
        self._gate = gate
        self._sender = sender
        self._clock = clock
        self._now = now
        self._desk = Desk(
            providers=providers,
            talk=lambda provider, terms: self._talk(provider, terms.begin(clock)),
            ledger=ledger,
            budgets=budgets,
            gate=gate,
            sender=sender,
        )
        self._settlement = Settlement(ledger, budgets, sender=sender, now=now)

    def submit(self, prompts: Sequence[Prompt]) -> Batch:
        """Hand prompts over, which differ in what they say alone.

        :raises LLMError: where they are not taken; then nothing of them is.
        """
        batch, state = self._desk.take(prompts)
        if state is not None:
            try:
                batch = as_batch(self._noted(self._row(batch.id), state))
            except LLMError as error:  # its status will be asked for, and find it
                logger.warning(
                    "The batch %s is not noted as submitted: %s",
                    batch.id,
                    error.message,
                )
        signals.send(signals.batch_submitted, self._sender, batch=batch)
        return batch

    def status(self, batch_id: str, terms: Terms) -> Batch:
        """Ask the provider how a batch stands; one that is over is not asked about."""
        return as_batch(self._current(batch_id, terms.begin(self._clock)))

    def listed(self, limit: int, *, unsettled: bool = False) -> list[Batch]:
        """Return the newest batches as they stood when they were last looked at."""
        return self._ledger.listed(limit, unsettled=unsettled)

    def cancel(self, batch_id: str, terms: Terms) -> Batch:
        """Ask the provider to give a batch up; one that is over stays as it is."""
        until = terms.begin(self._clock)
        row = self._row(batch_id)
        if row.status == "preparing":
            row = self._found(row, until)
        if row.status in OVER:
            return as_batch(row)
        if row.provider_id is None:
            raise _not_yet("cannot be cancelled", row)

        def talk(account: Provider) -> BatchState:
            said = self._talk(account, until)
            try:
                raw = said.ask(said.form.cancel(row.provider_id))
            except ProviderError:
                # It may have ended meanwhile.
                state = said.state(row.provider_id)
                if state.status not in OVER:
                    raise
                return state
            # Google says nothing.
            return said.form.state(raw) if raw else said.state(row.provider_id)

        state = with_any_key(self._provider(row), talk)
        if state.status not in OVER:
            state = replace(state, status="cancelling")
        return as_batch(self._noted(row, state))

    def results(
        self, batch_id: str, terms: Terms, *, schema: Schema | None = None
    ) -> list[Answer]:
        """Fetch what became of each prompt, in their order, and write down its cost.

        :raises LLMError: while the batch is not over, and where they cannot be fetched.
        """
        until = terms.begin(self._clock)
        row = self._current(batch_id, until)
        if row.status not in OVER:
            raise _not_yet("has no results", row)
        reader = Reader.of(row, self._prices)
        answers = self._answers(row, reader, until)
        if row.settled_at is None:
            self._settlement.settle(row, reader, answers)
        if schema is None:
            return answers
        return [reader.fitted(answer, schema) for answer in answers]

    def _talk(self, provider: Provider, until: Until) -> Talk:
        return Talk(provider, self._transport, self._gate, until)

    def _answers(self, row: Any, reader: Reader, until: Until) -> list[Answer]:
        if row.provider_id is None:
            return [
                reader.named(never_sent(row.error_code)) for _ in range(row.prompts)
            ]

        def talk(account: Provider) -> tuple[BatchState, dict[int, Result]]:
            said = self._talk(account, until)
            state = said.state(row.provider_id)
            found: dict[int, Result] = {}
            for result in said.results(state):
                place = place_of(row.id, result.key)
                if place is not None:
                    # Of two, the first: answers come before what failed.
                    found.setdefault(place, result)
            return state, found

        state, found = with_any_key(self._provider(row), talk)
        return [reader.answer(found.get(at), state) for at in range(row.prompts)]

    def _current(self, batch_id: str, until: Until) -> Any:
        """Return the row of a batch as it stands now."""
        row = self._row(batch_id)
        if row.status in OVER:
            return row
        if row.provider_id is None:
            return self._found(row, until)

        def talk(account: Provider) -> BatchState:
            return self._talk(account, until).state(row.provider_id)

        return self._noted(row, with_any_key(self._provider(row), talk))

    def _found(self, row: Any, until: Until) -> Any:
        """Look for a batch that was perhaps never handed over."""
        lost = Lost(
            batch_id=row.id,
            prompts=row.prompts,
            created_at=row.created_at,
            lost_at=row.lost_at,
            is_known=lambda name: self._ledger.knows(row.provider, name),
        )
        undecided, refused = False, None
        for account in accounts(self._provider(row)):
            try:
                state, may_be = search(self._talk(account, until), lost)
            except NOT_OURS as error:
                refused = error
                continue
            if state is not None:
                return self._noted(row, state)
            undecided = undecided or may_be
        if refused is not None:
            raise refused
        if undecided or self._now() < row.lost_at:
            return row
        lost_for_good = {"status": "failed", "error_code": NEVER_SENT}
        if self._ledger.note(row.id, lost_for_good, as_yet="preparing"):
            logger.warning("The batch %s was never submitted.", row.id)
            outcome = Reader.of(row, self._prices).outcome(never_sent(NEVER_SENT))
            self._ledger.settle(row.id, lambda _place: outcome)
        return self._row(row.id)

    def _noted(self, row: Any, state: BatchState) -> Any:
        """Write down how a batch stands, and return its row."""
        self._ledger.note(row.id, changes(row, state))
        return self._row(row.id)

    def _row(self, batch_id: str) -> Any:
        row = self._ledger.find(batch_id)
        if row is None:
            raise InvalidRequestError(
                f"There is no batch {batch_id[:64]!r}: it goes by our own id, and "
                "batches.list() has those there are.",
                code="unknown_batch",
                http_status=404,
                param="batch_id",
            )
        return row

    def _provider(self, row: Any) -> Provider:
        """Return the provider that has a batch, asked as it was then."""
        if row.provider not in self._providers:
            raise ConfigError(
                f"The batch {row.id} is with {row.provider!r}, which is not in "
                "LLM_PROVIDERS any more: put it back to go on with it."
            )
        provider = self._providers[row.provider]
        provider.check_ready()
        return replace(provider, protocol=row.protocol)


def _not_yet(what: str, row: Any) -> LLMError:
    return LLMError(
        f"The batch {row.id} is {row.status} and {what} yet: ask again later.",
        code="batch_not_over",
        provider=row.provider,
        model=row.model,
        request_id=row.id,
        http_status=409,
        is_retryable=True,
        retry_after=60.0,
    )
