"""What every call has, whatever it asks for: whom, for whom, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The part of a call that quotas, budgets, pacing and the books go by."""

    operation: ClassVar[str] = "complete"
    """As in the ledger."""
    provider: str
    model: str
    """The provider's own name of the model, without ours in front."""
    service_tier: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Merged into the provider's JSON body as it is."""
    cache: int = 0
    """Seconds that the answer may be kept and given again; 0 asks afresh."""
    timeout: float = 30.0
    """Seconds for the whole call: queueing, retries, body and stream."""
    retries: int = 2
    user: str | None = None
    tenant: str | None = None
    feature: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_model(self) -> str:
        """``provider/model``."""
        return f"{self.provider}/{self.model}"

    def subject(self, scope: str) -> str:
        """Return whose calls a quota or a budget of a scope counts with this one.

        Calls without a user count together, and so on; ``app`` is all calls.
        """
        match scope:
            case "app":
                return ""
            case "model":
                return self.full_model
            case _:
                return getattr(self, scope) or ""
