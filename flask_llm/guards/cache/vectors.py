"""Vectors as JSON: 32-bit floats in base64, a quarter of what their digits take."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

from flask_llm.chat import Embeddings


def write(embeddings: Embeddings) -> dict[str, Any]:
    """Write the vectors and what the provider said of them."""
    return {
        "vectors": [_text(vector) for vector in embeddings.vectors],
        "served_model": embeddings.served_model,
        "service_tier": embeddings.service_tier,
    }


def read(kept: list[str]) -> tuple[array[float], ...]:
    """Read vectors back.

    :raises TypeError: where the text is not one of ours; ValueError as well.
    """
    found = tuple(_vector(text) for text in kept)
    if not found or not all(found):
        raise ValueError
    return found


def _text(vector: array[float]) -> str:
    return base64.b64encode(_least_byte_first(vector).tobytes()).decode()


def _vector(text: str) -> array[float]:
    return _least_byte_first(array("f", base64.b64decode(text, validate=True)))


def _least_byte_first(vector: array[float]) -> array[float]:
    """Return a copy in the order of bytes that machines agree on."""
    copy = vector[:]
    if sys.byteorder == "big":
        copy.byteswap()
    return copy
