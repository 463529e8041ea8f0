"""How a batch goes: in how many polls, to which end, and what is lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from flask_llm.emulator.script import Answer, Fault, parse_item

Outcome = Literal["completed", "failed", "expired", "cancelled", "in_progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCourse:
    """Say how the next batch goes; what its lines are answered is scripted as ever.

    A batch advances when it is polled, not by the clock.

    :raises ValueError: for an outcome that there is not, and for negative counts.
    """

    polls: int | None = None
    """How many polls find the batch at work before it has ended; 0: it has ended by the
    first. The emulator's own ``batch_polls`` if left out."""
    outcome: Outcome = "completed"
    """How it ends; ``in_progress`` never does, unless it is cancelled. Anthropic has no
    batch that fails as a whole: there all its requests are errored."""
    done: int | None = None
    """How many lines, the first ones, were done when it expired or was cancelled. Left
    out: half of them, and nothing to be fetched at Google, which keeps no results of
    such a batch."""
    message: str | None = None
    """What is wrong with a batch that failed."""
    code: str | None = None
    """OpenAI: ``code`` of the error of a batch that failed."""
    line: int | None = None
    """OpenAI: the line that the error is about, from 1."""
    on_submit: Fault | None = None
    """What happens to the answer of the request that makes the batch. The batch is made
    all the same, unless the fault refuses the request by a status."""
    on_poll: Sequence[Fault | None] = ()
    """What happens to the answers of the first polls, which count as polls all the
    same; ``None`` for nothing."""
    on_results: Sequence[Fault | None] = ()
    """The same, where results are a download."""

    def __post_init__(self) -> None:
        if self.outcome not in get_args(Outcome):
            known = ", ".join(get_args(Outcome))
            raise ValueError(f"outcome {self.outcome!r} is none of {known}")
        for name in ("polls", "done"):
            count = getattr(self, name)
            if count is not None and count < 0:
                raise ValueError(f"{name} is {count}, but counts from 0")


def parse_course(data: dict[str, Any]) -> BatchCourse:
    """Read a course from JSON; the keys are the fields' names.

    :param data: faults in it are objects of their own.
    :raises ValueError: naming the keys that do not belong, or what is no course.
    """
    unknown = sorted(set(data) - _FIELDS)
    if unknown:
        raise ValueError(f"not fields of a BatchCourse: {', '.join(unknown)}")
    faults = {
        "on_submit": _fault(data.get("on_submit")),
        "on_poll": [_fault(item) for item in data.get("on_poll", ())],
        "on_results": [_fault(item) for item in data.get("on_results", ())],
    }
    return BatchCourse(**{**data, **faults})


_FIELDS = frozenset(entry.name for entry in fields(BatchCourse))


def _fault(data: dict[str, Any] | None) -> Fault | None:
    item = None if data is None else parse_item(data)
    if isinstance(item, Answer):
        raise ValueError(f"a Fault was expected, not an Answer: {data!r}")
    return item
