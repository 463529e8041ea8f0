"""What became of each prompt: a completion or an error, and what its row says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from flask_llm.chat import Completion
from flask_llm.client.costs import cost_of, known
from flask_llm.client.fitting import fit
from flask_llm.client.outcomes import complaint, spent
from flask_llm.errors import (
    LLMError,
    OverloadedError,
    ProviderError,
    ResponseError,
    ServerError,
)
from flask_llm.pricing import Cost, Prices
from flask_llm.protocols import PROTOCOLS
from flask_llm.protocols.batches import BatchState, Result
from flask_llm.schema import Schema
from flask_llm.usage import Outcome
from flask_llm.wire import Reply

Answer = Completion | LLMError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the results of one batch, the same way whoever fetches them."""

    batch_id: str
    provider: str
    protocol: str
    model: str
    """``provider/model``."""
    created_at: datetime
    ended_at: datetime
    prices: Prices

    @classmethod
    def of(cls, row: Any, prices: Prices) -> Self:
        """Return the reader of a batch by its row."""
        names = ("provider", "protocol", "model", "created_at")
        return cls(
            batch_id=row.id,
            ended_at=row.ended_at or row.created_at,
            prices=prices,
            **{name: getattr(row, name) for name in names},
        )

    def answer(self, result: Result | None, state: BatchState) -> Answer:
        """Return a prompt's completion, or the error that a call would have raised."""
        if result is None:
            return self.named(_missing(state, self.protocol))
        if result.reply is None:
            return self.named(_left(result.left or "cancelled"))
        error = PROTOCOLS[self.protocol].error(result.reply)
        try:
            if error is None:
                completion = PROTOCOLS[self.protocol].parse(result.reply.json)
                return self._priced(completion)[0]
        except ProviderError as unreadable:
            error = unreadable
        return self.named(error)

    def outcome(self, answer: Answer) -> Outcome:
        """Return what the row of a prompt says of it."""
        if isinstance(answer, Completion):
            completion, cost = self._priced(answer)
            used = spent(completion, cost)
            return self._ended("ok", may_be_billed=True, **used)
        used = {}
        if isinstance(answer, ProviderError) and answer.completion is not None:
            used = spent(*self._priced(answer.completion))
        elif answer.code in _UNBILLED:
            used = {"cost_nanos": 0}
        billed = isinstance(answer, ResponseError)
        status = "cancelled" if answer.code == CANCELLED else "failed"
        return self._ended(status, may_be_billed=billed, **used, **complaint(answer))

    def fitted(self, answer: Answer, schema: Schema) -> Answer:
        """Return an answer as a schema reads it; one that does not fit is an error."""
        if isinstance(answer, LLMError):
            return answer
        try:
            return fit(schema, answer)
        except ProviderError as error:
            return self.named(error)

    def _ended(self, status: str, **facts: Any) -> Outcome:
        return Outcome(status=status, attempts=1, duration_ms=self._ms, **facts)

    def _priced(self, completion: Completion) -> tuple[Completion, Cost]:
        """Add to an answer what only we know; tokens that nobody counted cost None."""
        cost = known(None)
        if completion.usage.source == "provider":
            cost = cost_of(
                self.prices, self.model, completion, at=self.created_at, batch=True
            )
        whole = replace(
            completion,
            provider=self.provider,
            model=self.model,
            request_id=self.batch_id,
            attempts=1,
            latency_ms=self._ms,
            cost_usd=cost.usd,
            cost_source=cost.source,
        )
        return whole, cost

    def named(self, error: LLMError) -> LLMError:
        """Add to an error whose it is, and what it cost all the same."""
        error.provider, error.model = self.provider, self.model
        error.request_id, error.attempts = self.batch_id, 1
        if isinstance(error, ProviderError) and error.completion is not None:
            error.completion, cost = self._priced(error.completion)
            error.usage, error.cost_usd = error.completion.usage, cost.usd
        return error

    @property
    def _ms(self) -> int:
        seconds = (self.ended_at - self.created_at).total_seconds()
        return max(0, round(seconds * 1000))  # the provider's clock is another one


CANCELLED = "batch_cancelled"
EXPIRED = "batch_expired"
NEVER_SENT = "batch_never_sent"
NO_RESULT = "no_result"
"""Nothing was said of a prompt: the results may have broken off without a word."""

_UNBILLED = {CANCELLED, EXPIRED, NEVER_SENT}


def never_sent(code: str | None) -> LLMError:
    """Build the error of prompts whose batch no provider has taken."""
    return LLMError(
        "The batch never began, so no prompt of it was answered: submit it again.",
        code=code or NEVER_SENT,
        http_status=502,
    )


def _left(how: str) -> LLMError:
    if how == "expired":
        return OverloadedError(
            "The batch expired before the provider came to this prompt: submit it "
            "again.",
            code=EXPIRED,
        )
    return LLMError(
        "The batch was cancelled before the provider came to this prompt.",
        code=CANCELLED,
    )


def _missing(state: BatchState, protocol: str) -> LLMError:
    """Build the error of a prompt that no result is about."""
    if state.status in {"expired", "cancelled"}:
        return _left(state.status)
    if state.status == "failed":
        error = PROTOCOLS[protocol].error(state.problem or _FAILED)
        return error or ServerError("The batch failed as a whole.", code="batch_failed")
    return ResponseError(
        "The results say nothing of this prompt: fetch them again.", code=NO_RESULT
    )


_FAILED = Reply.of({"error": {"code": "batch_failed"}}, 500)
