"""Gemini's models: which of them takes what.

Source: https://ai.google.dev/gemini-api/docs/models, as of November 2026.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NEWEST = (99, 0)
_BUDGETS = {"none": 0, "minimal": 512, "low": 2_048, "medium": 8_192}
_HIGHEST_BUDGET = 24_576
_LEAST_OF_PRO = 128
"""Tokens below which a pro model cannot be kept from thinking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a model takes; what is unknown counts as the newest."""

    levels: bool
    """Whether thinking is told a level; before Gemini 3 it is a number of tokens."""
    minimal: bool
    """Whether it knows the level ``MINIMAL``; ``LOW`` comes next."""
    least_budget: int
    """Tokens that thinking must be given."""
    keeps_temperature: bool
    """Whether it is best left at its own temperature: lower ones go round in circles
    in thought. The caller's is sent all the same."""
    schema_beside_tools: bool
    media_in_results: bool
    """Whether what a tool returns may hold images and files."""
    signed: bool
    """Whether calls must come back with the signature that they came with."""
    each_search: bool
    """Whether searches are billed one by one, and not all of an answer as one."""
    beta: bool
    """Whether it is known to the beta version of the API alone."""

    def level(self, effort: str) -> str:
        """Return the model's word for an effort.

        ``XHIGH`` is not sent: no model is known to take it.
        """
        lowest = "MINIMAL" if self.minimal else "LOW"
        levels = {"none": lowest, "minimal": lowest, "low": "LOW", "medium": "MEDIUM"}
        return levels.get(effort, "HIGH")

    def budget(self, effort: str) -> int:
        """Return an effort in tokens."""
        return max(_BUDGETS.get(effort, _HIGHEST_BUDGET), self.least_budget)


def traits(model: str) -> Traits:
    """Tell what a model takes from its name."""
    generation = _generation(model)
    third = generation >= (3, 0)
    return Traits(
        levels=third,
        minimal=generation[0] == 3 and generation != (3, 7) and "flash" in model,  # noqa: PLR2004
        least_budget=_LEAST_OF_PRO if "pro" in model else 0,
        keeps_temperature=third,
        schema_beside_tools=third,
        media_in_results=third,
        signed=third,
        each_search=third,
        # The aliases that move with each release.
        beta=model.endswith("-latest"),
    )


def _generation(model: str) -> tuple[int, int]:
    found = re.search(r"gemini-(\d+)(?:\.(\d+))?", model)
    return (int(found[1]), int(found[2] or 0)) if found else _NEWEST
