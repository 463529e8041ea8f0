"""What comes back: the answer, its pieces as they stream in, and what it used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from flask_llm.chat.message import Message, ProviderState
from flask_llm.chat.parts import Part, Text, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call. Totals are inclusive, parts are subsets of them."""

    input_tokens: int = 0
    """All of the input, cached or not."""
    cache_read_tokens: int = 0
    """Of the input: read from the provider's prompt cache."""
    cache_write_tokens: int = 0
    """Of the input: written to the provider's prompt cache."""
    cache_write_1h_tokens: int = 0
    """Of the cache writes: those that are kept for an hour (Anthropic)."""
    output_tokens: int = 0
    """All of the output, reasoning included."""
    reasoning_tokens: int = 0
    """Of the output: spent on reasoning."""
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    web_searches: int = 0
    """Searches that the provider ran and bills one by one."""
    source: str = "provider"
    """``provider``, or ``estimated`` where the provider did not say."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        """Add up what two calls used."""
        counts = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__slots__
            if name != "source"
        }
        exact = self.source == other.source == "provider"
        return Usage(**counts, source="provider" if exact else "estimated")

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return asdict(self) | {"total_tokens": self.total_tokens}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer: one of the three is set."""

    text: str = ""
    reasoning: str = ""
    tool_call: ToolCall | None = None
    """A tool call, whole: it comes when its last argument has arrived."""

    def to_dict(self) -> dict[str, Any]:
        """Return what is set as JSON."""
        if self.tool_call:
            return {"tool_call": self.tool_call.to_dict()}
        return {"reasoning": self.reasoning} if self.reasoning else {"text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's answer and everything known about it."""

    content: tuple[Part, ...] = ()
    """The parts of the answer: text and tool calls, in the model's order."""
    parsed: Any = None
    """What the answer says, in the shape of the schema that was asked for."""
    reasoning: str | None = None
    """What the model let see of its reasoning."""
    refusal: str | None = None
    """The model's own words where it declined."""
    finish_reason: str = "stop"
    """``stop tool_calls length content_filter pause error other``."""
    raw_finish_reason: str | None = None
    """The provider's own word for it."""
    usage: Usage = field(default_factory=lambda: Usage(source="estimated"))
    cost_usd: Decimal | None = None
    """None where the price is not known: unknown is never zero."""
    cost_source: str = "none"
    """Who said so: ``provider``, ``config``, ``table`` or ``none``."""
    service_tier: str | None = None
    """The tier that served the call, where the provider says."""
    provider: str = ""
    model: str = ""
    """``provider/model`` as asked for."""
    served_model: str | None = None
    """The model that answered, in the provider's words."""
    request_id: str = ""
    """Ours, as in the ledger."""
    response_id: str | None = None
    """The provider's id of the answer."""
    cached: bool = False
    """Given from our own cache; nothing was spent."""
    attempts: int = 0
    latency_ms: int = 0
    """From the call to the last byte, queueing and retries included."""
    messages: tuple[Message, ...] = field(default=(), repr=False)
    """From :func:`flask_llm.run_tools`: the history with this answer at its end."""
    provider_state: Any = field(default=None, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The provider's answer as it came, as JSON."""

    @property
    def text(self) -> str:
        """The visible text, its parts joined with nothing between."""
        return "".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model asks for."""
        return tuple(part for part in self.content if isinstance(part, ToolCall))

    def after(self, earlier: Sequence[Completion]) -> Completion:
        """Return the answer with what it and those before it used and cost together."""
        if not earlier:
            return self
        costs = [self.cost_usd, *(before.cost_usd for before in earlier)]
        known = [cost for cost in costs if cost is not None]
        return replace(
            self,
            usage=sum((before.usage for before in earlier), self.usage),
            cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
            attempts=self.attempts + sum(before.attempts for before in earlier),
            latency_ms=self.latency_ms + sum(before.latency_ms for before in earlier),
        )

    def to_message(self) -> Message:
        """Return the answer as a turn to append to the history."""
        state = None
        if self.provider_state is not None:
            name = self.model.partition("/")[2]
            state = ProviderState(self.provider, name, self.provider_state)
        return Message("assistant", self.content, state)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON; money as a decimal string."""
        return {
            "success": True,
            "content": self.text,
            "usage": self.usage.to_dict(),
            "cost_usd": None if self.cost_usd is None else format(self.cost_usd, "f"),
            "cost_source": self.cost_source,
            "tool_calls": [call.to_dict() for call in self.tool_calls],
            "reasoning": self.reasoning,
            "refusal": self.refusal,
            "finish_reason": self.finish_reason,
            "raw_finish_reason": self.raw_finish_reason,
            "provider": self.provider,
            "model": self.model,
            "served_model": self.served_model,
            "service_tier": self.service_tier,
            "request_id": self.request_id,
            "response_id": self.response_id,
            "cached": self.cached,
            "attempts": self.attempts,
            "latency_ms": self.latency_ms,
        }
