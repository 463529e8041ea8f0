"""What a caller may see and asks for, as conditions: the only place that makes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self

from sqlalchemy import ColumnElement, or_

from flask_llm.errors import ConfigError, nearest
from flask_llm.usage.models import hourly, usage
from flask_llm.usage.reports.query import GROUPS, Filters

REQUEST_FILTERS = GROUPS | {
    "operation": usage.c.operation,
    "error_code": usage.c.error_code,
    "request_id": usage.c.request_id,
}
"""What single rows may be filtered by."""

_SUMS = dict.fromkeys(GROUPS, hourly.c.subject) | {
    "tenant": hourly.c.tenant,
    "provider": hourly.c.provider,
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What a caller may see: everything, or only what bears certain labels."""

    only: Filters = field(default_factory=dict)

    @classmethod
    def of(cls, given: object) -> Self:
        """Read what the app's ``reports_scope`` returned.

        An empty label is refused: a caller whose tenant is not known would see what
        belongs to nobody.

        :raises ConfigError: where it is neither None nor a dict of labels.
        """
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise ConfigError(
                "The app's reports_scope returns None for everything, or a dict like "
                f'{{"tenant": "acme"}}, not {type(given).__name__}.'
            )
        return cls({name: _labels(name, value) for name, value in given.items()})


EVERYTHING = Scope()
"""For those who run the app: the command line."""


def _labels(name: object, value: object) -> tuple[str, ...]:
    if name not in GROUPS:
        known = ", ".join(GROUPS)
        raise ConfigError(
            f"The app's reports_scope returned the key {name!r}; it is one of {known}."
            + nearest(name, GROUPS)
        )
    several = isinstance(value, (list, tuple, set, frozenset))
    labels: Iterable[Any] = value if several else (value,)  # type: ignore[assignment]
    found = tuple(labels)
    if not all(isinstance(label, (str, int)) and str(label) for label in found):
        raise ConfigError(
            f"The app's reports_scope returned no label for {name!r}: callers who have "
            "none are refused by reports_authorizer."
        )
    return tuple(map(str, found))


def of_rows(filters: Filters, scope: Scope) -> list[ColumnElement[bool]]:
    """Return the conditions on rows of ``llm_usage``."""
    return [
        _is_one_of(REQUEST_FILTERS[name], values, null=True)
        for name, values in chain(filters.items(), scope.only.items())
    ]


def of_sums(filters: Filters, scope: Scope) -> list[ColumnElement[bool]]:
    """Return the conditions on rows of ``llm_usage_hourly``."""
    return [
        _is_one_of(_SUMS[name], values, null=False)
        for name, values in chain(filters.items(), scope.only.items())
    ]


def _is_one_of(
    column: ColumnElement[Any], values: tuple[str, ...], *, null: bool
) -> ColumnElement[bool]:
    if null and "" in values:
        return or_(column.in_(values), column.is_(None))
    return column.in_(values)


def sums_column(name: str) -> ColumnElement[Any]:
    """Return where the rollup keeps what a group is named after."""
    return _SUMS[name]
