"""Percentiles read off a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from flask_llm.usage.models import LATENCY_MS


def percentile(
    counts: Sequence[int], timed: int, share: int, longest_ms: int
) -> int | None:
    """Return the milliseconds that ``share`` % of the calls did not exceed.

    As in Prometheus's ``histogram_quantile``, calls are taken to lie evenly in their
    class; the figure is in the class where the true one is, and never above the
    longest.

    :param counts: calls by class; the rest of ``timed`` took longer than all of them.
    """
    if not timed:
        return None
    wanted = -(-timed * share // 100)
    below = 0
    for count, (start, end) in zip(counts, pairwise((0, *LATENCY_MS)), strict=True):
        if below + count >= wanted:
            end = min(end, longest_ms + 1)  # noqa: PLW2901 - the class ends there
            return min(start + (end - start) * (wanted - below) // count, end - 1)
        below += count
    start = LATENCY_MS[-1]
    return start + (longest_ms - start) * (wanted - below) // (timed - below)
