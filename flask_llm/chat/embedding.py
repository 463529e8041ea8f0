"""Embeddings: the texts that are to become vectors, and the vectors they became."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, ClassVar

from flask_llm.chat.completion import Usage
from flask_llm.chat.prompt import check_options
from flask_llm.chat.question import Question
from flask_llm.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs(Question):
    """Texts to be embedded, with all options; goes down the floors whole."""

    operation: ClassVar[str] = "embed"
    texts: tuple[str, ...] = field(repr=False)
    dimensions: int | None = None
    """Numbers in a vector, where the model can make fewer than it has."""

    def __post_init__(self) -> None:
        if not self.texts:
            raise InvalidRequestError("There is no text to embed.", code="empty_prompt")
        for place, text in enumerate(self.texts):
            if not isinstance(text, str):
                raise InvalidRequestError(
                    f"texts[{place}] is a string, not {type(text).__name__}.",
                    param="texts",
                    code="invalid_option",
                )
            if not text.strip():
                raise InvalidRequestError(
                    f"texts[{place}] is empty: it has nothing to embed.",
                    param="texts",
                    code="empty_prompt",
                )
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The vectors of some texts, in their order, and everything known about them.

    A vector is an ``array('f')``, the 32-bit floats that providers reckon in: four
    bytes a number, a sequence for Python, and taken by NumPy without a copy.
    """

    vectors: tuple[array[float], ...] = field(repr=False)
    usage: Usage = field(default_factory=lambda: Usage(source="estimated"))
    cost_usd: Decimal | None = None
    """None where the price is not known: unknown is never zero."""
    cost_source: str = "none"
    """Who said so: ``provider``, ``config``, ``table``, ``cache`` or ``none``."""
    service_tier: str | None = None
    """The tier that served the call, where the provider says."""
    provider: str = ""
    model: str = ""
    """``provider/model`` as asked for."""
    served_model: str | None = None
    """The model that answered, in the provider's words."""
    request_id: str = ""
    """Ours, as in the ledger; the same in the rows of all requests that it took."""
    cached: bool = False
    """Given from our own cache, all of it; nothing was spent."""
    attempts: int = 0
    latency_ms: int = 0
    """From the call to the last vector, queueing and retries included."""

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[array[float]]:
        return iter(self.vectors)

    def __getitem__(self, place: int) -> array[float]:
        return self.vectors[place]

    def to_dict(self) -> dict[str, Any]:
        """Return the vectors as JSON; money as a decimal string."""
        plain = {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if entry.name not in {"vectors", "usage", "cost_usd"}
        }
        return {
            "success": True,
            "vectors": [vector.tolist() for vector in self.vectors],
            "usage": self.usage.to_dict(),
            "cost_usd": None if self.cost_usd is None else format(self.cost_usd, "f"),
            **plain,
        }


def read_texts(texts: object) -> tuple[str, ...]:
    """Turn what a caller gave, one text or several, into texts.

    :raises InvalidRequestError: where it is neither.
    """
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, Iterable) and not isinstance(texts, (bytes, Mapping)):
        return tuple(texts)
    raise InvalidRequestError(
        f"embed() takes a text or a list of texts, not {type(texts).__name__}.",
        param="texts",
        code="invalid_option",
    )
