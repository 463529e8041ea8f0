"""What the formats of batches share: their shape, and how to read times and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from flask_llm.protocols.base import string
from flask_llm.wire import Call, Reply

Requests = Mapping[str, Call]
"""The calls of a batch by the name that each result comes back with."""

WINDOW_SECONDS = 24 * 3600
"""Within which all three providers answer, or give up."""


@dataclass(frozen=True, slots=True)
class BatchCaps:
    """What one batch may hold."""

    prompts: int
    size_bytes: int
    window_seconds: int = WINDOW_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """A batch as the provider tells of it, in our own words."""

    provider_id: str
    status: str
    """As in :class:`flask_llm.chat.Batch`."""
    name: str | None = None
    """What we called it, where the provider keeps that."""
    prompts: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None
    problem: Reply | None = None
    """Why the whole batch failed."""
    files: tuple[str, ...] = ()
    """What its results are in."""
    inlined: tuple[Mapping[str, Any], ...] = ()
    """Results that came with the state."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one prompt."""

    key: str
    reply: Reply | None = None
    """What the provider would have answered to the call by itself."""
    left: str | None = None
    """``expired`` or ``cancelled``, where it was not worked on."""


class BatchFormat(Protocol):
    """A wire format for batches: pure functions, no network, no clock."""

    CAPS: BatchCaps
    KEEPS_NAMES: bool
    """Whether a batch can be found by the name that we gave it."""

    def upload(self, batch_id: str, requests: Requests) -> Call | None:
        """Return what hands the prompts over beforehand, where that is needed."""

    def create(
        self, batch_id: str, requests: Requests, uploaded: Mapping[str, Any] | None
    ) -> Call:
        """Return what begins a batch.

        :param uploaded: the answer to the upload.
        """

    def look(self, provider_id: str) -> Call:
        """Return what asks for a batch's state."""

    def cancel(self, provider_id: str) -> Call:
        """Return what asks to give a batch up."""

    def listing(self, after: str | None) -> Call:
        """Return what asks for the account's batches, the newest first.

        :param after: where the page before it ended.
        """

    def listed(self, raw: Mapping[str, Any]) -> tuple[list[BatchState], str | None]:
        """Read a page of batches, and where it ended if there are more.

        :raises ResponseError: where it is of no shape that a page has.
        """

    def state(self, raw: Mapping[str, Any]) -> BatchState:
        """Read a batch's state.

        :raises ResponseError: where it is of no shape that a batch has.
        """

    def answers(self, state: BatchState) -> Iterable[Call]:
        """Return what fetches the results that did not come with the state."""

    def result(self, raw: Mapping[str, Any]) -> Result:
        """Read one line of the results.

        :raises ResponseError: where it is of no shape that a result has.
        """


def moment(value: object) -> datetime | None:
    """Read a time as OpenAI (seconds since 1970) or the others (RFC 3339) write it."""
    if isinstance(value, str) and value:
        return datetime.fromisoformat(value).astimezone(UTC)
    if isinstance(value, int) and value:
        return datetime.fromtimestamp(value, UTC)
    return None


def number(value: object) -> int | None:
    """Read a count; Google writes those of 64 bits as strings."""
    return None if value is None else int(str(value))


_REFERENCE_LENGTH_MAX = 200


def reference(value: object) -> str:
    """Insist on an id that goes into addresses and into a column of the table."""
    text = string(value)
    if not 0 < len(text) <= _REFERENCE_LENGTH_MAX or not text.isprintable():
        raise ValueError
    return text
