"""What must hold after a run: all calls are written down, and nothing has grown."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

GROWTH = 0.05
"""How much more memory than after the warm-up is none: allocators do not give back."""

GROWTH_BYTES = 4 * 1024**2
"""The same for each worker, on top of it."""

SWAY = 0.1
"""How much more threads and sockets there may be: users come and go."""

SWAY_EACH = 5
"""The same for each worker, on top of it."""

EXPECTED = {"200", "402", "429", "502", "503", "504", "broken"}
"""How requests may end while a provider fails and budgets run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What has been seen from all sides."""

    users: int
    asked: list
    """By the users: a dict for each request."""
    notes: list
    """By the app: a dict for each beginning and each end of a call."""
    rows: list
    """By the ledger."""
    errors: dict
    """In what sums, budgets and rows differ."""
    journal_is_empty: bool
    provider: dict
    """By the provider: how it counted ``requests``, those ``in_flight`` among them."""
    samples: list
    """Of the workers, second by second, while there were users."""
    workers: int
    limit_nanos: int
    """The budget of a poor tenant."""
    claimed_nanos: int
    """The most that one of them was ever seen to have spent and reserved."""
    warm_up_seconds: float
    began: dict = field(init=False)
    ended: dict = field(init=False)

    def __post_init__(self):
        began = Counter(note["id"] for note in self.notes if note["status"] is None)
        ended = {note["id"]: note for note in self.notes if note["status"]}
        object.__setattr__(self, "began", began)
        object.__setattr__(self, "ended", ended)

    @property
    def warm(self):
        """The samples after the warm-up, as two halves: before and after."""
        since = self.samples[0].at + self.warm_up_seconds
        late = [sample for sample in self.samples if sample.at >= since]
        return late[: len(late) // 2], late[len(late) // 2 :]


def problems(run):
    """Return what does not hold, a line for each; nothing at best."""
    return [line for check in CHECKS for line in check(run)]


def calls_are_written_down(run):
    settled = {row.id: row.status for row in run.rows if row.status != "pending"}
    if lost := run.began.keys() - settled.keys():
        yield f"{len(lost)} calls began and have no settled row"
    if pending := len(run.rows) - len(settled):
        yield f"{pending} rows are pending"
    told = {id_: note["status"] for id_, note in run.ended.items()}
    if told != settled:
        yield f"{len(told.items() ^ settled.items())} rows are not as calls ended"
    if not run.journal_is_empty:
        yield "rows wait in the journal"


def requests_are_written_down(run):
    sent = sum(row.attempts or 0 for row in run.rows)
    if sent != run.provider["requests"]:
        yield f"the provider had {run.provider['requests']} requests, rows say {sent}"
    if run.provider["in_flight"]:
        yield f"{run.provider['in_flight']} requests are still in flight"


def sums_are_those_of_the_rows(run):
    for name, (told, true) in run.errors.items():
        yield f"{name}: {told}, by the rows {true}"


def budgets_hold(run):
    if run.claimed_nanos > run.limit_nanos:
        yield f"{run.claimed_nanos} nano-USD claimed of a budget of {run.limit_nanos}"
    if not any(row.error_code == "budget_exceeded" for row in run.rows):
        yield "no budget was ever full: the run shows nothing of them"


def users_get_an_answer_or_a_reason(run):
    strange = Counter(one["outcome"] for one in run.asked) - Counter()
    for outcome in strange.keys() - EXPECTED:
        yield f"{strange[outcome]} x {outcome}"
    if not strange["200"]:
        yield "nobody was answered"


def workers_do_not_grow(run):
    for name, share, each in (
        ("rss_bytes", GROWTH, GROWTH_BYTES),
        ("threads", SWAY, SWAY_EACH),
        ("sockets", SWAY, SWAY_EACH),
    ):
        early, late = (median(getattr(one, name) for one in half) for half in run.warm)
        if late > early * (1 + share) + each * run.workers:
            yield f"{name} grew from {early:.0f} to {late:.0f}"


CHECKS = (
    calls_are_written_down,
    requests_are_written_down,
    sums_are_those_of_the_rows,
    budgets_hold,
    users_get_an_answer_or_a_reason,
    workers_do_not_grow,
)
