"""Logs, metrics and spans, read from the real clients' exporters in memory."""

import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
import weakref

import pytest
from conftest import KEY, MODELS, read_rows
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

import flask_llm
from flask_llm import LLM, ConfigError, LLMError, llm_bp
from flask_llm.emulator import Answer, Fault
from flask_llm.observe import otel, prometheus
from flask_llm.observe.log import FIELDS, facts
from flask_llm.observe.names import OTHER, Names

USAGE = {
    "input_tokens": 1000,
    "cache_read_tokens": 400,
    "output_tokens": 200,
}
SECRET = "my secret prompt"
MODEL = MODELS["openai"]


# Logs


@pytest.fixture
def lines(caplog):
    """The lines that calls have left, as records."""
    caplog.set_level(logging.INFO, "flask_llm")
    return lambda: [line for line in caplog.records if hasattr(line, "attempts")]


def test_call_leaves_one_line_with_its_facts(app, emulator, rows, lines):
    emulator.script(Answer(text="Hello", usage=USAGE))

    answer = flask_llm.complete("Hi", user="ann", tenant="acme", feature="greet")

    (line,) = lines()
    (row,) = rows()
    assert (line.levelname, line.name) == ("INFO", "flask_llm")
    assert line.getMessage() == (
        f"{MODEL} ok in {line.duration_ms} ms, 1000 + 200 tokens, ${line.cost_usd}"
    )
    assert line.request_id == answer.request_id
    assert (line.user, line.tenant, line.feature) == ("ann", "acme", "greet")
    assert line.cost_usd == f"0.{row.cost_nanos:09d}"
    assert [getattr(line, name) for name in FIELDS] == [
        getattr(row, name) for name in FIELDS
    ]


def test_line_of_a_failed_call_is_a_warning_that_names_the_error(app, emulator, lines):
    emulator.script(Fault(status=429), Fault(status=429))

    with pytest.raises(LLMError):
        flask_llm.complete("Hi", retries=1)

    (line,) = lines()
    assert (line.levelname, line.status, line.attempts) == ("WARNING", "failed", 2)
    assert (line.error_code, line.error_status) == ("rate_limit_exceeded", 429)
    assert line.getMessage().endswith(f"{line.error_code}, 2 attempts")
    assert line.cost_usd is None


def test_kept_answer_says_what_it_saved(app, emulator, lines):
    flask_llm.complete("Hi", cache=True)
    flask_llm.complete("Hi", cache=True)

    first, second = lines()
    assert (second.levelname, second.status) == ("INFO", "cached")
    assert (second.cost_usd, second.saved_usd) == ("0.000000000", first.cost_usd)


def test_refused_call_is_a_warning_of_a_call_that_was_not_sent(
    make_app, emulator, lines
):
    app = make_app(LLM_QUOTAS=["1/hour"])

    with app.app_context():
        flask_llm.complete("Hi")
        with pytest.raises(flask_llm.QuotaExceeded):
            flask_llm.complete("Hi")

    _, line = lines()
    assert (line.levelname, line.status, line.attempts) == ("WARNING", "refused", 0)


def test_stream_that_its_reader_left_is_no_warning(app, emulator, lines):
    with flask_llm.stream("Hi") as stream:
        next(stream)

    (line,) = lines()
    assert (line.levelname, line.status) == ("INFO", "cancelled")
    assert line.error_code == "stream_left"
    assert line.streamed
    assert line.first_token_ms is not None


def test_unknown_price_is_said_and_is_not_zero(app, emulator, lines):
    flask_llm.complete("Hi", model="openai/nobody-knows")

    (line,) = lines()
    assert line.cost_usd is None
    assert line.getMessage().endswith("cost unknown")


@pytest.mark.parametrize("status", [None, 400, 401, 500])
def test_line_holds_no_prompt_no_answer_no_key_and_no_word_of_the_provider(
    app, emulator, lines, status
):
    words = f"tut-tut {SECRET} {KEY}"
    emulator.script(
        Fault(status=status, message=words) if status else Answer(text=words)
    )

    with contextlib.suppress(LLMError):
        flask_llm.complete(SECRET, system=SECRET, retries=0)

    (line,) = lines()
    shown = repr(vars(line)) + line.getMessage()
    assert SECRET not in shown
    assert KEY not in shown
    assert "tut-tut" not in shown


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_names_from_outside_stay_within_their_line(app, emulator, lines, api):
    emulator.script(Fault(status=400, code="x\nforged", type="x\nforged"))

    with pytest.raises(LLMError):
        flask_llm.complete("Hi", model=f"{api}/a\nforged")

    (line,) = lines()
    assert "forged" in line.getMessage()
    assert "\n" not in line.getMessage()


def test_no_field_clashes_with_those_of_logging(app, emulator, rows):
    flask_llm.complete("Hi")

    names = facts(rows()[0]._mapping)
    own = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}

    assert names.keys() & own == set()


def test_line_can_be_written_as_json(app, emulator, rows):
    flask_llm.complete("Hi")

    assert json.loads(json.dumps(facts(rows()[0]._mapping)))["attempts"] == 1


def test_call_is_logged_once_however_often_the_app_is_set_up(make_app, emulator, lines):
    app = make_app()
    LLM(app)
    app.register_blueprint(llm_bp, name="again", url_prefix="/again")

    with app.app_context():
        flask_llm.complete("Hi")

    assert len(lines()) == 1


# Prometheus


@pytest.fixture
def registry():
    return CollectorRegistry()


def value(registry, name, **labels):
    """Sum what a metric says where its labels are these."""
    return sum(
        sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == f"flask_llm_{name}"
        and labels.items() <= sample.labels.items()
    )


def test_prometheus_counts_calls_requests_tokens_and_money(app, emulator, registry):
    prometheus.instrument(app, registry=registry)
    emulator.script(Fault(status=503, retry_after=0), Answer(text="Hello", usage=USAGE))

    answer = flask_llm.complete("Hi", cache=True)
    flask_llm.complete("Hi", cache=True)

    ours = {"provider": "openai", "model": MODEL, "operation": "complete"}
    assert value(registry, "calls_total", status="ok", error="", **ours) == 1
    assert value(registry, "calls_total", status="cached", **ours) == 1
    assert value(registry, "requests_total", **ours) == 2
    assert value(registry, "tokens_total", kind="input", **ours) == 1000
    assert value(registry, "tokens_total", kind="cache_read", **ours) == 400
    assert value(registry, "tokens_total", kind="output", **ours) == 200
    cost = pytest.approx(float(answer.cost_usd))
    assert value(registry, "cost_usd_total", **ours) == cost
    assert value(registry, "saved_usd_total", **ours) == cost
    assert value(registry, "call_duration_seconds_count", **ours) == 1
    seconds = value(registry, "call_duration_seconds_sum", **ours)
    assert seconds == read_rows(app)[0].duration_ms / 1000


def test_prometheus_names_the_error_by_its_class(app, emulator, registry):
    prometheus.instrument(app, registry=registry)
    emulator.script(Fault(status=429, code="whatever-they-call-it"))

    with pytest.raises(flask_llm.RateLimitError):
        flask_llm.complete("Hi", retries=0)

    assert value(registry, "calls_total", status="failed", error="RateLimitError") == 1
    assert b"whatever" not in generate_latest(registry)


def test_prometheus_counts_what_has_no_price(app, emulator, registry):
    prometheus.instrument(app, registry=registry)

    flask_llm.complete("Hi", model="openai/nobody-knows")

    assert value(registry, "unpriced_calls_total") == 1
    assert value(registry, "cost_usd_total") == 0


def test_prometheus_times_the_first_piece_of_streams(app, emulator, registry):
    prometheus.instrument(app, registry=registry)

    list(flask_llm.stream("Hi"))
    flask_llm.complete("Hi")

    assert value(registry, "first_token_seconds_count") == 1
    assert value(registry, "call_duration_seconds_count") == 2


def test_prometheus_counts_batches_of_embeddings(app, emulator, registry):
    prometheus.instrument(app, registry=registry)

    flask_llm.embed(["one", "two"])

    assert value(registry, "calls_total", operation="embed", status="ok") == 1


def test_prometheus_has_no_label_that_grows_with_users(app, emulator, registry):
    prometheus.instrument(app, registry=registry)
    flask_llm.complete(SECRET, user="ann", tenant="acme", feature="greet")

    text = generate_latest(registry).decode()

    assert [word for word in ("ann", "acme", "greet", SECRET) if word in text] == []


def test_models_that_callers_invent_share_one_series():
    names = Names(size_max=2)

    labels = [names.label(name) for name in ("a", "b", "c", "a", "d")]

    assert labels == ["a", "b", OTHER, "a", OTHER]


@pytest.mark.parametrize("first", ["instrument", "blueprint"])
def test_prometheus_and_the_set_up_come_in_either_order(
    make_app, emulator, registry, first
):
    app = make_app(register=False)
    steps = [
        lambda: prometheus.instrument(app, registry=registry),
        lambda: app.register_blueprint(llm_bp),
    ]

    [step() for step in (steps if first == "instrument" else reversed(steps))]

    with app.app_context():
        flask_llm.complete("Hi")
    assert value(registry, "calls_total") == 1


def test_prometheus_counts_once_however_often_it_is_asked_to(app, emulator, registry):
    prometheus.instrument(app, registry=registry)
    prometheus.instrument(app, registry=registry)

    flask_llm.complete("Hi")

    assert value(registry, "calls_total") == 1


def test_apps_that_share_a_registry_are_added_up_and_others_are_not_counted(
    make_app, emulator, registry
):
    apps = [make_app(f"app{number}") for number in range(3)]
    [prometheus.instrument(app, registry=registry) for app in apps[:2]]

    for app in apps:
        with app.app_context():
            flask_llm.complete("Hi")

    assert value(registry, "calls_total") == 2


WORKERS = """
import os, sys
from flask import Flask
import flask_llm
from flask_llm.observe import prometheus

app = Flask("worker", instance_path=sys.argv[1])
app.config["LLM_PROVIDERS"] = {"openai": {"api_key": "k", "base_url": sys.argv[2]}}
prometheus.instrument(app)
app.register_blueprint(flask_llm.llm_bp)
with app.app_context():
    flask_llm.complete("Hi")
"""

GATHER = """
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_workers_are_added_up_in_the_clients_own_way(tmp_path, provider_rows, emulator):
    shared = tmp_path / "metrics"
    shared.mkdir()
    environ = os.environ | {
        "PROMETHEUS_MULTIPROC_DIR": str(shared),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    arguments = [str(tmp_path), provider_rows["openai"]["base_url"]]

    def run(code, *more):
        command = [sys.executable, "-c", code, *more]
        return subprocess.run(
            command, env=environ, check=True, capture_output=True, text=True
        ).stdout

    [run(WORKERS, *arguments) for _ in range(2)]
    text = run(GATHER)

    (line,) = [x for x in text.splitlines() if x.startswith("flask_llm_calls_total{")]
    assert line.endswith(" 2.0")


# OpenTelemetry


class Telemetry:
    """What an app's calls left in the SDK's exporters."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider(metric_readers=[self._reader])
        self.tracer = self.tracers.get_tracer("test")

    def watch(self, app):
        otel.instrument(app, tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self):
        """The spans that are ours."""
        found = self._exporter.get_finished_spans()
        return [span for span in found if span.instrumentation_scope.name == otel.SCOPE]

    @property
    def metrics(self):
        """Points by the metric's name."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def close(self):
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture(params=[""])
def telemetry(request, app, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", request.param)
    found = Telemetry()
    found.watch(app)
    yield found
    found.close()


latest = pytest.mark.parametrize(
    "telemetry", ["http,gen_ai_latest_experimental"], indirect=True
)


def test_span_tells_of_a_call_in_the_words_of_the_conventions(
    telemetry, emulator, provider_rows
):
    emulator.script(Answer(text="Hello", usage=USAGE | {"reasoning_tokens": 50}))

    answer = flask_llm.complete("Hi", max_tokens=300, stop="END", feature="greet")

    (span,) = telemetry.spans
    attributes = dict(span.attributes)
    port = provider_rows["openai"]["base_url"].split(":")[2].partition("/")[0]
    assert (span.name, span.kind) == ("chat gpt-4o-mini", trace.SpanKind.CLIENT)
    assert span.status.status_code is trace.StatusCode.UNSET
    assert attributes.pop("flask_llm.cost_usd") == pytest.approx(float(answer.cost_usd))
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.max_tokens": 300,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.id": answer.response_id,
        "gen_ai.response.model": answer.served_model,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "gen_ai.usage.output_tokens": 200,
        "gen_ai.usage.reasoning.output_tokens": 50,
        "server.address": "127.0.0.1",
        "server.port": int(port),
        "flask_llm.request_id": answer.request_id,
        "flask_llm.feature": "greet",
        "flask_llm.attempts": 1,
    }
    assert span.instrumentation_scope.schema_url.endswith("/schemas/1.41.0")


@pytest.mark.parametrize(
    ("model", "name"),
    [(MODELS["google"], "gcp.gemini"), (MODELS["anthropic"], "anthropic")],
)
def test_input_tokens_include_what_the_provider_counts_apart(
    telemetry, emulator, model, name
):
    emulator.script(Answer(usage=USAGE))

    flask_llm.complete("Hi", model=model)

    (span,) = telemetry.spans
    assert span.attributes["gen_ai.provider.name"] == name
    assert span.attributes["gen_ai.usage.input_tokens"] == 1000
    assert span.attributes["gen_ai.usage.cache_read.input_tokens"] == 400


def test_span_has_the_times_of_the_call(telemetry, app, emulator):
    emulator.script(Answer(text="one two three four", interval_seconds=0.03))

    list(flask_llm.stream("Hi"))

    (span,), (row,) = telemetry.spans, read_rows(app)
    duration_ms = (span.end_time - span.start_time) / 1e6
    assert duration_ms == row.duration_ms >= 90
    assert span.end_time // 1000 == round(row.finished_at.timestamp() * 1e6)
    first = span.attributes["gen_ai.response.time_to_first_chunk"]
    assert first == row.first_token_ms / 1000 < duration_ms / 1000
    assert span.attributes["gen_ai.request.stream"] is True


def test_span_hangs_below_the_one_that_the_call_began_under(telemetry, emulator):
    with telemetry.tracer.start_as_current_span("view") as parent:
        flask_llm.complete("Hi")

    (span,) = telemetry.spans
    assert span.parent == parent.get_span_context()


def test_stream_that_is_read_after_its_view_leaves_nothing_behind(
    telemetry, app, emulator
):
    with telemetry.tracer.start_as_current_span("view") as parent:
        response = flask_llm.stream_response("Hi")
        assert trace.get_current_span() is parent
    with telemetry.tracer.start_as_current_span("another view") as other:
        body = b"".join(response.response)
        assert trace.get_current_span() is other

    (span,) = telemetry.spans
    assert b"event: done" in body
    assert span.parent == parent.get_span_context()
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_stream_that_is_never_read_nor_closed_leaves_no_span_current(
    telemetry, emulator
):
    stream = flask_llm.stream("Hi")
    del stream
    gc.collect()

    assert telemetry.spans == []
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_stream_that_is_left_is_an_error_by_its_name(telemetry, emulator):
    with flask_llm.stream("Hi") as stream:
        next(stream)

    (span,) = telemetry.spans
    assert span.attributes["error.type"] == "Left"
    assert span.attributes["gen_ai.response.finish_reasons"] == ("error",)


def test_error_is_in_status_type_and_duration(telemetry, emulator):
    emulator.script(Fault(status=503), Fault(status=503))

    with pytest.raises(flask_llm.OverloadedError):
        flask_llm.complete("Hi", retries=1)

    (span,) = telemetry.spans
    (point,) = telemetry.metrics["gen_ai.client.operation.duration"]
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes["error.type"] == "OverloadedError"
    assert span.attributes["flask_llm.attempts"] == 2
    assert point.attributes["error.type"] == "OverloadedError"


def test_calls_that_reach_no_provider_have_no_span(telemetry, app, emulator):
    flask_llm.complete("Hi", cache=True)
    flask_llm.complete("Hi", cache=True)
    with pytest.raises(LLMError):
        flask_llm.complete("Hi", model="anthropic/none", timeout=1e-9)

    assert len(telemetry.spans) == 1


def test_model_that_stands_in_has_a_span_of_its_own(telemetry, emulator):
    emulator.script(Fault(status=503))

    flask_llm.complete("Hi", retries=0, fallbacks=[MODELS["google"]])

    spans = telemetry.spans
    names = [span.attributes["gen_ai.request.model"] for span in spans]
    assert names == ["gpt-4o-mini", "gemini-2.5-flash"]
    assert len({span.attributes["flask_llm.request_id"] for span in spans}) == 1


def test_spans_of_calls_side_by_side_hang_below_the_same_one(telemetry, emulator):
    with telemetry.tracer.start_as_current_span("job") as parent:
        flask_llm.complete_many(["one", "two", "three"])

    parents = [span.parent for span in telemetry.spans]
    assert parents == [parent.get_span_context()] * 3


def test_embedding_is_an_operation_of_its_own(telemetry, emulator):
    flask_llm.embed("text", dimensions=8)

    (span,) = telemetry.spans
    assert span.name == "embeddings text-embedding-3-small"
    assert span.attributes["gen_ai.embeddings.dimension.count"] == 8


@pytest.mark.parametrize("status", [None, 401, 500])
def test_span_holds_no_prompt_no_answer_and_no_key(telemetry, emulator, status):
    words = f"tut-tut {SECRET} {KEY}"
    emulator.script(
        Fault(status=status, message=words) if status else Answer(text=words)
    )

    with contextlib.suppress(LLMError):
        flask_llm.complete(SECRET, system=SECRET, user="ann", retries=0)

    shown = telemetry.spans[0].to_json() + str(telemetry.metrics)
    assert [word for word in (SECRET, KEY, "tut-tut", "ann") if word in shown] == []


def test_metrics_by_the_published_conventions(telemetry, app, emulator):
    emulator.script(Answer(usage=USAGE))

    answer = flask_llm.complete("Hi")

    metrics = telemetry.metrics
    (duration,) = metrics["gen_ai.client.operation.duration"]
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in metrics["gen_ai.client.token.usage"]
    }
    assert duration.sum == read_rows(app)[0].duration_ms / 1000
    assert duration.explicit_bounds[-1] == 81.92
    assert dict(duration.attributes)["gen_ai.request.model"] == "gpt-4o-mini"
    assert tokens == {"input": 1000, "output": 200}
    (cost,) = metrics["flask_llm.cost"]
    assert cost.value == pytest.approx(float(answer.cost_usd))
    assert "gen_ai.client.inference.duration" not in metrics


@latest
def test_newer_conventions_are_used_where_they_are_asked_for(telemetry, emulator):
    usage = USAGE | {"cache_write_tokens": 30}
    emulator.script(Answer(text="a b", usage=usage))

    list(flask_llm.stream("Hi", model=MODELS["anthropic"]))

    (span,) = telemetry.spans
    metrics = telemetry.metrics
    usage = "gen_ai.client.inference.usage"
    (read,) = metrics[f"{usage}.cache_read.input_tokens"]
    assert span.attributes["gen_ai.usage.cache_write.input_tokens"] == 30
    assert "/schemas/gen-ai/" in span.instrumentation_scope.schema_url
    assert read.value == 400
    assert read.attributes["gen_ai.token.modality"] == "unknown"
    assert metrics[f"{usage}.input_tokens"][0].value == 1000
    assert metrics["gen_ai.client.inference.operation.input_tokens"][0].sum == 1000
    assert metrics["gen_ai.client.inference.duration"][0].count == 1
    assert metrics["gen_ai.client.inference.time_to_first_chunk"][0].count == 1
    assert "gen_ai.client.token.usage" not in metrics


@pytest.mark.parametrize("first", ["instrument", "blueprint"])
def test_otel_and_the_set_up_come_in_either_order(make_app, emulator, first):
    app, telemetry = make_app(register=False), Telemetry()
    steps = [lambda: telemetry.watch(app), lambda: app.register_blueprint(llm_bp)]

    [step() for step in (steps if first == "instrument" else reversed(steps))]

    with app.app_context():
        flask_llm.complete("Hi")
    assert len(telemetry.spans) == 1
    telemetry.close()


def test_app_is_instrumented_for_otel_once(app, telemetry):
    with pytest.raises(ConfigError, match="already"):
        telemetry.watch(app)


@pytest.mark.parametrize("instrument", [otel.instrument, prometheus.instrument])
def test_app_that_is_instrumented_can_be_forgotten(instrument):
    app = Flask("gone")
    instrument(app)
    gone = weakref.ref(app)

    del app
    gc.collect()

    assert gone() is None


@pytest.mark.parametrize(
    ("instrument", "module", "extra"),
    [
        (prometheus.instrument, "prometheus_client", "flask-llm[prometheus]"),
        (otel.instrument, "opentelemetry.trace", "flask-llm[otel]"),
    ],
)
def test_missing_extra_is_named_with_its_cure(monkeypatch, instrument, module, extra):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigError, match="pip install") as raised:
        instrument(Flask("app"))

    assert extra in raised.value.message
