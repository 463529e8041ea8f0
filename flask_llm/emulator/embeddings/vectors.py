"""Vectors that depend on nothing but their text."""

from __future__ import annotations

import hashlib
import math
import struct

SIZE = 1_536


def vector(text: str, size: int | None) -> list[float]:
    """Return a vector of length 1, the same for the same text wherever it is made.

    :param size: how many numbers; a shorter one is the beginning of a longer one, but
        for its length.
    """
    count = size or SIZE
    data = hashlib.shake_256(text.encode("utf-8", "replace")).digest(2 * count)
    numbers = struct.unpack(f"<{count}h", data)
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return list(rounded([number / length for number in numbers]))


def rounded(numbers: list[float]) -> tuple[float, ...]:
    """Round to what 32 bits hold, as providers do."""
    return struct.unpack(f"<{len(numbers)}f", packed(numbers))


def packed(numbers: list[float]) -> bytes:
    """Write 32-bit floats, the least byte first."""
    return struct.pack(f"<{len(numbers)}f", *numbers)
