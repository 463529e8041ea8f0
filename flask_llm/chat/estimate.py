"""What a call would take: tokens, and what they can cost at most."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one request would take, reckoned before it is sent."""

    model: str
    """``provider/model``."""
    input_tokens: int
    """Of the prompt with tools, schema and history; ``source`` says how well known."""
    max_output_tokens: int | None
    """The most that the answer can have, reasoning included; None where nothing caps
    it."""
    input_cost_usd: Decimal | None
    """What the input can cost at most; None where the price is not known."""
    max_cost_usd: Decimal | None
    """What the whole request can cost at most; None where the price is not known or
    nothing caps the answer."""
    source: str
    """Who counted: ``provider``, ``tiktoken``, or ``bound``, which is none at all: as
    many tokens as there are bytes, so the true number is below it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON; money as decimal strings."""
        return asdict(self) | {
            name: None if usd is None else format(usd, "f")
            for name, usd in (
                ("input_cost_usd", self.input_cost_usd),
                ("max_cost_usd", self.max_cost_usd),
            )
        }
