"""What the batch endpoints of all providers have in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from flask_llm.emulator.dialect import Ask, Call, Dialect, Problem, RejectedError, dumps
from flask_llm.emulator.plan import Scene, refusal, whole
from flask_llm.emulator.script import Fault
from flask_llm.emulator.steps import Plan

from .batch import Batch, Result, fault_at
from .course import BatchCourse
from .store import Store

_LINES = 1_000_000
"""More lines than a batch can have: a line's serial is its own among all batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the endpoints need of the emulator they belong to."""

    check_key: Callable[[Dialect, Call], None]
    answer: Callable[[Dialect, Call], Plan]
    """What a single call gets; a batch's line gets the same."""
    course: Callable[[str], BatchCourse | None]
    """Take from the script how a batch that begins with this model goes."""
    clock: Callable[[], float]
    polls: int


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch."""

    key: Any
    """What its owner calls it."""
    dialect: Dialect
    model: str
    body: Mapping[str, Any]
    verb: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A batch that has been asked for and not been made."""

    prefix: str
    """What its id begins with."""
    lines: Sequence[Line]
    request: Mapping[str, Any]
    """What its provider shows of the request."""
    errors: Sequence[Mapping[str, Any]] = ()
    """What is wrong with the whole, which then fails."""


class Desk(ABC):
    """A provider's batch endpoints: each handler takes a call and lays out a response.

    Handlers raise :class:`RejectedError` for what the provider would refuse.
    """

    dialect: ClassVar[Dialect]

    def __init__(self, house: House) -> None:
        self._house = house
        self._store = Store()

    def serve(self, handle: Callable[[Call], Plan], call: Call) -> Plan:
        """Hold the key against the emulator's, and write refusals as errors."""
        try:
            self._house.check_key(self.dialect, call)
            return handle(call)
        except RejectedError as rejected:
            return refusal(self.dialect, call.serial, rejected.problem)

    def reset(self) -> None:
        """Forget everything that was made here."""
        self._store.clear()

    def _check_readable(self, call: Call) -> None:
        if not call.readable:
            raise RejectedError(self.dialect.malformed)

    def _owner(self, call: Call) -> str:
        return self.dialect.key(call)

    def _submit(
        self, call: Call, draft: Draft, show: Callable[[Batch], dict[str, Any]]
    ) -> Plan:
        """Make a batch and tell of it, as far as the script lets it be told."""
        first = draft.lines[0].model if draft.lines else ""
        course = self._house.course(first) or BatchCourse()
        fault = course.on_submit
        if fault is not None and fault.refuses:
            return self._told(call, {}, fault)
        batch = self._made(call, draft, course)
        self._store.add(batch)
        return self._told(call, show(batch.opening), fault)

    def _made(self, call: Call, draft: Draft, course: BatchCourse) -> Batch:
        if draft.errors:
            course = replace(course, outcome="failed")
        number = self._store.number()
        return Batch(
            id=f"{draft.prefix}{number:024x}",
            owner=self._owner(call),
            created=int(self._house.clock()),
            course=course,
            polls=self._house.polls if course.polls is None else course.polls,
            request=draft.request,
            keys=[line.key for line in draft.lines],
            results=self._results(call, draft.lines, course, number * _LINES),
            errors=draft.errors,
        )

    def _results(
        self, call: Call, lines: Sequence[Line], course: BatchCourse, serial: int
    ) -> list[Result]:
        """Answer the lines that will be done, in order.

        :param serial: the number before the first line's.
        """
        answered = lines[: _answered(course, len(lines))]
        return [
            self._result(call, line, number)
            for number, line in enumerate(answered, start=serial + 1)
        ]

    def _result(self, call: Call, line: Line, serial: int) -> Result:
        if line.body.get("stream") is True:
            problem = Problem(
                status=400, message="stream: not supported in a batch", param="stream"
            )
            return Result(*line.dialect.error(serial, problem))
        alone = replace(
            call,
            model=line.model,
            verb=line.verb,
            body=dict(line.body),
            serial=serial,
            readable=True,
        )
        plan = self._house.answer(line.dialect, alone)
        body = _object(plan.body) if plan.ending == "clean" else None
        if body is None:
            # Whatever kept a single call from its answer: here nobody is on the line.
            return Result(*line.dialect.error(serial, Problem(status=500)))
        return Result(plan.status, body)

    def _poll(self, call: Call, ident: str) -> tuple[Batch, Fault | None]:
        before, after = self._changed(call, ident, Batch.poll)
        return after, fault_at(before.course.on_poll, before.polled)

    def _fetch(self, call: Call, ident: str) -> tuple[Batch, Fault | None]:
        before, after = self._changed(call, ident, Batch.fetch)
        return after, fault_at(before.course.on_results, before.fetched)

    def _cancel(self, call: Call, ident: str) -> tuple[Batch, Batch]:
        return self._changed(call, ident, Batch.cancel)

    def _found(self, call: Call, ident: str) -> Batch:
        return self._changed(call, ident, lambda batch: batch)[1]

    def _changed(
        self, call: Call, ident: str, change: Callable[[Batch], Batch]
    ) -> tuple[Batch, Batch]:
        moments = self._store.change(self._owner(call), ident, change)
        if moments is None:
            raise RejectedError(self._no_batch(ident))
        return moments

    @abstractmethod
    def _no_batch(self, ident: str) -> Problem:
        """Write what an id gets that the owner has no batch of."""

    def _told(
        self, call: Call, body: Mapping[str, Any], fault: Fault | None = None
    ) -> Plan:
        """Lay out a JSON body, with what a fault does to it."""
        return self._sent(call, whole(dumps(body), self.dialect.json_type), fault)

    def _lines_told(
        self, call: Call, items: Iterable[object], fault: Fault | None
    ) -> Plan:
        """Lay out a download of JSON lines."""
        text = "".join(f"{dumps(item)}\n" for item in items)
        return self._sent(call, whole(text, "application/x-jsonl"), fault)

    def _sent(self, call: Call, plan: Plan, fault: Fault | None) -> Plan:
        ask = Ask(model="", serial=call.serial, stream=False, input_tokens=0)
        return Scene(self.dialect, ask, 0.0).disturbed(plan, fault or Fault())


def _answered(course: BatchCourse, count: int) -> int:
    if course.outcome == "failed":
        return 0
    if course.outcome in ("expired", "cancelled"):
        return min(count // 2 if course.done is None else course.done, count)
    return count


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
