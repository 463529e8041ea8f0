"""Budgets: which ones a call draws on, and what it may cost them at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Self
from zoneinfo import ZoneInfo

from flask_llm.chat import Question
from flask_llm.errors import (
    BudgetExceeded,
    ConfigError,
    InvalidRequestError,
    UnknownPriceError,
)
from flask_llm.guards import periods
from flask_llm.guards.worst_case import worst_case
from flask_llm.pricing import Prices
from flask_llm.settings import Budget
from flask_llm.usage import Hold, Ledger, Reservation, Share, Standing, share
from flask_llm.wire import Call

WARNING_PERCENT = 80
"""Of a budget's limit: where a warning is due."""

# The host may have set another precision for its own numbers.
_EXACT = Context(prec=60)

_NANOS = 10**9
_NANOS_MAX = 2**62
"""What a column holds, with room for sums: four billion dollars."""

LimitLoader = Callable[[str, str, str], object]
"""Takes scope, subject and period, returns USD, or None for the limit as set."""


def _no_limit(scope: str, subject: str, period: str) -> None:
    """Leave every limit as it is set."""
    del scope, subject, period


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One subject's budget in its present period."""

    text: str
    """The line of ``LLM_BUDGETS``."""
    scope: str
    subject: str
    """User, tenant, feature, provider or model; empty for the app and for nobody."""
    period: str
    """``2026-11``, ``2026-W48``, ``2026-11-23`` or ``2026-11-23T10+0000``."""
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    """Held for calls that are under way."""
    left_usd: Decimal
    """What may still be asked for."""
    resets_at: datetime

    @classmethod
    def of(cls, hold: Hold, standing: Standing) -> Self:
        """Say in dollars where a budget stands."""
        return cls(
            hold.text,
            *hold.share,
            limit_usd=_usd(hold.limit_nanos),
            spent_usd=_usd(standing.spent_nanos),
            reserved_usd=_usd(standing.reserved_nanos),
            left_usd=_usd(max(0, hold.limit_nanos - sum(standing))),
            resets_at=hold.resets_at,
        )


class Budgets:
    """Tells which budgets a call draws on.

    :param zone: where their periods begin.
    :param allow_unknown: let models without a price be asked; they reserve nothing.
    :param limit: asked for the limit of each subject.
    :param now: the time of day, aware.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        prices: Prices,
        *,
        zone: str = "UTC",
        allow_unknown: bool = False,
        limit: LimitLoader = _no_limit,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.budgets = tuple(budgets)
        self._prices = prices
        self._zone = ZoneInfo(zone)
        self._allow_unknown = allow_unknown
        self._limit = limit
        self._now = now

    def reservation(self, prompt: Question, call: Call) -> Reservation:
        """Return what a call may cost at most, and the budgets that must have room.

        :raises UnknownPriceError: where nobody knows what it may cost.
        :raises InvalidRequestError: where nothing caps its answer.
        :raises ConfigError: where the app's ``budget_limit`` returns no amount.
        """
        if not self.budgets:
            return Reservation()
        return Reservation(self._worst_case(prompt, call), self._holds(prompt))

    def batch(
        self, asked: Sequence[tuple[Question, Call]]
    ) -> tuple[tuple[int, ...], Reservation]:
        """Return what each call of a batch may cost, and what all of them reserve.

        They all draw on the same budgets, since they differ in what they say alone.

        :raises LLMError: as :meth:`reservation` does.
        """
        if not self.budgets:
            return (0,) * len(asked), Reservation()
        nanos = tuple(self._worst_case(*each, batch=True) for each in asked)
        return nanos, Reservation(min(sum(nanos), _NANOS_MAX), self._holds(asked[0][0]))

    def _worst_case(self, prompt: Question, call: Call, *, batch: bool = False) -> int:
        _check_same_model(prompt, call.body)
        worst = worst_case(prompt, call.body)
        if worst.output_tokens is None:
            raise InvalidRequestError(
                "A budget is in force, and nothing caps what this call may cost: set "
                "max_tokens, and caps in extra as whole numbers.",
                param="max_tokens",
                code="no_cap",
            )
        cost = worst.cost(self._prices, worst.output_tokens, batch=batch)
        if cost.nanos is not None:
            return min(cost.nanos, _NANOS_MAX)
        if self._allow_unknown:
            return 0
        tier = worst.service_tier
        at = f" at the tier {tier!r}" if tier else " in batches" if batch else ""
        raise UnknownPriceError(
            f"A budget is in force, and the price of {prompt.full_model}{at} is not "
            "known: add it to LLM_PRICES, or set LLM_UNKNOWN_PRICE='allow'."
        )

    def hold(self, share: Share, at: datetime) -> Hold | None:
        """Return the limit of a share that was drawn on; None where it has none now.

        :param at: when it was, which tells the period.
        :raises ConfigError: where the app's ``budget_limit`` returns no amount.
        """
        holds = (
            self._hold(budget, share, at)
            for budget in self.budgets
            if budget.scope == share.scope
            and periods.name(budget.period, at, self._zone) == share.period
        )
        return min(holds, default=None)

    def _holds(self, prompt: Question) -> tuple[Hold, ...]:
        """Return one hold for each share; of two budgets for one, the lower limit."""
        now = self._now()
        lowest: dict[Share, Hold] = {}
        for budget in self.budgets:
            period = periods.name(budget.period, now, self._zone)
            hold = self._hold(budget, share(prompt, budget.scope, period), now)
            lowest[hold.share] = min(hold, lowest.get(hold.share, hold))
        return tuple(sorted(lowest.values()))

    def states(
        self, ledger: Ledger, budget: Budget, *, subjects: Sequence[str] = (), most: int
    ) -> list[BudgetState]:
        """Return where a budget stands now for its subjects, the largest sums first.

        Subjects that have not asked for anything yet are told of where they are named.

        :param subjects: whose; empty for all.
        :raises ConfigError: where the app's ``budget_limit`` returns no amount.
        :raises LLMError: where the database fails.
        """
        now = self._now()
        period = periods.name(budget.period, now, self._zone)
        if budget.scope == "app":
            subjects = ("",)
        found = ledger.standings(budget.scope, period, subjects=subjects, most=most)
        known = {subject for subject, _ in found}
        found += [(name, Standing()) for name in subjects if name not in known]
        return [
            BudgetState.of(
                self._hold(budget, Share(budget.scope, subject, period), now), standing
            )
            for subject, standing in found[:most]
        ]

    def _hold(self, budget: Budget, share: Share, now: datetime) -> Hold:
        limit_usd = self._limit_usd(budget, share.subject)
        return Hold(
            share,
            limit_nanos=_nanos(limit_usd),
            text=budget.text,
            resets_at=periods.ends(budget.period, now, self._zone),
        )

    def _limit_usd(self, budget: Budget, subject: str) -> Decimal:
        given = self._limit(budget.scope, subject, budget.period)
        if given is None:
            return budget.limit_usd
        try:
            limit = Decimal(str(given))
        except InvalidOperation:
            limit = Decimal("NaN")
        if limit.is_nan() or limit < 0:
            raise ConfigError(
                f"The app's budget_limit returned {given!r} for {budget.text!r}; it "
                "returns USD from 0 up, or None for the limit as set."
            )
        return limit


def _check_same_model(prompt: Question, body: Mapping[str, Any]) -> None:
    """See that no other model is asked than the one that is priced."""
    if body.get("model", prompt.model) != prompt.model:
        raise InvalidRequestError(
            "A budget is in force, and extra names another model: name it by model=.",
            param="extra",
            code="model_in_extra",
        )


def refusal(asked_nanos: int, hold: Hold, standing: Standing) -> BudgetExceeded:
    """Return the error for a call that a budget has no room for."""
    state = BudgetState.of(hold, standing)
    return BudgetExceeded(
        f"The budget {state.text!r} has ${state.left_usd:f} left of "
        f"${state.limit_usd:f} (${state.spent_usd:f} spent, ${state.reserved_usd:f} "
        f"reserved), and this call may cost ${_usd(asked_nanos):f}. It begins anew at "
        f"{state.resets_at.isoformat()}.",
        limit_usd=state.limit_usd,
        spent_usd=state.spent_usd,
        reserved_usd=state.reserved_usd,
        resets_at=state.resets_at,
    )


def passed_warning(hold: Hold, standing: Standing, charged_nanos: int) -> bool:
    """Tell whether it was this charge that took a budget past 80 % of its limit."""
    line = hold.limit_nanos * WARNING_PERCENT
    before = standing.spent_nanos - charged_nanos
    return before * 100 < line <= standing.spent_nanos * 100


def _nanos(usd: Decimal) -> int:
    if usd > _NANOS_MAX // _NANOS:
        return _NANOS_MAX
    return int(usd.scaleb(9, _EXACT))


def _usd(nanos: int) -> Decimal:
    """Return dollars without zeros at the end, and never as a power of ten."""
    usd = Decimal(nanos).scaleb(-9, _EXACT)
    return usd.to_integral_value() if not nanos % _NANOS else usd.normalize(_EXACT)
