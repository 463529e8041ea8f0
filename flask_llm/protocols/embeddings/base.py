"""What the formats of embeddings share: their shape, and how to read a vector."""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flask_llm.chat import Embeddings, Inputs
from flask_llm.protocols.base import array as listed
from flask_llm.providers import Provider
from flask_llm.wire import Call


@dataclass(frozen=True, slots=True)
class Caps:
    """What one request may hold."""

    texts: int
    tokens: int | None = None
    """All texts together; None where no cap is known."""


class EmbeddingFormat(Protocol):
    """A wire format for embeddings: pure functions, no network, no clock."""

    def caps(self, provider: Provider) -> Caps:
        """Tell what one request may hold."""

    def render(self, inputs: Inputs, provider: Provider) -> Call:
        """Turn texts into the request."""

    def parse(self, raw: Mapping[str, Any], texts: int) -> Embeddings:
        """Turn an answer into vectors, in the order of the texts.

        :param texts: how many were sent.
        :raises ResponseError: where it is of no shape that an answer has.
        """


def vector(value: object) -> array[float]:
    """Read a list of numbers, or base64 of 32-bit floats, the least byte first."""
    if isinstance(value, str):
        numbers = array("f", base64.b64decode(value, validate=True))
        if sys.byteorder == "big":
            numbers.byteswap()
    else:
        numbers = array("f", listed(value))
    # A sum is finite where each part is: 32-bit floats cannot add up to infinity.
    if not numbers or not math.isfinite(sum(numbers)):
        raise ValueError
    return numbers


def matching(vectors: list[array[float]], texts: int) -> tuple[array[float], ...]:
    """Insist on one vector for each text, all of one length."""
    if len(vectors) != texts or len({len(numbers) for numbers in vectors}) != 1:
        raise ValueError
    return tuple(vectors)
