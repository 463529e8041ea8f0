"""Model names that act by themselves, for trying faults by hand and under load.

======================== ==========================================================
``fault-<status>``       that HTTP status; ``fault-429-2`` with ``Retry-After: 2``
``quota``                the provider's body for an exhausted quota
``flaky-<percent>``      503 for so many of a hundred requests, evenly spread
``slow-<seconds>``       silence before the first byte
``silent-<seconds>``     silence in the middle
``trickle-<seconds>``    a pause before every 8 bytes
``hang``                 no answer at all, until the client leaves
``cut-<n>``              a clean end after n events; ``cut`` after 3
``reset-<n>``            a TCP reset after n events; ``reset`` before any byte
``stream-error-<n>``     an error inside the stream after n events
``garbage``, ``empty``   an HTML page; nothing
``wrong-shape``          JSON, but a list
``broken-gzip``          what does not decompress
``short-body``           a ``Content-Length`` larger than the body
``redirect``             302 to another host
``huge-<bytes>``         a body of that size; ``huge`` 10 MB
``no-usage``             an answer without usage
``refuse``, ``think``    a refusal; an answer with reasoning
``long-<words>``         an answer of so many words
======================== ==========================================================

Numbers may have decimals where they are seconds. A path before the name is ignored, so
``accounts/x/models/fault-429`` works as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .script import Answer, Fault, Item

_ELSEWHERE = "http://elsewhere.invalid/"
_Number = float | None


def acting(model: str, serial: int) -> Item | None:
    """Find what a model name stands for; ``None`` for an ordinary one.

    :param serial: the request's number, by which ``flaky`` ones take turns.
    """
    name = model.rpartition("/")[2]
    if match := re.fullmatch(r"fault-([3-5]\d\d)(?:-([\d.]+))?", name):
        return Fault(status=int(match[1]), retry_after=match[2])
    if match := re.fullmatch(r"flaky-(\d{1,3})", name):
        return _flaky(int(match[1]), serial)
    match = re.fullmatch(r"([a-z]+(?:-[a-z]+)?)(?:-(\d+(?:\.\d+)?))?", name)
    make = _ACTS.get(match[1]) if match else None
    if match is None or make is None:
        return None
    return make(None if match[2] is None else float(match[2]))


def _flaky(percent: int, serial: int) -> Fault:
    fails = serial * percent // 100 > (serial - 1) * percent // 100
    return Fault(status=503 if fails else None)


def _whole(number: _Number, default: int) -> int:
    return default if number is None else int(number)


def _words(number: _Number) -> Answer:
    return Answer(text=" ".join(f"word{n}" for n in range(1, _whole(number, 500) + 1)))


_ACTS: dict[str, Callable[[_Number], Item]] = {
    "quota": lambda _: Fault.quota_exhausted(),
    "slow": lambda n: Fault(delay_seconds=2.0 if n is None else n),
    "silent": lambda n: Fault(silent_seconds=2.0 if n is None else n),
    "trickle": lambda n: Fault(
        trickle_seconds=0.05 if n is None else n, trickle_bytes=8
    ),
    "hang": lambda n: Fault(hang=True, hang_seconds=60.0 if n is None else n),
    "cut": lambda n: Fault(cut_after=_whole(n, 3)),
    "reset": lambda n: Fault(reset_after=_whole(n, 0)),
    "stream-error": lambda n: Fault(error_in_stream=_whole(n, 3)),
    "garbage": lambda _: Fault(garbage=True),
    "empty": lambda _: Fault(empty=True),
    "wrong-shape": lambda _: Fault(wrong_shape=True),
    "broken-gzip": lambda _: Fault(broken_gzip=True),
    "short-body": lambda _: Fault(content_length=1_000_000),
    "redirect": lambda _: Fault(redirect=_ELSEWHERE),
    "huge": lambda n: Fault(huge_bytes=_whole(n, 10_000_000)),
    "no-usage": lambda _: Fault(usage_missing=True),
    "refuse": lambda _: Answer(refusal="I would rather not say."),
    "think": lambda _: Answer(text="Forty-two.", reasoning="Six times seven, surely."),
    "long": _words,
}
