"""Turn an answer or a fault into bytes with pauses between them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .answers import reply
from .dialect import Ask, Dialect, Problem, Reply, dumps
from .faults import disturb
from .script import Fault, Item
from .steps import Plan, Step

_PAGE = (
    "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>"
    "<body><h1>Bad Gateway</h1><p>The proxy has lost its way.</p></body></html>"
)
_BLOCK = b"x" * 65_536


@dataclass(frozen=True, slots=True)
class Scene:
    """One request and the format that both sides of it are written in."""

    dialect: Dialect
    ask: Ask
    interval_seconds: float

    def plan(self, item: Item | None) -> Plan:
        """Lay out the whole response; ``None`` is the default answer."""
        fault = Fault(answer=item) if not isinstance(item, Fault) else item
        instead = self._instead(fault)
        plan = self._answered(fault) if instead is None else instead
        return self._finished(plan, fault)

    def disturbed(self, plan: Plan, fault: Fault) -> Plan:
        """Do to a response that was laid out elsewhere what a fault says."""
        instead = self._instead(fault)
        return self._finished(plan if instead is None else instead, fault)

    def _finished(self, plan: Plan, fault: Fault) -> Plan:
        headers = {**self.dialect.headers(self.ask.serial), **plan.headers}
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        headers.update(fault.headers)
        return disturb(replace(plan, headers=headers), fault)

    @property
    def _kind(self) -> str:
        events = self.ask.stream and self.ask.sse
        return self.dialect.stream_type if events else self.dialect.json_type

    def _instead(self, fault: Fault) -> Plan | None:
        """Lay out what a fault puts in the place of any answer."""
        if fault.redirect is not None:
            return whole("", "text/html", status=302, Location=fault.redirect)
        verbatim = self._verbatim(fault)
        if verbatim is not None:
            return verbatim
        if fault.huge_bytes is not None:
            return self._huge(fault.huge_bytes)
        if fault.refuses:
            return refusal(self.dialect, self.ask.serial, problem_of(fault))
        return None

    def _verbatim(self, fault: Fault) -> Plan | None:
        status = fault.status or 200
        kind = fault.content_type or self._kind
        if fault.body is not None:
            return whole(fault.body, kind, status=status)
        if fault.garbage:
            page = fault.content_type or "text/html; charset=utf-8"
            return whole(_PAGE, page, status=status)
        if fault.empty:
            return whole("", kind, status=status)
        if fault.wrong_shape:
            body = dumps(["not", "what", "you", "expected"])
            return whole(
                f"data: {body}\n\n" if self.ask.stream else body, kind, status=status
            )
        return None

    def _huge(self, size: int) -> Plan:
        head, tail = (b"data: ", b"\n\n") if self.ask.stream else (b'{"huge":"', b'"}')
        rest = max(0, size - len(head) - len(tail))
        count, left = divmod(rest, len(_BLOCK))
        blocks = [Step(_BLOCK)] * count  # one step, however many gigabytes
        steps = (Step(head), *blocks, Step(_BLOCK[:left]), Step(tail))
        return Plan(headers={"Content-Type": self._kind}, steps=steps, streaming=True)

    def _answered(self, fault: Fault) -> Plan:
        answer = fault.answer
        said = reply(self.ask, answer, interval_seconds=self.interval_seconds)
        if fault.usage_missing:
            said = replace(said, usage=None)
        if self.ask.stream:
            return self._streamed(said, fault)
        if fault.error_in_stream is not None:
            _, body = self.dialect.error(self.ask.serial, problem_of(fault))
        else:
            body = self.dialect.whole(self.ask, said)
        return whole(dumps(body), self.dialect.json_type)

    def _streamed(self, said: Reply, fault: Fault) -> Plan:
        frames = self.dialect.events(self.ask, said)
        pause = said.interval_seconds
        if fault.break_off:
            paced = [place for place, frame in enumerate(frames) if frame.paced]
            frames = frames[: paced[-1] if paced else 0]
        steps = [Step(frame.data, pause * frame.paced) for frame in frames]
        if fault.error_in_stream is not None:
            event = self.dialect.error_event(self.ask, problem_of(fault))
            steps = [*steps[: fault.error_in_stream], Step(event)]
        headers = {
            "Content-Type": self._kind,
            "Cache-Control": "no-cache",
            # Without it a proxy in front would hold the events back.
            "X-Accel-Buffering": "no",
        }
        return Plan(headers=headers, steps=tuple(steps), streaming=True)


def whole(body: str | bytes, kind: str, *, status: int = 200, **headers: str) -> Plan:
    """Lay out a response that is sent in one piece."""
    data = body.encode() if isinstance(body, str) else body
    return Plan(
        status=status,
        headers={"Content-Type": kind, **headers},
        steps=(Step(data),),
        content_length=len(data),
    )


def refusal(dialect: Dialect, serial: int, problem: Problem) -> Plan:
    """Lay out an error status with the provider's own body."""
    status, body = dialect.error(serial, problem)
    plan = whole(dumps(body), dialect.json_type, status=status)
    return replace(plan, headers={**dialect.headers(serial), **plan.headers})


def problem_of(fault: Fault) -> Problem:
    """Take from a fault what an error body is made of."""
    return Problem(
        status=fault.status,
        message=fault.message,
        type=fault.type,
        code=fault.code,
        out_of_quota=fault.out_of_quota,
        retry_info_seconds=fault.retry_info_seconds,
    )
