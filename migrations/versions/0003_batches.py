"""Create llm_batches.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

from flask_llm.usage.models import MYSQL, UTCDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_batches",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("protocol", sa.String(32), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("provider_id", sa.String(200)),
        sa.Column("prompts", sa.Integer, nullable=False),
        sa.Column("succeeded", sa.Integer),
        sa.Column("failed", sa.Integer),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("lost_at", UTCDateTime, nullable=False),
        sa.Column("expires_at", UTCDateTime, nullable=False),
        sa.Column("ended_at", UTCDateTime),
        sa.Column("settled_at", UTCDateTime),
        sa.Column("cost_nanos", sa.BigInteger),
        sa.Column("error_code", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_llm_batches"),
        **MYSQL,
    )
    for column in ("provider_id", "settled_at"):
        op.create_index(f"ix_llm_batches_{column}", "llm_batches", [column])


def downgrade() -> None:
    op.drop_table("llm_batches")
