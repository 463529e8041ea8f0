"""Lists in pages, by an id to go on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .batch import Batch


def after(batches: Sequence[Batch], ident: str | None) -> Sequence[Batch] | None:
    """Take what comes after an id; all without one, ``None`` if it is unknown."""
    if not ident:
        return batches
    for place, batch in enumerate(batches, start=1):
        if batch.id == ident:
            return batches[place:]
    return None


def size(given: str | None, *, usual: int, most: int) -> int | None:
    """Read the size of a page; ``None`` if it is no number within the limits."""
    if given is None:
        return usual
    number = int(given) if given.isdecimal() else 0
    return number if 1 <= number <= most else None


def ends(shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Name the first and the last of a page, as OpenAI and Anthropic do."""
    return {
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }
