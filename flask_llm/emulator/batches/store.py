"""Batches in memory, each found by its owner alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from .batch import Batch


class Store:
    """Keep batches under one lock; they are values, so whoever reads holds none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: dict[str, Batch] = {}
        self._made = 0

    def number(self) -> int:
        """Count one more batch; returns its number, from 1."""
        with self._lock:
            self._made += 1
            return self._made

    def add(self, batch: Batch) -> None:
        """Keep a new one."""
        with self._lock:
            self._batches[batch.id] = batch

    def change(
        self, owner: str, ident: str, change: Callable[[Batch], Batch]
    ) -> tuple[Batch, Batch] | None:
        """Put a batch's next moment in its place; returns it before and after.

        ``None`` if the owner has no batch of that id.
        """
        with self._lock:
            before = self._batches.get(ident)
            if before is None or before.owner != owner:
                return None
            after = self._batches[ident] = change(before)
            return before, after

    def remove(self, ident: str) -> None:
        """Forget a batch."""
        with self._lock:
            self._batches.pop(ident, None)

    def of(self, owner: str) -> Sequence[Batch]:
        """All of an owner's batches, the newest first."""
        with self._lock:
            return [b for b in reversed(self._batches.values()) if b.owner == owner]

    def clear(self) -> None:
        """Forget all of them; numbers go on, so that no id comes twice."""
        with self._lock:
            self._batches.clear()
