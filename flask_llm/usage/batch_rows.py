"""The rows of a batch: its own, and one for each of its prompts.

The id of a prompt's row is made of its batch's id and its place, and is what the
provider calls it, so that results find their rows again in any process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import Row

from flask_llm.chat import Batch

PREFIX_LENGTH = 26

# The host may have set another precision for its own numbers.
_EXACT = Context(prec=60)

SHOWN = (
    "id",
    "status",
    "model",
    "prompts",
    "succeeded",
    "failed",
    "provider_id",
    "created_at",
    "ended_at",
    "expires_at",
    "error_code",
)
"""What users see of a batch as its row has it."""


def key_of(batch_id: str, place: int) -> str:
    """Return the id of a prompt's row, by its place in the batch."""
    return f"{batch_id[:PREFIX_LENGTH]}{place:06x}"


def place_of(batch_id: str, key: str) -> int | None:
    """Return the place of a prompt in a batch, None where it is none of its prompts."""
    prefix, digits = key[:PREFIX_LENGTH], key[PREFIX_LENGTH:]
    if prefix != batch_id[:PREFIX_LENGTH] or not re.fullmatch("[0-9a-f]{6}", digits):
        return None
    return int(digits, 16)


def as_batch(row: Row[Any]) -> Batch:
    """Return a row as what users see."""
    nanos = row.cost_nanos
    return Batch(
        is_settled=row.settled_at is not None,
        cost_usd=None if nanos is None else Decimal(nanos).scaleb(-9, _EXACT),
        **{name: getattr(row, name) for name in SHOWN},
    )


def parts(
    opened: Mapping[str, Any], batch_id: str, nanos: Sequence[int], size: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a batch's prompts, some at a time.

    :param opened: what they have in common.
    :param nanos: what each of them reserves.
    :param size: how many at a time.
    """
    reserves = opened["reserved_nanos"] is not None
    for start in range(0, len(nanos), size):
        yield [
            {
                **opened,
                "id": key_of(batch_id, place),
                "reserved_nanos": cost if reserves else None,
            }
            for place, cost in enumerate(nanos[start : start + size], start)
        ]
