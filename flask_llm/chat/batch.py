"""Many prompts handed over at once, to be answered within a day."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

OVER = frozenset({"ended", "cancelled", "expired", "failed"})
"""States that do not change any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as it stood when it was last looked at."""

    id: str
    """Ours: the ``request_id`` of all its rows in the ledger."""
    status: str
    """``preparing`` until the provider is known to have it, then ``submitted``,
    ``running``, ``cancelling``; at last ``ended``, or ``cancelled`` or ``expired``
    where prompts were left over, or ``failed`` where the provider took none of it."""
    model: str
    """``provider/model``."""
    prompts: int
    """How many there are."""
    succeeded: int | None = None
    """Of them: answered, as far as the provider says."""
    failed: int | None = None
    """Of them: not answered and not waiting either, as far as the provider says."""
    provider_id: str | None = None
    """What the provider calls it."""
    created_at: datetime
    ended_at: datetime | None = None
    expires_at: datetime
    """After which it is written down at the most that it may have cost, unless its
    results have been fetched."""
    is_settled: bool = False
    """Whether its results have been fetched, and what they cost is written down."""
    cost_usd: Decimal | None = None
    """What all of it cost; None until it is settled, and where a price is unknown."""
    error_code: str | None = None
    """Why it failed."""

    @property
    def is_over(self) -> bool:
        """Whether its results can be fetched."""
        return self.status in OVER

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON; money as a decimal string, times in ISO 8601."""
        fields = asdict(self) | {
            "cost_usd": None if self.cost_usd is None else format(self.cost_usd, "f")
        }
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in fields.items()
        }
