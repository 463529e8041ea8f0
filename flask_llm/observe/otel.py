"""OpenTelemetry spans and metrics of calls; an extra, ``flask-llm[otel]``."""

from __future__ import annotations

import importlib.metadata
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from flask_llm import signals
from flask_llm.chat import Question
from flask_llm.errors import ConfigError
from flask_llm.observe.conventions import (
    OPERATIONS,
    PROVIDERS,
    SECONDS,
    TOKENS,
    Convention,
    convention,
)
from flask_llm.observe.extras import load
from flask_llm.observe.names import Names

SCOPE = "flask_llm"
"""What the spans and metrics say they come from."""

_PARENT = "otel.parent"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_known: weakref.WeakKeyDictionary[Any, Telemetry] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def instrument(
    app: object, *, tracer_provider: Any = None, meter_provider: Any = None
) -> None:
    """Write a span and metrics for each call of an app that reached a provider.

    May come before or after the app is set up. ``OTEL_SEMCONV_STABILITY_OPT_IN`` is
    read once, here.

    :param tracer_provider: where spans go; the global one if None.
    :param meter_provider: where metrics go; the global one if None.
    :raises ConfigError: where ``opentelemetry-api`` is not installed, and on the second
        time for one app.
    """
    names = convention(os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", ""))
    telemetry = Telemetry(names, tracer_provider, meter_provider)
    with _lock:
        if app in _known:
            raise ConfigError("The app is instrumented for OpenTelemetry already.")
        _known[app] = telemetry
    signals.completion_started.connect(telemetry.start, app)
    signals.completion_finished.connect(telemetry.finish, app)


class Telemetry:
    """One app's spans and metrics.

    A span is made when its call has ended, with the times of the call and the parent
    that it began under: nothing is current meanwhile, so a stream that is read after
    its view has returned, or never to its end, leaves no context behind.

    Metrics have no user, tenant or feature, and a bounded number of models.
    """

    def __init__(
        self, names: Convention, tracer_provider: Any, meter_provider: Any
    ) -> None:
        self._trace = load("opentelemetry.trace", extra="otel")
        self._context = load("opentelemetry.context", extra="otel")
        metrics = load("opentelemetry.metrics", extra="otel")
        version = importlib.metadata.version("flask-llm")
        self._names = names
        self._tracer = self._trace.get_tracer(
            SCOPE, version, tracer_provider, names.schema_url
        )
        meter = metrics.get_meter(SCOPE, version, meter_provider, names.schema_url)
        self._seconds = {
            name: meter.create_histogram(
                name, "s", explicit_bucket_boundaries_advisory=SECONDS
            )
            for name in {*names.durations.values(), names.first_chunk}
        }
        self._tokens = {
            each.name: meter.create_counter(each.name, "{token}").add
            if each.is_counter
            else meter.create_histogram(
                each.name, "{token}", explicit_bucket_boundaries_advisory=TOKENS
            ).record
            for each in names.tokens
        }
        self._cost = meter.create_counter(
            "flask_llm.cost", "{USD}", "What calls cost whose price is known."
        )
        self._models = Names()

    def start(self, sender: object, *, notes: dict[str, Any], **_: Any) -> None:
        """Remember what a call begins under."""
        del sender
        notes[_PARENT] = self._context.get_current()

    def finish(
        self,
        sender: object,
        *,
        prompt: Question,
        row: Mapping[str, Any],
        base_url: str,
        notes: Mapping[str, Any],
        completion: Any = None,
        error: BaseException | None = None,
        **_: Any,
    ) -> None:
        """Write the span and the metrics of a call, unless no provider was asked."""
        del sender
        if not row["attempts"]:
            return
        failure = {"error.type": type(error).__name__} if error else {}
        asked = _asked(row, base_url)
        ends_ns = (row["finished_at"] - _EPOCH) // timedelta(microseconds=1) * 1_000
        span = self._tracer.start_span(
            f"{asked['gen_ai.operation.name']} {prompt.model}",
            context=notes.get(_PARENT),
            kind=self._trace.SpanKind.CLIENT,
            attributes={**asked, "gen_ai.request.model": prompt.model},
            start_time=ends_ns - row["duration_ms"] * 1_000_000,
        )
        if span.is_recording():
            span.set_attributes(_request(prompt, row))
            span.set_attributes(self._response(row, completion) | failure)
            if error:
                span.set_status(self._trace.StatusCode.ERROR)
        span.end(end_time=ends_ns)
        model = {"gen_ai.request.model": self._models.label(prompt.model)}
        self._measure(row, asked | model, failure)

    def _response(self, row: Mapping[str, Any], completion: Any) -> dict[str, Any]:
        """Return what came back; parts of the usage only where there are any."""
        found = {
            "gen_ai.response.id": getattr(completion, "response_id", None),
            "gen_ai.response.model": row["served_model"],
            "gen_ai.response.finish_reasons": _finish_reasons(row),
            "gen_ai.response.time_to_first_chunk": _in_seconds(row["first_token_ms"]),
            "gen_ai.usage.input_tokens": row["input_tokens"],
            "gen_ai.usage.output_tokens": row["output_tokens"],
            "gen_ai.usage.cache_read.input_tokens": row["cache_read_tokens"] or None,
            self._names.cache_write: row["cache_write_tokens"] or None,
            "gen_ai.usage.reasoning.output_tokens": row["reasoning_tokens"] or None,
            "flask_llm.cost_usd": _usd(row["cost_nanos"]),
            "flask_llm.attempts": row["attempts"],
        }
        return _known_only(found)

    def _measure(
        self,
        row: Mapping[str, Any],
        labels: Mapping[str, Any],
        failure: Mapping[str, Any],
    ) -> None:
        duration = self._names.durations[labels["gen_ai.operation.name"]]
        self._seconds[duration].record(row["duration_ms"] / 1000, {**labels, **failure})
        first = _in_seconds(row["first_token_ms"])
        if first is not None:
            self._seconds[self._names.first_chunk].record(first, labels)
        for each in self._names.tokens:
            if row[each.column] is not None:
                self._tokens[each.name](row[each.column], {**labels, **each.labels})
        cost = _usd(row["cost_nanos"])
        if cost:
            self._cost.add(cost, labels)


def _asked(row: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    """Return what spans and metrics have in common."""
    address = urlsplit(base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    return {
        "gen_ai.operation.name": OPERATIONS.get(row["operation"], "chat"),
        "gen_ai.provider.name": PROVIDERS.get(row["provider"], row["provider"]),
        "server.address": address.hostname or "",
        "server.port": port,
    }


def _request(prompt: Question, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for: no text, and of the options those that a caller set.

    Which of the defaults are sent depends on the model.
    """
    found = {
        "gen_ai.request.stream": row["streamed"] or None,
        "gen_ai.output.type": "json" if getattr(prompt, "schema", None) else None,
        "gen_ai.embeddings.dimension.count": getattr(prompt, "dimensions", None),
        "flask_llm.request_id": row["request_id"],
        "flask_llm.feature": row["feature"],
        **dict(_options(prompt)),
    }
    return _known_only(found)


def _options(prompt: Question) -> Iterator[tuple[str, Any]]:
    defaulted = getattr(prompt, "defaulted", ())
    for name in ("max_tokens", "temperature", "top_p", "seed"):
        if name not in defaulted:
            yield f"gen_ai.request.{name}", getattr(prompt, name, None)
    yield "gen_ai.request.stop_sequences", getattr(prompt, "stop", None) or None


def _finish_reasons(row: Mapping[str, Any]) -> tuple[str, ...] | None:
    if row["error_code"] and row["streamed"]:
        return ("error",)
    return (row["finish_reason"],) if row["finish_reason"] else None


def _in_seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _usd(nanos: int | None) -> float | None:
    return None if nanos is None else nanos / 1e9


def _known_only(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}
