"""Claude's models: which of them takes what.

Source: https://platform.claude.com/docs/en/about-claude/models, as of November 2026.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(
    r"claude-(?:(\d)(?:[-.](\d))?-)?([a-z]+)(?:-(\d{1,2})(?!\d))?(?:[-.](\d{1,2})(?!\d))?"
)
"""``claude-opus-4-6`` and ``claude-3-5-haiku-20241022``: family and generation."""

_NEWEST = (99, 0)

LEAST_BUDGET = 1_024
"""Tokens that thinking must be given, where it is given a number of them."""

BUDGETS = {
    "minimal": LEAST_BUDGET,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
}
"""Efforts in tokens, for models that know no efforts."""

LEAST_MAX_TOKENS = 32_000
"""What every model that thinks with a number of tokens can put out: Opus 4 no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a model takes; what is unknown counts as the newest."""

    sampling: bool
    """Whether it takes ``temperature``, ``top_p`` and ``top_k``, by the older version
    of the API."""
    schema: bool
    """Whether an answer can be held to a schema."""
    asides: bool
    """Whether system messages may stand inside the conversation."""
    budget: bool
    """Whether it thinks by a number of tokens; else by an effort, adaptively."""
    takes_budget: bool
    """Whether it takes a number of tokens, be it for the last time."""
    xhigh: bool
    """Whether it knows this effort; ``max`` comes next."""
    off: str | None
    """The kind of thinking that comes nearest to none; None where it always thinks."""

    def effort(self, asked: str) -> str:
        """Return the model's word for an effort."""
        if asked == "minimal":
            return "low"
        return "max" if asked == "xhigh" and not self.xhigh else asked


def traits(model: str) -> Traits:
    """Tell what a model takes from its name."""
    family, generation = _read(model)
    return Traits(
        sampling=generation <= (4, 6),
        schema=generation >= (4, 5),
        asides=generation >= (4, 8),
        budget=generation <= (4, 5),
        takes_budget=generation <= (4, 6),
        xhigh=generation != (4, 6),
        off=_off(family, generation),
    )


def _off(family: str, generation: tuple[int, int]) -> str | None:
    if family in {"fable", "mythos"} or (family, generation) == ("opus", (5, 5)):
        return None
    if (family, generation) == ("sonnet", (5, 5)):
        return "between_tools"
    return "disabled"


def _read(model: str) -> tuple[str, tuple[int, int]]:
    found = _NAME.search(model)
    if not found:
        return "", _NEWEST
    old_major, old_minor, family, major, minor = found.groups()
    if not (old_major or major):
        return family, _NEWEST
    return family, (int(old_major or major), int(old_minor or minor or 0))
