"""One call under way."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask_llm.chat import Prompt
from flask_llm.guards import Slot
from flask_llm.protocols import PROTOCOLS, WireProtocol
from flask_llm.providers import Provider
from flask_llm.retry import Retry
from flask_llm.usage import Entry
from flask_llm.wire import Call


@dataclass(slots=True, kw_only=True)
class Job:
    """What is known of a call while it lasts."""

    prompt: Prompt
    provider: Provider
    call: Call
    started: float
    """Seconds on the client's clock."""
    streamed: bool = False
    retry: Retry = field(default_factory=Retry)
    """Deadline and tries; begun when the row is written."""
    cache_key: str | None = None
    entry: Entry | None = None
    sent: bool = False
    first_token_ms: int | None = None
    slot: Slot | None = None

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
