"""The part of JSON Schema that each provider takes.

OpenAI and Google: their guides to structured output; Anthropic: what its SDK sends,
which puts all else into words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EVERYWHERE = frozenset(
    {
        "additionalProperties",
        "anyOf",
        "description",
        "enum",
        "items",
        "properties",
        "required",
        "type",
    }
)
_FORMATS = frozenset(
    {
        "date",
        "date-time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "time",
        "uuid",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The part of JSON Schema that a provider takes."""

    keywords: frozenset[str]
    """Beside those that all know."""
    formats: frozenset[str]
    closed: bool = True
    """Whether every object must be without further properties."""
    whole: bool = False
    """Whether every property must be required; one that is not may then be null."""
    least: frozenset[int] | None = None
    """The values that ``minItems`` may have; None for any."""
    lookaround: bool = False
    """Whether patterns may look ahead and behind, as pydantic's for Decimal does."""

    def takes(self, keyword: str, value: object) -> bool:
        """Whether a keyword with this value may be sent."""
        if keyword == "format":
            return value in self.formats
        if keyword == "minItems" and self.least is not None:
            return value in self.least
        if keyword == "pattern" and not self.lookaround and _looks_around(value):
            return False
        return keyword in EVERYWHERE or keyword in self.keywords


def _looks_around(pattern: object) -> bool:
    return re.search(r"\(\?<?[=!]", str(pattern)) is not None


OPENAI = Dialect(
    keywords=frozenset(
        {
            "exclusiveMaximum",
            "exclusiveMinimum",
            "format",
            "maxItems",
            "maximum",
            "minItems",
            "minimum",
            "multipleOf",
            "pattern",
        }
    ),
    formats=_FORMATS,
    whole=True,
)
ANTHROPIC = Dialect(
    keywords=frozenset({"format", "minItems"}),
    formats=_FORMATS | {"uri"},
    least=frozenset({0, 1}),
)
GOOGLE = Dialect(
    keywords=frozenset(
        {
            "format",
            "maxItems",
            "maximum",
            "minItems",
            "minimum",
            "pattern",
            "prefixItems",
        }
    ),
    formats=_FORMATS,
    closed=False,
    lookaround=True,
)
