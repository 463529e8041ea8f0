"""A response laid out in time: which bytes, after which pauses, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes, and the silence before them."""

    data: bytes
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A response before it is played."""

    steps: tuple[Step, ...]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    streaming: bool = False
    """Whether steps are events; otherwise the one step is a whole body."""
    content_length: int | None = None
    """Announced length; chunked if ``None``."""
    ending: Literal["clean", "reset", "hang_up"] = "clean"
    """Whether the server may go on with the connection, or it is reset or closed."""

    @property
    def body(self) -> bytes:
        """All bytes at once."""
        return b"".join(step.data for step in self.steps)
