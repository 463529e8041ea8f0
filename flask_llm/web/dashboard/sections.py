"""The parts of the page below its pickers: figures, charts, rankings, and the rest."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask_llm.guards.budgets import BudgetState
from flask_llm.usage.reports import Line
from flask_llm.web.dashboard.charts import (
    TOKEN_KINDS,
    Chart,
    cost_chart,
    failures_chart,
    latency_chart,
    token_kinds,
    tokens_chart,
    within,
)
from flask_llm.web.dashboard.figures import TOP, Figures, Ranking
from flask_llm.web.dashboard.languages import Language
from flask_llm.web.dashboard.selection import Selection
from flask_llm.web.dashboard.views import (
    BudgetView,
    ChartView,
    Failure,
    Figure,
    Key,
    Kind,
    Latency,
    Meter,
    Rank,
    RankingView,
    Table,
    Unpriced,
)

UNPRICED_MAX = 8


def large_figures(
    figures: Figures, selection: Selection, language: Language
) -> Iterator[Figure]:
    """Return the large numbers."""
    total, pending = figures.course.total, figures.course.pending
    text = language.text
    days = round((selection.span.until - selection.span.since) / timedelta(days=1))
    each = language.money(total.cost_nanos // max(days, 1))
    yield Figure(
        text("cost"),
        language.money(total.cost_nanos),
        text("per_day", money=each) if days > 1 else "",
    )
    yield Figure(
        text("calls"),
        language.number(total.calls),
        language.count("pending", pending) if pending else "",
    )
    yield Figure(
        text("tokens"),
        language.compact(total.input_tokens + total.output_tokens),
        text("cached_share", share=_cached_share(total, language)),
    )
    yield Figure(
        text("error_rate"),
        language.percent(total.failed, total.calls),
        language.count("failed", total.failed),
    )
    yield Figure(
        text("latency"),
        language.duration(within(total, 50)),
        text("latency_note", duration=language.duration(within(total, 95))),
    )
    yield Figure(
        text("saved"),
        language.money(total.saved_nanos),
        language.count("cached", total.cached),
    )


def _cached_share(total: Line, language: Language) -> str:
    return language.percent(total.cache_read_tokens, total.input_tokens)


def charts(
    figures: Figures, selection: Selection, language: Language
) -> Iterator[ChartView]:
    """Return the charts with the tables behind them."""
    course = figures.course
    for chart in (
        cost_chart(course, figures.stack, selection, language),
        tokens_chart(course, selection, language),
        latency_chart(course, selection, language),
        failures_chart(course, selection, language),
    ):
        yield ChartView(
            name=chart.name,
            title=chart.title,
            alternative=chart.alternative(language),
            is_empty=chart.is_empty,
            keys=tuple(Key(series.name, series.colour) for series in chart.series),
            table=_table(chart, language),
        )


def _table(chart: Chart, language: Language) -> Table:
    """List the values of a chart, the newest first."""
    cells = [tuple(map(chart.write, series.values)) for series in chart.series]
    head = [language.text("time"), *(series.name for series in chart.series)]
    if len(chart.series) > 1 and chart.stacked:
        head.append(language.text("total"))
        cells.append(tuple(map(chart.write, chart.totals)))
    head += [heading for heading, _ in chart.beside]
    cells += [beside for _, beside in chart.beside]
    names = tuple(column.name for column in chart.columns)
    rows = tuple(zip(names, *cells, strict=True))
    return Table(head=tuple(head), rows=rows[::-1])


def kinds(total: Line, language: Language) -> Iterator[Kind]:
    """Return the tokens by kind."""
    whole = total.input_tokens + total.output_tokens
    found = token_kinds(total)
    for colour, kind in enumerate(TOKEN_KINDS):
        yield Kind(
            Key(language.text(kind), colour),
            language.number(found[kind]),
            language.percent(found[kind], whole),
        )


def latencies(total: Line, language: Language) -> Iterator[Latency]:
    """Return how long answers took, those that are drawn in their colours."""
    mean = round(total.duration_ms / total.timed) if total.timed else None
    longest = total.latency_max_ms if total.timed else None
    for name, colour, value in (
        ("median", 0, within(total, 50)),
        ("p95", 1, within(total, 95)),
        ("mean", None, mean),
        ("longest", None, longest),
    ):
        yield Latency(Key(language.text(name), colour), language.duration(value))


def rankings(
    figures: Figures, selection: Selection, language: Language
) -> Iterator[RankingView]:
    """Return what cost most."""
    for name in ("model", "feature", "user"):
        ranking = figures.rankings[name]
        lines = ranking.lines[:TOP]
        most = max((line.cost_nanos for line in lines), default=0)
        yield RankingView(
            name=name,
            title=language.text(f"{name}s"),
            heading=language.text(name),
            rows=tuple(_rank(line, name, most, selection, language) for line in lines),
            note=_note(ranking, language),
        )


def _rank(
    line: Line,
    name: str,
    most: int,
    selection: Selection,
    language: Language,
) -> Rank:
    label = line.group[name]
    unknown = line.unpriced and not line.cost_nanos
    return Rank(
        label or language.text("nobody"),
        selection.within(name, label),
        language.text("unknown") if unknown else language.money(line.cost_nanos),
        language.number(line.calls),
        round(100 * line.cost_nanos / most, 1) if most else 0,
    )


def _note(ranking: Ranking, language: Language) -> str:
    if ranking.is_too_long:
        return language.text("too_many")
    if ranking.has_more or len(ranking.lines) > TOP:
        return language.text("more_groups", count=TOP)
    return ""


# What needs a person


def failure(row: Mapping[str, Any], language: Language) -> Failure:
    """Return one call that failed."""
    at = datetime.fromisoformat(row["created_at"])
    status = row["error_status"]
    code = row["error_code"] or row["status"]
    return Failure(
        at=language.moment(at),
        at_iso=row["created_at"],
        model=row["model"],
        caller=" · ".join(filter(None, map(row.get, ("feature", "user", "tenant")))),
        error=f"{code} ({status})" if status else code,
        took=language.duration(row["duration_ms"]),
    )


def budgets(figures: Figures, tz: ZoneInfo, language: Language) -> Iterator[BudgetView]:
    """Return where the budgets stand now, whatever time was chosen."""
    for line in figures.budgets:
        yield BudgetView(
            text=line.budget.text,
            meters=tuple(_meter(state, tz, language) for state in line.states),
            has_more=line.truncated,
        )


def _meter(state: BudgetState, tz: ZoneInfo, language: Language) -> Meter:
    resets_at = state.resets_at.astimezone(tz)
    is_whole = state.scope == "app"
    nobody = language.text("whole_app" if is_whole else "nobody")
    limit, left = state.limit_usd, state.left_usd
    reserved = language.dollars(state.reserved_usd)
    used = float((limit - left) / limit) if limit else 1.0
    return Meter(
        subject=state.subject or nobody,
        spent=language.text(
            "spent",
            spent=language.dollars(state.spent_usd),
            limit=language.dollars(limit),
        ),
        left=language.text("left", money=language.dollars(left)),
        reserved=language.text("reserved", money=reserved)
        if state.reserved_usd
        else "",
        resets=language.text("resets", when=language.moment(resets_at)),
        percent=round(100 * used, 1),
    )


def unpriced(figures: Figures, language: Language) -> Unpriced | None:
    """Return the models that have calls without a price, and what cures that."""
    lines = figures.unpriced[:UNPRICED_MAX]
    if not lines:
        return None
    names = [line.group["model"] or "" for line in lines]
    rows = [f'    {_quoted(name)}: {{"input": "…", "output": "…"}},' for name in names]
    return Unpriced(
        rows=tuple(
            (
                name,
                language.number(line.unpriced),
                language.number(line.input_tokens + line.output_tokens),
            )
            for name, line in zip(names, lines, strict=True)
        ),
        setting="\n".join(['app.config["LLM_PRICES"] = {', *rows, "}"]),
        command=f"flask llm prices {shlex.quote(names[0])}",
    )


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)
