"""Errors: refusals in the words of generateContent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask_llm.errors import ProviderError, QuotaExhaustedError
from flask_llm.protocols.base import word
from flask_llm.protocols.problems import Problem, failed, provider_error, read_problem
from flask_llm.wire import Reply

_LONG_SECONDS = 3_600
"""A wait that no call survives: the day's share is gone."""


def error(reply: Reply) -> ProviderError | None:
    """Tell what went wrong, or None where the reply is an answer."""
    if not failed(reply):
        return None
    problem = read_problem(reply)
    details = _details(problem)
    reason = next(filter(None, (word(item.get("reason")) for item in details)), None)
    fields = _listed(details, "fieldViolations")
    param = next(filter(None, (word(item.get("field")) for item in fields)), None)
    pause = max((_seconds(item.get("retryDelay")) for item in details), default=0)
    found = provider_error(
        reply,
        replace(problem, code=reason or problem.code, param=problem.param or param),
        QuotaExhaustedError if _used_up(problem, details, pause) else None,
    )
    if found.retry_after is None and pause:
        found.retry_after = pause
    return found


def _details(problem: Problem) -> list[Mapping[str, Any]]:
    details = problem.details if isinstance(problem.details, list) else []
    return [item for item in details if isinstance(item, Mapping)]


def _listed(details: list[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    lists = (item.get(name) for item in details)
    return [
        entry
        for entries in lists
        if isinstance(entries, list)
        for entry in entries
        if isinstance(entry, Mapping)
    ]


def _seconds(delay: object) -> float:
    """Read a duration as Google writes it: ``46s``."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)s", word(delay) or "")
    return float(found[1]) if found else 0.0


def _used_up(problem: Problem, details: list[Mapping[str, Any]], pause: float) -> bool:
    """Tell a quota that waiting does not restore from one that is back in a minute."""
    if problem.type != "RESOURCE_EXHAUSTED":
        return False
    return (
        pause >= _LONG_SECONDS
        or re.search(r"limit: 0\b", problem.message) is not None
        or any(
            "PerDay" in (word(quota.get("quotaId")) or "")
            or str(quota.get("quotaValue")) == "0"
            for quota in _listed(details, "violations")
        )
    )
