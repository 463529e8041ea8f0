"""What can happen to a call, and how the call has to end then.

An ending is a row: what the provider does, and what that has to lead to, for an answer
that is asked for whole and for one that streams. ``stream_response()`` ends as a stream
does, in HTTP's words.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from endings import places
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import (
    AuthenticationError,
    ConnectionFailed,
    LLMError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
    ReadTimeout,
    ResponseError,
    ServerError,
    StreamInterrupted,
)

PROTOCOLS = {
    "chat_completions": "openai",
    "responses": "openai",
    "anthropic_messages": "anthropic",
    "generate_content": "google",
}
"""Every wire format, and a provider that speaks it."""

WAYS = ("complete", "stream", "stream_response")

RETRIES = 1
"""Tries beside the first one that every call has."""

BACKOFF_SECONDS = 0.01

CONNECT_SECONDS = 0.15

LARGEST_BYTES = 256 * 1024
"""Where answers are cut off here."""

SHORT_SECONDS = 0.5
"""The deadline of calls that are to reach it."""

BEGUN_SECONDS = 1.5
"""The deadline of one whose beginning has to come in time, on a busy machine, too."""

LONG_SECONDS = 20.0

ANSWER = Answer(
    text="".join(f"word{number} " for number in range(40)),
    chunks=40,
    usage={"input_tokens": 1000, "output_tokens": 200},
)
SAID_AFTER = {
    "chat_completions": 4,
    "responses": 8,
    "anthropic_messages": 6,
    "generate_content": 3,
}
"""Events of ANSWER after which some of its words have come, but not all."""

SHORT_BYTES = {"complete": 40, "stream": 3000, "stream_response": 3000}
"""A length that cuts ANSWER off, a stream's after some of its words."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One thing that happens, to a call of one kind, in one wire format."""

    ending: "Ending"
    way: str
    protocol: str

    @property
    def key(self):
        """A key that no other text has anything in common with."""
        return f"sk-cell-{self.ending.name}-{self.way}-{self.protocol}-9f3e7c"

    @property
    def streams(self):
        """Whether the answer is asked for as a stream."""
        return self.way != "complete"

    @property
    def end(self):
        """How the call has to end."""
        end = self.ending.streamed if self.streams else self.ending.whole
        return end.at(self.protocol)

    @property
    def fault(self):
        """What the emulator is told to do; it quotes the key wherever it can."""
        return self.ending.fault(self)

    def slower(self, times):
        """Return the same with so many times the deadline."""
        timeout = times * self.ending.timeout
        return replace(self, ending=replace(self.ending, timeout=timeout))

    def __str__(self):
        return f"{self.ending.name}-{self.way}-{self.protocol}"


@dataclass(frozen=True, kw_only=True)
class End:
    """How a call has to end."""

    error: type[LLMError] | None = None
    """The error's class; None for an answer."""
    code: str | None = None
    """The code in error and row; None where it is the provider's own word."""
    status: int | Mapping[str, int] | None = None
    """The status that the provider answered with, where it refused; by protocol where
    they differ."""
    attempts: int = 1
    """Requests that are sent in all, where every one of them ends so."""
    charge: str = "answer"
    """What budgets are charged: ``nothing``; the ``answer``, or as much of it as came;
    or the ``worst`` that was reserved, since nobody knows."""
    estimated: bool = False
    """Whether the tokens are ours to guess."""
    retry_after: tuple[float, float] | None = None
    """Between how many seconds the provider asks to be left alone."""

    def at(self, protocol):
        """Return the same end with what one wire format makes of it."""
        if isinstance(self.status, Mapping):
            return replace(self, status=self.status[protocol])
        return self


@dataclass(frozen=True, kw_only=True)
class Ending:
    """One thing that can happen to a call, and how it has to end then."""

    name: str
    whole: End
    streamed: End
    fault: Callable[[Cell], Fault] | None = None
    """What the emulator does each time."""
    place: Callable[..., AbstractContextManager[str]] | None = None
    """Where there is something else than the emulator, in its place."""
    timeout: float = LONG_SECONDS
    """Seconds that the call has."""
    silent: bool = False
    """Whether a stream brings no word for longer than a heartbeat."""
    passes: bool = False
    """Whether another try helps, where it happens only once."""


def both(**facts):
    """Describe an end that is the same for whole answers and for streams."""
    end = End(**facts)
    return {"whole": end, "streamed": end}


def broken(whole, **facts):
    """Describe a stream that breaks off after some words, and the whole answer's end.

    What came of a stream is counted and charged; of a whole answer nobody knows.
    """
    streamed = End(error=StreamInterrupted, charge="answer", estimated=True, **facts)
    return {"whole": whole, "streamed": streamed}


ANSWERED = End()
LATE = End(error=ReadTimeout, code="read_timeout", charge="worst")
CUT = End(error=ConnectionFailed, code="answer_cut", charge="worst")
UNREADABLE = End(error=ResponseError, code="unreadable_answer", charge="worst")
UNREADABLE_BOTH = {"whole": UNREADABLE, "streamed": UNREADABLE}


def unreached(code, attempts=1 + RETRIES):
    """Describe a provider that no request has come to: nothing can be billed."""
    return both(error=ConnectionFailed, code=code, attempts=attempts, charge="nothing")


def refusing(error, status, attempts=1 + RETRIES, **facts):
    """Describe a refusal, which is not billed."""
    return both(
        error=error, status=status, attempts=attempts, charge="nothing", **facts
    )


def rate_limited(name, header, low, high, attempts=1 + RETRIES):
    """Describe a rate limit whose ``Retry-After`` is made when it is sent."""
    return Ending(
        name=name,
        fault=lambda cell: Fault(
            status=429, retry_after=header(), message=f"Slower, {cell.key}"
        ),
        passes=attempts > 1,
        **refusing(RateLimitError, 429, attempts, retry_after=(low, high)),
    )


def status(code, error):
    """Describe a status that the provider answers with in its own words."""
    return Ending(
        name=f"status_{code}",
        fault=lambda cell: Fault(status=code, message=f"Broken for {cell.key}"),
        passes=True,
        **refusing(error, code),
    )


def in_seven_seconds():
    """Write an HTTP date."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=7), usegmt=True)


FULL = {
    "chat_completions": 503,
    "responses": 503,
    "anthropic_messages": 529,
    "generate_content": 503,
}
"""The status by whose words a provider says that it is overloaded."""

FULL_WITHIN = {
    "chat_completions": 200,
    "responses": 200,
    "anthropic_messages": 200,
    "generate_content": 503,  # which is in the body, too
}
"""The status of such an error, where it is told within an answer."""

FAILED_WITHIN = End(
    error=OverloadedError,
    status=FULL_WITHIN,
    attempts=1 + RETRIES,
    charge="nothing",
)


def full(cell, after):
    """Say after some events of an answer that there is no capacity."""
    return Fault(
        answer=ANSWER,
        error_in_stream=after,
        status=FULL[cell.protocol],
        message=f"Full for {cell.key}",
    )


def always(**facts):
    """Make what is the same in every cell."""
    return lambda _: Fault(**facts)


def unreadable(name, body):
    """Describe JSON that is no answer, as a server may send that echoes requests.

    :param body: makes it for a cell.
    """

    def fault(cell):
        text = json.dumps(body(cell))
        return Fault(body=f"data: {text}\n\n" if cell.streams else text)

    return Ending(name=name, fault=fault, whole=UNREADABLE, streamed=UNREADABLE)


def misshapen(cell):
    """Write an answer that has the right fields, and in them what does not fit."""
    return {
        "choices": cell.key,
        "output": [cell.key],
        "content": [cell.key],
        "candidates": cell.key,
    }


def page(cell):
    """Write what a proxy or a captive portal sends."""
    return f"<!DOCTYPE html><html><body>Who is {cell.key}?</body></html>"


ENDINGS = (
    # --- No connection ---------------------------------------------------------
    Ending(name="refused", place=places.nobody, **unreached("connect_refused")),
    Ending(name="dns_failure", place=places.nameless, **unreached("dns_failed")),
    Ending(
        name="dns_silence",
        place=places.unheard_of,
        timeout=SHORT_SECONDS,
        **unreached("dns_failed", attempts=1),
    ),
    Ending(name="tls_failure", place=places.unvouched, **unreached("tls_failed", 1)),
    Ending(name="tls_silence", place=places.mute, **unreached("connect_timeout")),
    Ending(name="tls_broken_off", place=places.curt, **unreached("connect_refused")),
    Ending(name="connect_timeout", place=places.deaf, **unreached("connect_timeout")),
    # --- No answer -------------------------------------------------------------
    Ending(
        name="read_timeout",
        fault=always(hang=True),
        timeout=SHORT_SECONDS,
        whole=LATE,
        streamed=LATE,
    ),
    Ending(
        name="reset_after_request",
        fault=always(reset_after=0),
        **both(error=ConnectionFailed, code="connection_reset", charge="worst"),
    ),
    # --- Half an answer --------------------------------------------------------
    Ending(
        name="reset_in_mid_body",
        fault=lambda cell: Fault(answer=ANSWER, reset_after=SAID_AFTER[cell.protocol]),
        **broken(CUT, code="answer_cut"),
    ),
    Ending(
        name="body_cut_short",
        fault=lambda cell: Fault(
            answer=ANSWER,
            cut_after=SAID_AFTER[cell.protocol],
            content_length=LARGEST_BYTES,
        ),
        **broken(CUT, code="answer_cut"),
    ),
    Ending(
        name="trickle",
        fault=lambda cell: Fault(
            answer=ANSWER,
            trickle_seconds=0.03,
            trickle_bytes=LARGEST_BYTES if cell.streams else 1,
        ),
        timeout=SHORT_SECONDS,
        **broken(LATE, code="read_timeout"),
    ),
    Ending(
        name="content_length_too_long",
        fault=always(answer=ANSWER, content_length=LARGEST_BYTES),
        whole=CUT,
        streamed=ANSWERED,  # its end marker has come
    ),
    Ending(
        name="content_length_too_short",
        fault=lambda cell: Fault(answer=ANSWER, content_length=SHORT_BYTES[cell.way]),
        **broken(UNREADABLE, code="unreadable_answer"),
    ),
    Ending(
        name="no_terminal_marker",
        fault=lambda cell: Fault(answer=ANSWER, cut_after=SAID_AFTER[cell.protocol]),
        **broken(UNREADABLE, code="unreadable_answer"),
    ),
    Ending(
        name="silent_for_a_minute",
        fault=always(answer=ANSWER, silent_seconds=60),
        timeout=BEGUN_SECONDS,
        silent=True,
        **broken(LATE, code="read_timeout"),
    ),
    Ending(
        name="kept_alive_for_a_minute",
        fault=always(answer=ANSWER, silent_seconds=60, keep_alive_seconds=0.05),
        timeout=BEGUN_SECONDS,
        silent=True,
        **broken(LATE, code="read_timeout"),
    ),
    # --- No answer in what came ------------------------------------------------
    Ending(
        name="gzip_broken",
        fault=always(broken_gzip=True),
        **UNREADABLE_BOTH,
    ),
    Ending(name="html", fault=lambda cell: Fault(body=page(cell)), **UNREADABLE_BOTH),
    Ending(name="empty", fault=always(empty=True), **UNREADABLE_BOTH),
    unreadable("another_shape", lambda cell: {"headers": {"x-api-key": cell.key}}),
    unreadable("another_shape_within", misshapen),
    unreadable("list_of_texts", lambda cell: [cell.key]),
    Ending(
        name="comments_only",
        fault=lambda cell: Fault(body=": keep-alive\n\n" if cell.streams else "\n\n"),
        **UNREADABLE_BOTH,
    ),
    Ending(
        name="four_gigabytes",
        fault=always(huge_bytes=4 * 1024**3),
        **both(error=ResponseError, code="answer_too_large", charge="worst"),
    ),
    # --- Refusals --------------------------------------------------------------
    Ending(
        name="rate_limited",
        fault=lambda cell: Fault(status=429, message=f"Slower, {cell.key}"),
        passes=True,
        **refusing(RateLimitError, 429),
    ),
    rate_limited("retry_after_seconds", lambda: 7, 7, 7),
    rate_limited("retry_after_date", in_seven_seconds, 1, 7),
    rate_limited("retry_after_float", lambda: "1.5", 1.5, 1.5),
    rate_limited("retry_after_hours", lambda: 7200, 7200, 7200, attempts=1),
    Ending(
        name="unauthorized",
        fault=lambda cell: Fault(status=401, message=f"Incorrect key: {cell.key}"),
        **refusing(AuthenticationError, 401, attempts=1),
    ),
    status(500, ServerError),
    Ending(
        name="status_502",  # which is a proxy's, and in HTML
        fault=lambda cell: Fault(status=502, body=page(cell)),
        passes=True,
        **refusing(ServerError, 502),
    ),
    status(503, OverloadedError),
    status(504, ServerError),
    status(529, OverloadedError),
    Ending(
        name="insufficient_quota",
        fault=always(out_of_quota=True),
        **refusing(QuotaExhaustedError, 429, attempts=1),
    ),
    # --- Errors within answers -------------------------------------------------
    Ending(
        name="error_in_a_200",
        fault=lambda cell: full(cell, after=0),
        passes=True,
        whole=FAILED_WITHIN,
        streamed=FAILED_WITHIN,
    ),
    Ending(
        name="error_in_mid_stream",
        fault=lambda cell: full(cell, after=SAID_AFTER[cell.protocol]),
        **broken(FAILED_WITHIN, status=FULL_WITHIN),
    ),
    # --- An answer that lacks something ----------------------------------------
    Ending(
        name="usage_missing",
        fault=always(answer=ANSWER, usage_missing=True),
        **both(estimated=True),
    ),
)

CELLS = tuple(
    Cell(ending=ending, way=way, protocol=protocol)
    for ending in ENDINGS
    for way in WAYS
    for protocol in PROTOCOLS
)
