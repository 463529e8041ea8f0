"""One call under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask_llm.chat import Completion, Embeddings, Question
from flask_llm.guards import Lead, Slot, Taken
from flask_llm.protocols import PROTOCOLS, WireProtocol
from flask_llm.providers import Provider
from flask_llm.retry import Deadline, Retry
from flask_llm.usage import Entry
from flask_llm.wire import Call

Whole = TypeVar("Whole", Completion, Embeddings)
"""An answer that comes in one piece."""


@dataclass(slots=True, kw_only=True)
class Job:
    """What is known of a call while it lasts."""

    prompt: Question
    provider: Provider
    call: Call
    started: float
    """Seconds on the client's clock."""
    whole: Deadline
    """That of the whole call, all the models that are tried together."""
    retry: Retry
    """This model's deadline and its tries."""
    streamed: bool = False
    cached_call: Call | None = None
    """The call as it would be without streaming, where its answer may be kept."""
    first_id: str | None = None
    """The request id, where the call has had a request before: to another model, or
    with other texts."""
    entry: Entry | None = None
    queued_ms: int = 0
    """How long it has waited for one of the provider's slots."""
    first_token_ms: int | None = None
    taken: list[Taken] = field(default_factory=list)
    """What the call has taken of quotas, with all the models that were tried."""
    is_last: bool = True
    """Whether no other model stands in for this one."""
    files: dict[str, bytes] = field(default_factory=dict)
    """What has been fetched for the call, with all the models that were tried."""
    lead: Lead | None = None
    slot: Slot | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """What receivers of signals keep until the call has ended."""

    @property
    def is_further(self) -> bool:
        """Whether it goes on with a call that has been counted already."""
        return self.first_id is not None

    @property
    def sent(self) -> bool:
        """Whether any request was handed to the network."""
        return self.retry.sent

    @property
    def deadline(self) -> Deadline:
        """By when this model must have answered."""
        return self.retry.deadline

    def extend(self, seconds: float) -> None:
        """Put the deadline off."""
        self.whole.extend(seconds)
        if self.deadline is not self.whole:
            self.deadline.extend(seconds)

    def begin_answer(self) -> None:
        """Give an answer that has begun all the time there is."""
        self.deadline.extend(self.whole.remaining() - self.deadline.remaining())

    @property
    def protocol(self) -> WireProtocol:
        """The wire format that the provider speaks."""
        return PROTOCOLS[self.provider.protocol]

    @property
    def request_id(self) -> str:
        """Ours, as in the ledger."""
        return self.entry.request_id if self.entry else ""

    @property
    def attempts(self) -> int:
        """Requests that were sent."""
        return self.retry.attempts if self.sent else 0
