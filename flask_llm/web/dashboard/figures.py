"""What the dashboard shows, read from the reports by a few bounded questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from flask_llm.guards.standings import BudgetLine, BudgetQuery, budget_lines
from flask_llm.state import State
from flask_llm.usage import Scope
from flask_llm.usage.reports import LINES_MAX, BadQuery, Line
from flask_llm.usage.reports.requests import RequestQuery
from flask_llm.web.dashboard.selection import Selection

TOP = 8
"""How many groups of a kind are listed."""

SERIES_MAX = 6
"""How many groups have a colour of their own; the rest share one."""

FAILURES_MAX = 5
SUBJECTS_MAX = 8
MODELS_MAX = 1_000
"""Of how many models it is looked whether they have a price."""

EVERY_GROUP = LINES_MAX
"""What is drawn over time is never cut: a report makes no more groups than this."""

FAILED = ("failed", "abandoned")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Totals over time."""

    columns: Mapping[str, Line]
    """Each column of a chart, those without a call too, in order."""
    total: Line
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The groups that cost most."""

    lines: tuple[Line, ...] = ()
    has_more: bool = False
    is_too_long: bool = False
    """There are more groups than a report may be made of; then none is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What each group cost in each column, in nano-USD."""

    labels: tuple[str | None, ...]
    costs: tuple[tuple[int, ...], ...]
    rest: tuple[int, ...]
    """What all others cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All that is on one page."""

    course: Course
    stack: Stack
    rankings: Mapping[str, Ranking]
    failures: tuple[Mapping[str, Any], ...]
    budgets: tuple[BudgetLine, ...]

    @property
    def unpriced(self) -> tuple[Line, ...]:
        """The models that have calls without a price, the most calls first."""
        found = [line for line in self.rankings["model"].lines if line.unpriced]
        return tuple(sorted(found, key=lambda line: -line.unpriced))


class Reader:
    """Asks the reports, within what the caller may see."""

    def __init__(self, state: State, scope: Scope, selection: Selection) -> None:
        self._state = state
        self._scope = scope
        self._selection = selection

    def figures(self) -> Figures:
        """Return all that is on one page.

        :raises BadQuery: where the time chosen needs calls that were purged.
        :raises LLMError: where the database fails.
        """
        course = self.course()
        rankings = {name: self.ranking(name) for name in ("feature", "user")}
        rankings["model"] = self.ranking("model", most=MODELS_MAX)
        chosen = self._selection.group_by
        ranking = rankings.get(chosen) or self.ranking(chosen)
        return Figures(
            course=course,
            stack=self._stack(course, ranking),
            rankings=rankings,
            failures=self._failures() if course.total.failed else (),
            budgets=self._budgets(),
        )

    def course(self) -> Course:
        """Return the totals over time."""
        selection = self._selection
        query = selection.query(selection.time, limit=EVERY_GROUP)
        report = self._state.reports.run(query, self._scope)
        found: dict[str, list[Line]] = {name: [] for name in selection.columns()}
        for line in report.groups:
            found[selection.column(line.group[selection.time] or "")].append(line)
        return Course(
            columns={name: added_up(lines) for name, lines in found.items()},
            total=report.total,
            pending=report.pending,
        )

    def stack(self, course: Course) -> Stack:
        """Return the costs over time of the groups that cost most."""
        return self._stack(course, self.ranking(self._selection.group_by))

    def ranking(self, name: str, *, most: int = TOP) -> Ranking:
        """Return the groups of a kind that cost most."""
        query = self._selection.query(name, limit=most)
        try:
            report = self._state.reports.run(query, self._scope)
        except BadQuery as error:
            if error.parameter != "group_by":
                raise
            return Ranking(is_too_long=True)
        return Ranking(lines=report.groups, has_more=report.truncated)

    def _stack(self, course: Course, ranking: Ranking) -> Stack:
        selection = self._selection
        name, labels = selection.group_by, _dearest(ranking, selection.group_by)
        costs = {label: dict.fromkeys(course.columns, 0) for label in labels}
        if labels:
            wanted = {name: tuple(label or "" for label in labels)}
            query = selection.query(selection.time, name, limit=EVERY_GROUP)
            query = replace(query, filters={**query.filters, **wanted})
            for line in self._state.reports.run(query, self._scope).groups:
                column = selection.column(line.group[selection.time] or "")
                costs[line.group[name]][column] += line.cost_nanos
        stacked = tuple(tuple(costs[label].values()) for label in labels)
        sums = map(sum, zip(*stacked, strict=True)) if stacked else ()
        own = list(sums) or [0] * len(course.columns)
        whole = [line.cost_nanos for line in course.columns.values()]
        # A call may have been settled between two reports.
        rest = tuple(max(0, all_ - part) for all_, part in zip(whole, own, strict=True))
        return Stack(labels=labels, costs=stacked, rest=rest)

    def _failures(self) -> tuple[Mapping[str, Any], ...]:
        selection = self._selection
        allowed = selection.filters.get("status", FAILED)
        wanted = tuple(name for name in FAILED if name in allowed)
        query = RequestQuery(
            since=selection.span.since,
            until=selection.span.until,
            tz=selection.tz,
            filters={**selection.filters, "status": wanted},
            limit=FAILURES_MAX,
        )
        return self._state.requests.page(query, self._scope).rows

    def _budgets(self) -> tuple[BudgetLine, ...]:
        state = self._state
        query = BudgetQuery(limit=SUBJECTS_MAX)
        return tuple(budget_lines(state.budgets, state.ledger, query, self._scope))


_ADDED = tuple(
    field.name
    for field in fields(Line)
    if field.name not in {"group", "latency", "latency_max_ms"}
)


def added_up(lines: Iterable[Line]) -> Line:
    """Return what lines come to together."""
    parts = list(lines)
    if not parts:
        return Line()
    return Line(
        latency=tuple(map(sum, zip(*(line.latency for line in parts), strict=True))),
        latency_max_ms=max(line.latency_max_ms for line in parts),
        **{name: sum(getattr(line, name) for line in parts) for name in _ADDED},
    )


def _dearest(ranking: Ranking, name: str) -> tuple[str | None, ...]:
    costing = [line for line in ranking.lines if line.cost_nanos > 0]
    return tuple(line.group[name] for line in costing[:SERIES_MAX])
