"""What a report says of a run."""

from types import SimpleNamespace
from xml.etree import ElementTree as ET

from load import report
from load.checks import Run
from load.watch import Sample

MIB = 1024**2

SAMPLES = [
    Sample(
        at=1000 + second,
        rss_bytes=(400 + second) * MIB,
        threads=100,
        sockets=200,
        cpu_seconds=second / 10,
    )
    for second in range(11)
]

FOUND = Run(
    users=2,
    asked=[
        {"at": 1001, "what": "/whole", "ms": 700.4, "outcome": "200"},
        {"at": 1002, "what": "/stream", "ms": 900, "outcome": "200"},
        {"at": 1003, "what": "/stream", "ms": 3, "outcome": "402"},
    ],
    notes=[
        {
            "id": str(number),
            "status": status,
            "queued_ms": queued_ms,
            "duration_ms": 1000,
            "streamed": first_token_ms is not None,
            "first_token_ms": first_token_ms,
        }
        for number, (status, queued_ms, first_token_ms) in enumerate(
            [("ok", 0, None), ("ok", 300, 850), ("refused", 0, None)]
        )
    ],
    rows=[SimpleNamespace(status=status) for status in ("ok", "ok", "refused")],
    errors={},
    journal_is_empty=True,
    provider={"requests": 3, "in_flight": 0},
    samples=SAMPLES,
    workers=4,
    limit_nanos=1000,
    claimed_nanos=999,
    warm_up_seconds=1,
)


def test_table_says_what_was_measured():
    assert dict(report.figures(FOUND)) == {
        "calls": "3, 0.3 a second",
        "requests to the provider": "3, tries included",
        "rows by status": "2 ok, 1 refused",
        "answers that users got": "2 200, 1 402",
        "whole answers": "p50 700 ms, p95 700 ms, p99 700 ms",
        "streams": "p50 900 ms, p95 900 ms, p99 900 ms",
        "first piece of a stream": "p50 850 ms, p95 850 ms, p99 850 ms",
        "waiting for a slot": "10.0% of the calls' time",
        "CPU of the workers": "333.3 ms a call",
        "memory of 4 workers": "403, then 408 MiB",
        "their threads": "100, then 100",
        "their sockets": "200, then 200",
        "most claimed of a full budget": "999 of 1000 nano-USD",
    }
    assert report.table(FOUND).startswith("| | |\n|---|---|\n| calls | 3, 0.3 a second")


def test_picture_shows_latency_and_throughput(tmp_path):
    report.draw(FOUND, tmp_path / "load.svg")

    drawn = ET.parse(tmp_path / "load.svg")
    words = " ".join(drawn.getroot().itertext())
    assert "3 requests of 2 users" in words
    assert "p99, seconds" in words
    assert "answers a second" in words
    assert not list(drawn.iter("{http://www.w3.org/2000/svg}script"))
