"""What a fault does to a response that was going to be all right. Pure functions."""

from __future__ import annotations

import gzip
from dataclasses import replace

from .script import Fault
from .steps import Plan, Step

# A reset throws away what has not left the machine yet: give it time to leave.
_FLUSH_SECONDS = 0.02


def disturb(plan: Plan, fault: Fault) -> Plan:
    """Apply a fault's disturbances, from the body outwards to the connection."""
    if fault.hang:
        nothing = (Step(b"", fault.hang_seconds),)
        return replace(plan, steps=nothing, content_length=None, ending="reset")
    if fault.broken_gzip:
        plan = _broken_gzip(plan)
    if fault.cut_after is not None:
        plan = replace(plan, steps=_first(plan, fault.cut_after), content_length=None)
    if fault.reset_after is not None:
        plan = _reset(plan, fault.reset_after)
    if fault.silent_seconds:
        plan = _silent(plan, fault.silent_seconds, fault.keep_alive_seconds)
    if fault.trickle_seconds:
        plan = replace(plan, steps=_trickle(plan.steps, fault))
    if fault.delay_seconds:
        plan = replace(plan, steps=_later(plan.steps, fault.delay_seconds))
    if fault.content_length is not None:
        plan = replace(plan, content_length=fault.content_length, ending="hang_up")
    return plan


def _first(plan: Plan, count: int) -> tuple[Step, ...]:
    if plan.streaming:
        return plan.steps[:count]
    return tuple(Step(step.data[:count], step.pause_seconds) for step in plan.steps)


def _reset(plan: Plan, count: int) -> Plan:
    kept = tuple(step for step in _first(plan, count) if step.data)
    steps = (*kept, Step(b"", _FLUSH_SECONDS)) if kept else ()
    return replace(plan, steps=steps, ending="reset")


def _broken_gzip(plan: Plan) -> Plan:
    # The ten bytes of a gzip header, then a block type that deflate does not have.
    broken = gzip.compress(plan.body)[:10] + b"\xff" * 20
    return replace(
        plan,
        headers={**plan.headers, "Content-Encoding": "gzip"},
        steps=(Step(broken),),
        content_length=None if plan.streaming else len(broken),
    )


def _silent(plan: Plan, seconds: float, every: float) -> Plan:
    middle = len(plan.steps) // 2 if plan.streaming else 0
    before, after = plan.steps[:middle], plan.steps[middle:]
    events = plan.headers.get("Content-Type", "").startswith("text/event-stream")
    comment = b": keep-alive\n\n" if events else b"\n"
    count = int(seconds / every) if every else 0
    signs = (Step(comment, every),) * count
    quiet = seconds - count * every
    length = None if signs else plan.content_length
    steps = (*before, *signs, *_later(after, quiet))
    return replace(plan, steps=steps, content_length=length)


def _trickle(steps: tuple[Step, ...], fault: Fault) -> tuple[Step, ...]:
    size, pause = fault.trickle_bytes, fault.trickle_seconds
    pieces = []
    for step in steps:
        cuts = [step.data[at : at + size] for at in range(0, len(step.data), size)]
        first, *rest = cuts or [b""]
        pieces.append(Step(first, step.pause_seconds + pause))
        pieces.extend(Step(piece, pause) for piece in rest)
    return tuple(pieces)


def _later(steps: tuple[Step, ...], seconds: float) -> tuple[Step, ...]:
    if not steps:
        return (Step(b"", seconds),)
    first, *rest = steps
    return (Step(first.data, first.pause_seconds + seconds), *rest)
