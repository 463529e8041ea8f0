"""Names that become labels: a bounded number of them, whatever callers send."""

from __future__ import annotations

MODELS_MAX = 100
"""Models that have series of their own; each further one counts as ``other``."""

OTHER = "other"


class Names:
    """Keeps the number of different labels down.

    A model's name may come from outside, and each new one would be a new series that a
    metrics server keeps for ever.
    """

    def __init__(self, size_max: int = MODELS_MAX) -> None:
        self._size_max = size_max
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """Return a name, or ``other`` once there are too many."""
        if name in self._known:
            return name
        # Threads that come at once may let one or two more in.
        if len(self._known) >= self._size_max:
            return OTHER
        self._known.add(name)
        return name
