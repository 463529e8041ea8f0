"""The page: what was chosen and what was read become texts that can be printed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from flask_llm.web.dashboard import sections
from flask_llm.web.dashboard.drawing import CURE
from flask_llm.web.dashboard.figures import Figures
from flask_llm.web.dashboard.languages import CODES, Language, language
from flask_llm.web.dashboard.selection import GROUPINGS, RANGES, Selection
from flask_llm.web.dashboard.views import Chip, Link, Page


def make_page(
    figures: Figures, selection: Selection, language: Language, *, can_draw: bool
) -> Page:
    """Make all that is printed.

    :param can_draw: whether charts can be drawn; otherwise their tables are shown.
    """
    total = figures.course.total
    last = selection.last.date()
    first = selection.span.since.astimezone(selection.tz).date()
    return Page(
        span=_span(selection, language),
        zone=language.text("times_in", zone=selection.tz.key),
        languages=tuple(_languages(selection, language)),
        ranges=tuple(_ranges(selection, language)),
        groupings=tuple(_groupings(selection, language)),
        first=first.isoformat(),
        last=last.isoformat(),
        kept=tuple(_kept(selection)),
        chips=tuple(_chips(selection, language)),
        is_empty=not total.calls,
        can_draw=can_draw,
        cure=CURE,
        figures=tuple(sections.large_figures(figures, selection, language)),
        warning=language.count("not_in_sum", total.unpriced) if total.unpriced else "",
        picture=selection.link(lang=language.code),
        charts={
            chart.name: chart for chart in sections.charts(figures, selection, language)
        },
        kinds=tuple(sections.kinds(total, language)),
        latencies=tuple(sections.latencies(total, language)),
        rankings=tuple(sections.rankings(figures, selection, language)),
        has_failures=bool(total.failed),
        failures=tuple(sections.failure(row, language) for row in figures.failures),
        budgets=tuple(sections.budgets(figures, selection.tz, language)),
        unpriced=sections.unpriced(figures, language),
        report=selection.report(),
        grouped_report=selection.report(group_by=selection.group_by),
    )


# What was chosen, and what else there is to choose


def _span(selection: Selection, language: Language) -> str:
    since = selection.span.since.astimezone(selection.tz)
    if selection.range == "24h":
        until = selection.last + timedelta(hours=1)
        first, last = language.moment(since), language.moment(until)
        return language.text("span", first=first, last=last)
    first_day, last_day = since.date(), selection.last.date()
    if first_day == last_day:
        return language.day(first_day)
    start = language.day(first_day)
    if first_day.year == last_day.year:
        month = language.texts["months"][first_day.month - 1]
        start = language.text("date_short", day=first_day.day, month=month)
    return language.text("span", first=start, last=language.day(last_day))


def _languages(selection: Selection, current: Language) -> Iterator[tuple[str, Link]]:
    for code in CODES:
        name = language(code).text("name")
        yield code, Link(name, selection.link(lang=code), code == current.code)


def _ranges(selection: Selection, language: Language) -> Iterator[Link]:
    for name in RANGES:
        to = selection.link(range=name, first=None, last=None)
        yield Link(language.text(f"range_{name}"), to, name == selection.range)


def _groupings(selection: Selection, language: Language) -> Iterator[Link]:
    for name in GROUPINGS:
        to = selection.link(group_by=name)
        yield Link(language.text(name), to, name == selection.group_by)


def _kept(selection: Selection) -> Iterator[tuple[str, str]]:
    for name, values in selection.link(range=None, first=None, last=None).items():
        for value in values:
            yield name, value


def _chips(selection: Selection, language: Language) -> Iterator[Chip]:
    for name, values in selection.filters.items():
        for value in values:
            others = tuple(other for other in values if other != value)
            to = selection.link(**{name: others or None})
            yield Chip(language.text(name), value or language.text("nobody"), to)
