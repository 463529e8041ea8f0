"""Create llm_usage_hourly, the sums that reports read, and llm_marks.

Sums over rows that are there are made by ``flask llm rollup --rebuild``, once no
worker of an older release runs any more: such a one settles rows and counts nothing.
Until then reports read the rows.

Revision: 0005
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context, op

from flask_llm.usage.models import MYSQL, UTCDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SUMS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nanos",
    "saved_nanos",
    "prompt_saved_nanos",
    "duration_ms",
)
COUNTS = ("calls", "failed", "cached", "unpriced", "timed")
LATENCY_MS = (
    *(125, 250, 354, 500, 707, 1000, 1414, 2000, 2828, 4000, 5657, 8000),
    *(11314, 16000, 22627, 32000, 64000, 128000),
)


def upgrade() -> None:
    key = (
        sa.Column("dimension", sa.String(8)),
        sa.Column("hours", sa.SmallInteger, autoincrement=False),
        sa.Column("hour", sa.Integer, autoincrement=False),
        sa.Column("tenant", sa.String(128)),
        sa.Column("provider", sa.String(64)),
        sa.Column("subject", sa.String(200)),
    )
    counts = (*COUNTS, *(f"below_{end}" for end in LATENCY_MS), "latency_max_ms")
    op.create_table(
        "llm_usage_hourly",
        *key,
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in SUMS),
        *(sa.Column(name, sa.Integer, nullable=False) for name in counts),
        sa.PrimaryKeyConstraint(
            *(column.name for column in key), name="pk_llm_usage_hourly"
        ),
        postgresql_with={"fillfactor": 70},  # rows grow in place, again and again
        **MYSQL,
    )
    marks = op.create_table(
        "llm_marks",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("at", UTCDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_llm_marks"),
        **MYSQL,
    )
    if _is_empty():
        whole = {"name": "rollup", "at": datetime(1970, 1, 1, tzinfo=UTC)}
        op.bulk_insert(marks, [whole])


def _is_empty() -> bool:
    """Tell whether there is nothing to count; statements for a hand are for new tables.

    An upgrade from older ones by hand is better followed by the rebuild, too.
    """
    if context.is_offline_mode():
        return True
    rows = sa.table("llm_usage", sa.column("id"))
    return op.get_bind().execute(sa.select(rows.c.id).limit(1)).first() is None


def downgrade() -> None:
    op.drop_table("llm_marks")
    op.drop_table("llm_usage_hourly")
