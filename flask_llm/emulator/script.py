"""What the next request gets: an answer, or a fault, written by a test or a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Say what the model answers, in words that belong to no provider."""

    text: str = ""
    reasoning: str = ""
    """Thinking, shown the provider's way: a thinking block, a ``thought`` part, a
    summary, or ``reasoning_content`` as servers compatible with OpenAI name it."""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    """``{"name", "arguments"}`` each, and ``"id"`` if it matters (``None`` leaves it
    out). Arguments may be a string, for JSON that does not parse."""
    refusal: str = ""
    """OpenAI: ``message.refusal``, or a part of that type. Anthropic: ``stop_reason:
    refusal``. Google: a prompt block without candidates."""
    finish_reason: str | None = None
    """``stop``, ``length``, ``tool_calls``, ``content_filter`` or, for Anthropic and
    Google, ``pause``; any other word goes out verbatim (for Responses as the status:
    ``failed``, ``queued``). Left out: what the rest implies."""
    usage: dict[str, int] | None = None
    """Any of ``input_tokens``, ``cache_read_tokens``, ``cache_write_tokens``,
    ``cache_write_1h_tokens`` (of the writes; Anthropic's), ``output_tokens``,
    ``reasoning_tokens``: totals are inclusive, parts are subsets. What is left out is
    estimated from the texts."""
    chunks: int | Sequence[str] | None = None
    """How many pieces a stream cuts the text into, or the pieces themselves; word by
    word if left out."""
    interval_seconds: float | None = None
    """Pause before each piece of a stream; the emulator's own if left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Say what goes wrong. Fields combine; ``Fault()`` is the default answer, unharmed.

    *Events* are the stream's; where the answer is no stream, read *bytes*.
    """

    answer: Answer | None = None
    """The answer that is then disturbed; the default one if left out."""

    status: int | None = None
    """Refuse with this HTTP status and the provider's own error body."""
    message: str | None = None
    type: str | None = None
    """OpenAI and Anthropic: ``error.type``. Google: ``error.status``."""
    code: str | None = None
    """OpenAI: ``error.code``. Anthropic: ``error.details.error_code``. Google: the
    reason of an ``ErrorInfo``."""
    out_of_quota: bool = False
    """Refuse with the provider's body for an exhausted quota: waiting will not help."""
    retry_after: float | str | None = None
    """The ``Retry-After`` header, verbatim."""
    retry_info_seconds: float | None = None
    """Google only: ``retryDelay`` of a ``RetryInfo`` in the error's details."""
    headers: dict[str, str] = field(default_factory=dict)
    """More response headers, verbatim."""

    delay_seconds: float = 0.0
    """Silence before the first byte, the status line included."""
    trickle_seconds: float = 0.0
    """A pause before each small piece of the body."""
    trickle_bytes: int = 1
    """How small the pieces of a trickle are."""
    silent_seconds: float = 0.0
    """Silence in the middle of a stream, or before the body of a whole answer."""
    keep_alive_seconds: float = 0.0
    """During that silence send a comment (a whole answer: an empty line) this often."""
    hang: bool = False
    """Accept, and never answer, until the client leaves."""
    hang_seconds: float = 60.0
    """A hang ends with a reset after this long even if the client stays."""

    cut_after: int | None = None
    """End cleanly after so many events, without the stream's terminal marker."""
    break_off: bool = False
    """End a stream cleanly before the last piece of its text."""
    reset_after: int | None = None
    """Reset the connection (TCP RST) after so many events; 0: before any byte."""
    error_in_stream: int | None = None
    """An error in a 200 answer after so many events; a whole answer is nothing but the
    error. ``status``, ``type``, ``code`` and ``message`` shape it."""
    usage_missing: bool = False
    """Leave every usage count out."""

    garbage: bool = False
    """An HTML page where JSON should be; status 200 unless ``status`` is given."""
    empty: bool = False
    """No body at all; status 200 unless ``status`` is given."""
    wrong_shape: bool = False
    """JSON, but a list of strings; in a stream, one such event."""
    body: str | None = None
    """This body, verbatim; status 200 unless ``status`` is given."""
    content_type: str | None = None
    """The body's ``Content-Type``, verbatim."""
    huge_bytes: int | None = None
    """An endless-looking body (or one endless event) of this many bytes."""
    broken_gzip: bool = False
    """Announce gzip and send what does not decompress."""
    content_length: int | None = None
    """This ``Content-Length``, whatever the body's length; then hang up."""
    redirect: str | None = None
    """Answer 302 with this ``Location``."""

    @classmethod
    def quota_exhausted(cls) -> Fault:
        """Refuse as a provider whose credit or daily quota is used up."""
        return cls(out_of_quota=True)

    @property
    def refuses(self) -> bool:
        """Whether the answer is an error status with the provider's error body."""
        in_band = self.error_in_stream is not None
        return (self.status is not None or self.out_of_quota) and not in_band


Item = Answer | Fault

_ANSWER_FIELDS = frozenset(entry.name for entry in fields(Answer))
_FAULT_FIELDS = frozenset(entry.name for entry in fields(Fault))


def parse_item(data: dict[str, Any]) -> Item:
    """Read an answer or a fault from JSON; the keys are the fields' names.

    :param data: keys of :class:`Answer` or of :class:`Fault`; a fault's ``answer`` is
        an object of its own.
    :raises ValueError: naming the keys that belong to neither.
    """
    names = set(data)
    if names and names <= _ANSWER_FIELDS:
        return Answer(**data)
    unknown = sorted(names - _FAULT_FIELDS)
    if unknown:
        raise ValueError(
            f"not fields of one Answer or one Fault: {', '.join(unknown)} "
            "(an answer that is to be disturbed goes under 'answer')"
        )
    if isinstance(data.get("answer"), dict):
        data = {**data, "answer": Answer(**data["answer"])}
    return Fault(**data)
