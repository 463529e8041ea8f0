"""What the templates print: texts that are ready, and where links lead."""

from __future__ import annotations

from dataclasses import dataclass

from flask_llm.web.dashboard.selection import Parameters


@dataclass(frozen=True, slots=True)
class Link:
    """A choice; ``to`` is the query string of the page that it leads to."""

    text: str
    to: Parameters
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter in force."""

    name: str
    value: str
    to: Parameters
    """The page without it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the large numbers."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """What a colour of a chart means."""

    text: str
    colour: int | None
    """None for what is not drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts; the first of each is its heading."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartView:
    """A chart and the table behind it."""

    name: str
    title: str
    alternative: str
    is_empty: bool
    keys: tuple[Key, ...]
    table: Table


@dataclass(frozen=True, slots=True)
class Rank:
    """One line of a ranking."""

    text: str
    to: Parameters
    cost: str
    calls: str
    percent: float
    """Of the largest, for the bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingView:
    """The groups of a kind that cost most."""

    name: str
    title: str
    heading: str
    rows: tuple[Rank, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tokens."""

    key: Key
    tokens: str
    share: str


@dataclass(frozen=True, slots=True)
class Latency:
    """How long some of the answers took."""

    key: Key
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that failed."""

    at: str
    at_iso: str
    model: str
    caller: str
    """Feature, user and tenant, as far as they are known."""
    error: str
    took: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """How much of a budget one subject has used."""

    subject: str
    spent: str
    left: str
    reserved: str
    resets: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """A budget and those that it holds."""

    text: str
    meters: tuple[Meter, ...]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """The models without a price, and how to give them one."""

    rows: tuple[tuple[str, str, str], ...]
    """Model, calls and tokens."""
    setting: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that is printed."""

    span: str
    zone: str
    languages: tuple[tuple[str, Link], ...]
    ranges: tuple[Link, ...]
    groupings: tuple[Link, ...]
    first: str
    last: str
    kept: tuple[tuple[str, str], ...]
    """What the form for other dates must hand on."""
    chips: tuple[Chip, ...]
    is_empty: bool
    can_draw: bool
    cure: str
    figures: tuple[Figure, ...]
    warning: str
    picture: Parameters
    charts: dict[str, ChartView]
    kinds: tuple[Kind, ...]
    latencies: tuple[Latency, ...]
    rankings: tuple[RankingView, ...]
    has_failures: bool
    failures: tuple[Failure, ...]
    """The latest; none where single calls were purged."""
    budgets: tuple[BudgetView, ...]
    unpriced: Unpriced | None
    report: Parameters
    grouped_report: Parameters
