"""The tables. Times are UTC, money is whole nano-USD, and no prompt is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from flask_llm.chat.prompt import LABEL_LENGTH

REVISION = "0005"
"""The newest migration: what ``flask llm db upgrade`` leads to."""

VERSION_TABLE = "llm_alembic_version"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, aware in Python, stored without a zone and to the microsecond."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MySQL cuts the fraction off unless asked not to."""
        if dialect.name in {"mysql", "mariadb"}:
            names: Any = getattr(dialect, "ischema_names", {})
            return dialect.type_descriptor(names["datetime"](fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Store UTC."""
        del dialect
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Give UTC back."""
        del dialect
        return value.replace(tzinfo=UTC) if value else None


MYSQL: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
"""What migrations make tables with: every character fits, and the users ``ann`` and
``Ann`` are two, as elsewhere. Said of the tables below, it would load all dialects."""

usage = Table(
    "llm_usage",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("request_id", String(32), nullable=False, index=True),
    Column("created_at", UTCDateTime, nullable=False, index=True),
    Column("finished_at", UTCDateTime),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("status", String(16), nullable=False),
    Column("operation", String(16), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("served_model", String(200)),
    Column("service_tier", String(32)),
    Column("streamed", Boolean, nullable=False),
    Column("user_id", String(LABEL_LENGTH)),
    Column("tenant", String(LABEL_LENGTH)),
    Column("feature", String(LABEL_LENGTH)),
    Column("tags", JSON),
    Column("input_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("usage_source", String(16)),
    Column("cost_nanos", BigInteger),
    Column("saved_nanos", BigInteger),
    Column("prompt_saved_nanos", BigInteger),
    Column("reserved_nanos", BigInteger),
    Column("reserved_in", String(600)),
    Column("cost_source", String(16)),
    Column("duration_ms", Integer),
    Column("first_token_ms", Integer),
    Column("attempts", Integer),
    Column("finish_reason", String(32)),
    Column("error_code", String(64)),
    Column("error_status", Integer),
    Column("provider_request_id", String(128)),
    Index("ix_llm_usage_status_expires_at", "status", "expires_at"),
    Index("ix_llm_usage_user_id_created_at", "user_id", "created_at"),
    Index("ix_llm_usage_tenant_created_at", "tenant", "created_at"),
)

spend = Table(
    "llm_spend",
    metadata,
    Column("scope", String(16), primary_key=True),
    Column("subject", String(200), primary_key=True),
    Column("period", String(24), primary_key=True),
    Column("spent_nanos", BigInteger, nullable=False),
    Column("reserved_nanos", BigInteger, nullable=False),
)
"""What each budget's subjects have spent and reserved; a new period is a new row."""

batches = Table(
    "llm_batches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("protocol", String(32), nullable=False),
    Column("model", String(200), nullable=False),
    Column("provider_id", String(200), index=True),
    Column("prompts", Integer, nullable=False),
    Column("succeeded", Integer),
    Column("failed", Integer),
    Column("created_at", UTCDateTime, nullable=False),
    Column("lost_at", UTCDateTime, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("ended_at", UTCDateTime),
    Column("settled_at", UTCDateTime, index=True),
    Column("cost_nanos", BigInteger),
    Column("error_code", String(64)),
)
"""What was handed over to be answered later. What each prompt costs is in its row of
``llm_usage``, and from ``lost_at`` on a batch that no provider knows was never sent."""

LATENCY_MS = (
    *(125, 250, 354, 500, 707, 1000, 1414, 2000, 2828, 4000, 5657, 8000),
    *(11314, 16000, 22627, 32000, 64000, 128000),
)
"""Where the classes of the latency histogram end. From a quarter of a second to half a
minute, where models answer, each is 1.41 times as long as the one before."""

LATENCY_COLUMNS = tuple(f"below_{end}" for end in LATENCY_MS)
"""Calls of each class; those above the last end are what is left of ``timed``."""

COUNTED = {
    "calls": Integer,
    "failed": Integer,
    "cached": Integer,
    "unpriced": Integer,
    "input_tokens": BigInteger,
    "cache_read_tokens": BigInteger,
    "cache_write_tokens": BigInteger,
    "output_tokens": BigInteger,
    "reasoning_tokens": BigInteger,
    "cost_nanos": BigInteger,
    "saved_nanos": BigInteger,
    "prompt_saved_nanos": BigInteger,
    "timed": Integer,
    "duration_ms": BigInteger,
    **dict.fromkeys(LATENCY_COLUMNS, Integer),
}
"""What the rollup adds up, and the type of each column. One more is a line here, one in
``tally.MEASURES``, a field of ``reports.Line`` and a column in a migration."""

hourly = Table(
    "llm_usage_hourly",
    metadata,
    Column("dimension", String(8), primary_key=True),
    Column("hours", SmallInteger, primary_key=True, autoincrement=False),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String(LABEL_LENGTH), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("subject", String(200), primary_key=True),
    *(Column(name, kind, nullable=False) for name, kind in COUNTED.items()),
    Column("latency_max_ms", Integer, nullable=False),
)
"""Sums over settled rows. ``dimension`` says what ``subject`` is: a status, model, user
or feature; empty stands for none. ``hour`` counts from 1970 in UTC and is the first of
as many as ``hours`` says: one, a day's or a week's."""

marks = Table(
    "llm_marks",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("at", UTCDateTime, nullable=False),
)
"""``rollup``: from when on the rollup counts every settled row; absent where it never
did. ``purged``: before when rows may be gone. ``upkeep``: locked while one is at it."""


def include_name(name: str | None, type_: str, parent_names: object = None) -> bool:
    """Tell our own migrations to look at our own tables only."""
    del parent_names
    return type_ != "table" or _ours(name)


def exclude_name(name: str | None, type_: str, parent_names: object = None) -> bool:
    """Tell a host's migrations to leave our tables alone.

    Done by itself for Flask-Migrate. An ``env.py`` written by hand needs
    ``context.configure(include_name=exclude_name, ...)``.
    """
    del parent_names
    return type_ != "table" or not _ours(name)


def _ours(name: str | None) -> bool:
    return name == VERSION_TABLE or name in metadata.tables
