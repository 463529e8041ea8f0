"""Where budgets stand: what is reported of each, and to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flask_llm.guards.budgets import Budgets, BudgetState
from flask_llm.settings import Budget
from flask_llm.settings.rules import SCOPES
from flask_llm.usage import Ledger, Scope
from flask_llm.usage.reports.parameters import one_of, sorted_out, whole

SUBJECTS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetQuery:
    """Which budgets, and whose."""

    scopes: tuple[str, ...] = ()
    """``user``, ``tenant`` and so on; empty for all."""
    subjects: tuple[str, ...] = ()
    """Empty for all."""
    limit: int = 50
    """How many subjects of each budget are shown, those with the largest sums first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLine:
    """One budget and its subjects."""

    budget: Budget
    states: tuple[BudgetState, ...]
    truncated: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the budget as JSON; money as decimal strings."""
        return {
            "budget": self.budget.text,
            "per": self.budget.scope,
            "period": self.budget.period,
            "limit_usd": format(self.budget.limit_usd, "f"),
            "subjects": [_state(state) for state in self.states],
            "truncated": self.truncated,
        }


def read_budget_query(parameters: Iterable[tuple[str, str]]) -> BudgetQuery:
    """Read which budgets are asked for from a query string.

    :raises BadQuery: naming the parameter and the cure.
    """
    single, filters = sorted_out(parameters, ("limit",), ("per", "subject"))
    return BudgetQuery(
        scopes=tuple(one_of("per", name, SCOPES) for name in filters.get("per", ())),
        subjects=tuple(filters.get("subject", ())),
        limit=whole("limit", single.get("limit", "50"), SUBJECTS_MAX),
    )


def budget_lines(
    budgets: Budgets, ledger: Ledger, query: BudgetQuery, scope: Scope
) -> Iterator[BudgetLine]:
    """Return where the budgets stand that are asked for and may be seen.

    A caller who is narrowed to some tenants sees those tenants' budgets and no other:
    what a user or the whole app has spent tells of other tenants, too.

    :raises ConfigError: where the app's ``budget_limit`` returns no amount.
    :raises LLMError: where the database fails.
    """
    for budget in budgets.budgets:
        if query.scopes and budget.scope not in query.scopes:
            continue
        if scope.only and list(scope.only) != [budget.scope]:
            continue
        subjects = query.subjects
        if scope.only:
            mine = scope.only[budget.scope]
            subjects = tuple(name for name in subjects or mine if name in mine)
            if not subjects:
                continue
        states = budgets.states(ledger, budget, subjects=subjects, most=query.limit + 1)
        yield BudgetLine(
            budget=budget,
            states=tuple(states[: query.limit]),
            truncated=len(states) > query.limit,
        )


def _state(state: BudgetState) -> dict[str, Any]:
    return {
        "subject": state.subject or None,
        "period": state.period,
        "limit_usd": format(state.limit_usd, "f"),
        "spent_usd": format(state.spent_usd, "f"),
        "reserved_usd": format(state.reserved_usd, "f"),
        "left_usd": format(state.left_usd, "f"),
        "resets_at": state.resets_at.isoformat(),
    }
