"""What is drawn and stands in the table behind it: the same values, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from flask_llm.usage.reports import Line
from flask_llm.usage.reports.latency import percentile
from flask_llm.web.dashboard.figures import Course, Reader, Stack
from flask_llm.web.dashboard.languages import Language
from flask_llm.web.dashboard.selection import Selection


class Column(NamedTuple):
    """One place on the time axis."""

    tick: str
    """Short, for the axis."""
    name: str
    """In full, for the table."""


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one colour."""

    name: str
    values: tuple[int | None, ...]
    colour: int
    """The number of its colour; the last one is for all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Values over time, ready to be drawn and to be listed."""

    name: str
    """One of ``CHARTS``."""
    title: str
    columns: tuple[Column, ...]
    series: tuple[Series, ...]
    write: Callable[[int | None], str]
    """How a value is written in the table."""
    mark: Callable[[int, int], str]
    """How a value is written on an axis whose marks are a step apart."""
    stacked: bool = True
    beside: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Further columns of the table, each with its heading."""

    @property
    def totals(self) -> tuple[int, ...]:
        """What each column comes to: the sum where it is stacked, else the most."""
        whole = sum if self.stacked else max
        columns = zip(*(series.values for series in self.series), strict=True)
        return tuple(whole([value or 0 for value in column]) for column in columns)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(self.totals)

    def alternative(self, language: Language) -> str:
        """Return what the drawing shows, in words."""
        first, last = self.columns[0].name, self.columns[-1].name
        said = language.text("alt", title=self.title, first=first, last=last)
        highest = max(self.totals)
        when = self.columns[self.totals.index(highest)].name
        value = self.write(highest)
        return f"{said} {language.text('alt_peak', value=value, when=when)}"


FAILURE = 3
OTHERS = 6
"""The colour of what has none of its own."""


def read_chart(
    name: str, reader: Reader, selection: Selection, language: Language
) -> Chart:
    """Ask the reports for one chart alone."""
    course = reader.course()
    if name == "cost":
        return cost_chart(course, reader.stack(course), selection, language)
    make = {"tokens": tokens_chart, "latency": latency_chart}.get(name, failures_chart)
    return make(course, selection, language)


def cost_chart(
    course: Course, stack: Stack, selection: Selection, language: Language
) -> Chart:
    """Show what was spent, stacked by what the reader chose."""
    series = [
        Series(label or language.text("nobody"), values, colour)
        for colour, (label, values) in enumerate(
            zip(stack.labels, stack.costs, strict=True)
        )
    ]
    if any(stack.rest) or not series:
        series.append(Series(language.text("rest"), stack.rest, OTHERS))
    return Chart(
        name="cost",
        title=language.text("chart_cost"),
        columns=_columns(course, selection, language),
        series=tuple(series),
        write=lambda value: language.money(value or 0),
        mark=language.money_mark,
    )


TOKEN_KINDS = ("input_fresh", "cache_write", "cache_read", "answer", "reasoning")


def token_kinds(line: Line) -> dict[str, int]:
    """Return the tokens of a line by kind, each token once."""
    inputs = line.cache_read_tokens + line.cache_write_tokens
    return {
        "input_fresh": max(0, line.input_tokens - inputs),
        "cache_write": line.cache_write_tokens,
        "cache_read": line.cache_read_tokens,
        "answer": max(0, line.output_tokens - line.reasoning_tokens),
        "reasoning": line.reasoning_tokens,
    }


def tokens_chart(course: Course, selection: Selection, language: Language) -> Chart:
    """Show the tokens by kind."""
    kinds = [token_kinds(line) for line in course.columns.values()]
    return Chart(
        name="tokens",
        title=language.text("chart_tokens"),
        columns=_columns(course, selection, language),
        series=tuple(
            Series(language.text(kind), tuple(found[kind] for found in kinds), colour)
            for colour, kind in enumerate(TOKEN_KINDS)
        ),
        write=lambda value: language.number(value or 0),
        mark=lambda value, _step: language.compact(value),
    )


def latency_chart(course: Course, selection: Selection, language: Language) -> Chart:
    """Show how long answers took: half of them, and nearly all of them."""
    lines = course.columns.values()
    return Chart(
        name="latency",
        title=language.text("chart_latency"),
        columns=_columns(course, selection, language),
        series=(
            Series(language.text("median"), _within(lines, 50), 0),
            Series(language.text("p95"), _within(lines, 95), 1),
        ),
        write=language.duration,
        mark=language.duration_mark,
        stacked=False,
    )


def failures_chart(course: Course, selection: Selection, language: Language) -> Chart:
    """Show how many calls failed."""
    lines = course.columns.values()
    failed = tuple(line.failed for line in lines)
    calls = tuple(language.number(line.calls) for line in lines)
    shares = tuple(language.percent(line.failed, line.calls) for line in lines)
    return Chart(
        name="failures",
        title=language.text("chart_failures"),
        columns=_columns(course, selection, language),
        series=(Series(language.text("failures"), failed, FAILURE),),
        beside=(
            (language.text("calls"), calls),
            (language.text("failed_share"), shares),
        ),
        write=lambda value: language.number(value or 0),
        mark=lambda value, _step: language.compact(value),
    )


def within(line: Line, share: int) -> int | None:
    """Return the milliseconds that a share of a line's calls did not exceed."""
    return percentile(line.latency, line.timed, share, line.latency_max_ms)


def _within(lines: Iterable[Line], share: int) -> tuple[int | None, ...]:
    return tuple(within(line, share) for line in lines)


def _columns(
    course: Course, selection: Selection, language: Language
) -> tuple[Column, ...]:
    return tuple(_column(name, selection.unit, language) for name in course.columns)


def _column(name: str, unit: str, language: Language) -> Column:
    if unit == "hour":
        hour = datetime.fromisoformat(name)
        return Column(f"{hour:%H:%M}", language.moment(hour))
    if unit == "month":
        month = date.fromisoformat(f"{name}-01")
        return Column(language.month_short(month), language.month(month))
    day = date.fromisoformat(name)
    return Column(language.day_short(day), language.day(day))
