"""The checks of a load test find what they are for."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from load.checks import Run, problems
from load.watch import Sample

MIB = 1024**2


def row(id_, status="ok", **facts):
    known = {"id": id_, "status": status, "attempts": 1, "error_code": None}
    return SimpleNamespace(**(known | facts))


def sample(at, **facts):
    known = {
        "rss_bytes": 400 * MIB,
        "threads": 100,
        "sockets": 200,
        "cpu_seconds": at,
    }
    return Sample(at=at, **(known | facts))


REFUSED = row("b", "refused", attempts=0, error_code="budget_exceeded")

NOTES = [
    {"id": "a", "status": None},
    {"id": "a", "status": "ok"},
    {"id": "b", "status": "refused"},
]

GOOD = Run(
    users=2,
    asked=[{"outcome": "200"}, {"outcome": "402"}],
    notes=NOTES,
    rows=[row("a"), REFUSED],
    errors={},
    journal_is_empty=True,
    provider={"requests": 1, "in_flight": 0},
    samples=[sample(at) for at in range(10)],
    workers=4,
    limit_nanos=1000,
    claimed_nanos=1000,
    warm_up_seconds=2,
)


def grown(name, to):
    """Return samples of which the second half has more of something."""
    return [sample(at, **({name: to} if at > 5 else {})) for at in range(10)]


WRONG = {
    "1 calls began and have no settled row": {
        "notes": [*NOTES, {"id": "c", "status": None}]
    },
    "1 rows are pending": {
        "rows": [*GOOD.rows, row("c", "pending", attempts=0)],
    },
    "2 rows are not as calls ended": {
        "rows": [row("a", "failed"), REFUSED],
    },
    "rows wait in the journal": {"journal_is_empty": False},
    "the provider had 2 requests, rows say 1": {
        "provider": {"requests": 2, "in_flight": 0}
    },
    "1 requests are still in flight": {"provider": {"requests": 1, "in_flight": 1}},
    "spent: 3, by the rows 4": {"errors": {"spent": (3, 4)}},
    "1001 nano-USD claimed of a budget of 1000": {"claimed_nanos": 1001},
    "no budget was ever full: the run shows nothing of them": {
        "rows": [row("a"), row("b", "refused", attempts=0)]
    },
    "1 x 500": {"asked": [*GOOD.asked, {"outcome": "500"}]},
    "nobody was answered": {"asked": [{"outcome": "402"}]},
    f"rss_bytes grew from {400 * MIB} to {440 * MIB}": {
        "samples": grown("rss_bytes", 440 * MIB)
    },
    "threads grew from 100 to 131": {"samples": grown("threads", 131)},
    "sockets grew from 200 to 241": {"samples": grown("sockets", 241)},
}


def test_a_good_run_has_no_problems():
    assert problems(GOOD) == []


@pytest.mark.parametrize("problem", WRONG)
def test_a_problem_is_found(problem):
    assert problems(replace(GOOD, **WRONG[problem])) == [problem]


@pytest.mark.parametrize(
    ("name", "to"), [("rss_bytes", 435 * MIB), ("threads", 130), ("sockets", 240)]
)
def test_a_little_more_is_no_growth(name, to):
    assert problems(replace(GOOD, samples=grown(name, to))) == []
