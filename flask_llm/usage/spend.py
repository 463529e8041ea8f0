"""What budgets have spent and reserved: one short UPDATE decides, so nothing races."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Dialect,
    Insert,
    Select,
    Update,
    bindparam,
    select,
    update,
)

from flask_llm.usage.dialects import insert_for, is_mysql
from flask_llm.usage.models import spend
from flask_llm.usage.prepared import Prepared


class Share(NamedTuple):
    """One subject's part of a budget in one period: a row of ``llm_spend``.

    All transactions touch their rows in this order, so that none waits for another
    that waits for it.
    """

    scope: str
    subject: str
    period: str


class Hold(NamedTuple):
    """A share that must have room, and how much it may spend."""

    share: Share
    limit_nanos: int
    text: str
    """The budget as it was written."""
    resets_at: datetime
    """When the period is over."""


class Standing(NamedTuple):
    """What a share has spent, and what it holds for calls under way."""

    spent_nanos: int = 0
    reserved_nanos: int = 0


class NoRoom(Exception):  # noqa: N818 - an answer, which the caller words
    """A share has no room for a call."""

    def __init__(self, hold: Hold, standing: Standing) -> None:
        super().__init__(hold, standing)
        self.hold = hold
        self.standing = standing


def reserve(connection: Connection, holds: Iterable[Hold], nanos: int) -> list[Share]:
    """Reserve the same sum in every share, or find out where there is no room.

    :return: shares that had no row yet; then nothing may be committed.
    :raises NoRoom: likewise.
    """
    missing = []
    for hold in sorted(holds):
        values = {"ask": nanos, "most": hold.limit_nanos, **_key(hold.share)}
        if _RESERVE.execute(connection, values).rowcount:
            continue
        found = _FIND.execute(connection, _key(hold.share)).first()
        if found is not None and sum(found) + nanos > hold.limit_nanos:
            raise NoRoom(hold, Standing(*found))
        missing.append(hold.share)  # or made by somebody else a moment ago
    return missing


def add_rows(connection: Connection, shares: Iterable[Share]) -> None:
    """Make the rows of new shares; another worker may do the same."""
    statement = _adding(connection.dialect.name)
    for share in sorted(shares):
        connection.execute(
            statement, {**share._asdict(), "spent_nanos": 0, "reserved_nanos": 0}
        )


def settle(
    connection: Connection, share: Share, *, released: int, charged: int
) -> Standing:
    """Release what was reserved, charge what was spent, and tell what that makes.

    Money that is spent is spent: nothing is refused here.
    """
    values = {"released": released, "charged": charged, **_key(share)}
    settled = _SETTLE.execute(connection, values)
    if not settled.returns_rows:
        return standing(connection, share)
    return Standing(*settled.first() or ())


def standing(connection: Connection, share: Share) -> Standing:
    """Return what a share has spent and holds; nothing where it has no row."""
    return Standing(*_FIND.execute(connection, _key(share)).first() or ())


def standings(
    connection: Connection,
    scope: str,
    period: str,
    *,
    subjects: Sequence[str],
    most: int,
) -> list[tuple[str, Standing]]:
    """Return what subjects have spent in a period and hold, the largest sums first.

    :param subjects: whose; empty for all.
    """
    found = select(spend.c.subject, spend.c.spent_nanos, spend.c.reserved_nanos).where(
        spend.c.scope == scope, spend.c.period == period
    )
    if subjects:
        found = found.where(spend.c.subject.in_(subjects))
    found = found.order_by(_TAKEN.desc(), spend.c.subject).limit(most)
    return [
        (subject, Standing(spent, reserved))
        for subject, spent, reserved in connection.execute(found)
    ]


def _key(share: Share) -> dict[str, Any]:
    return {f"its_{name}": value for name, value in share._asdict().items()}


_MATCH = (
    spend.c.scope == bindparam("its_scope"),
    spend.c.subject == bindparam("its_subject"),
    spend.c.period == bindparam("its_period"),
)
_STANDING = (spend.c.spent_nanos, spend.c.reserved_nanos)
_TAKEN = spend.c.spent_nanos + spend.c.reserved_nanos


def _finding(_: Dialect) -> Select[Any]:
    return select(*_STANDING).where(*_MATCH)


def _reserving(_: Dialect) -> Update:
    return (
        update(spend)
        .where(*_MATCH, _TAKEN + bindparam("ask") <= bindparam("most"))
        .values(reserved_nanos=spend.c.reserved_nanos + bindparam("ask"))
    )


def _settling(dialect: Dialect) -> Update:
    settled = (
        update(spend)
        .where(*_MATCH)
        .values(
            reserved_nanos=spend.c.reserved_nanos - bindparam("released"),
            spent_nanos=spend.c.spent_nanos + bindparam("charged"),
        )
    )
    return settled.returning(*_STANDING) if dialect.update_returning else settled


_FIND = Prepared(_finding)
_RESERVE = Prepared(_reserving)
_SETTLE = Prepared(_settling)


@functools.cache
def _adding(dialect: str) -> Insert:
    """Return the statement that inserts a row unless it is there."""
    added = insert_for(dialect)(spend)
    if is_mysql(dialect):
        # Nothing is changed; INSERT IGNORE would hide other mistakes, too.
        adding: Insert = added.on_duplicate_key_update(period=added.inserted.period)
    else:
        adding = added.on_conflict_do_nothing()
    return adding
