"""Prometheus metrics of an app's calls; an extra, ``flask-llm[prometheus]``."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

from flask_llm import signals
from flask_llm.observe.extras import load
from flask_llm.observe.names import Names

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
"""Upper bounds of the histograms' buckets: models take their time."""

TOKENS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "reasoning": "reasoning_tokens",
}
"""Kinds of tokens. ``input`` and ``output`` are totals, the others parts of them."""

LABELS = ("operation", "provider", "model")
"""What every metric is split by: no user, tenant or feature, and so many models."""

COUNTERS = {
    "calls": ("Calls that ended: how, and by what error.", "status", "error"),
    "requests": ("Requests sent to providers, retries included.",),
    "tokens": ("Tokens used; cache_*, and reasoning, are parts of the totals.", "kind"),
    "cost_usd": ("What calls cost whose price is known.",),
    "saved_usd": ("What the answers from the cache would have cost.",),
    "unpriced_calls": ("Calls that used tokens of an unknown price.",),
}
"""Names behind ``flask_llm_``: what they count, and their further labels."""

HISTOGRAMS = {
    "call_duration_seconds": "Calls that reached a provider, from call to end.",
    # nosec B105 # a token of a text, and no password
    "first_token_seconds": "Streams, from the call to the first piece.",
}


_known: weakref.WeakKeyDictionary[Any, Metrics] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def instrument(app: object, *, registry: Any = None) -> None:
    """Count the calls of an app; doing so again changes nothing.

    May come before or after the app is set up. Several apps in one process may share a
    registry: their calls are added up.

    :param registry: a ``prometheus_client.CollectorRegistry``; the default one if None.
    :raises ConfigError: where ``prometheus_client`` is not installed.
    """
    client = load("prometheus_client", extra="prometheus")
    registry = client.REGISTRY if registry is None else registry
    with _lock:
        metrics = _known.get(registry)
        if metrics is None:
            metrics = _known[registry] = Metrics(client, registry)
    signals.completion_finished.connect(metrics.count, app)


class Metrics:
    """The metrics in one registry.

    Money is a float here, as all of Prometheus is: good for alerts; the reports are
    exact.
    """

    def __init__(self, client: Any, registry: Any) -> None:
        self._counters = {
            name: client.Counter(
                f"flask_llm_{name}", text, (*LABELS, *more), registry=registry
            )
            for name, (text, *more) in COUNTERS.items()
        }
        self._histograms = {
            name: client.Histogram(
                f"flask_llm_{name}", text, LABELS, registry=registry, buckets=SECONDS
            )
            for name, text in HISTOGRAMS.items()
        }
        self._models = Names()

    def count(
        self,
        sender: object,
        *,
        row: Mapping[str, Any],
        error: BaseException | None = None,
        **_: Any,
    ) -> None:
        """Count one call that has ended."""
        del sender
        labels = row["operation"], row["provider"], self._models.label(row["model"])
        reason = type(error).__name__ if error else ""
        self._add("calls", 1, *labels, row["status"], reason)
        self._add("requests", row["attempts"], *labels)
        for kind, column in TOKENS.items():
            self._add("tokens", row[column], *labels, kind)
        self._add("cost_usd", _usd(row["cost_nanos"]), *labels)
        self._add("saved_usd", _usd(row["saved_nanos"]), *labels)
        if row["input_tokens"] is not None and row["cost_nanos"] is None:
            self._add("unpriced_calls", 1, *labels)
        if row["attempts"]:
            self._time("call_duration_seconds", row["duration_ms"], *labels)
            self._time("first_token_seconds", row["first_token_ms"], *labels)

    def _add(self, name: str, amount: float | None, *labels: str) -> None:
        if amount:
            self._counters[name].labels(*labels).inc(amount)

    def _time(self, name: str, milliseconds: int | None, *labels: str) -> None:
        if milliseconds is not None:
            self._histograms[name].labels(*labels).observe(milliseconds / 1000)


def _usd(nanos: int | None) -> float | None:
    return None if nanos is None else nanos / 1e9
