"""Create llm_usage.

Revision: 0001, the first
"""

import sqlalchemy as sa
from alembic import op

from flask_llm.usage.models import MYSQL, UTCDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_usage",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("request_id", sa.String(32), nullable=False),
        sa.Column("created_at", UTCDateTime, nullable=False),
        sa.Column("finished_at", UTCDateTime),
        sa.Column("expires_at", UTCDateTime, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("operation", sa.String(16), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("served_model", sa.String(200)),
        sa.Column("service_tier", sa.String(32)),
        sa.Column("streamed", sa.Boolean, nullable=False),
        sa.Column("user_id", sa.String(128)),
        sa.Column("tenant", sa.String(128)),
        sa.Column("feature", sa.String(128)),
        sa.Column("tags", sa.JSON),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("cache_read_tokens", sa.BigInteger),
        sa.Column("cache_write_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("reasoning_tokens", sa.BigInteger),
        sa.Column("usage_source", sa.String(16)),
        sa.Column("cost_nanos", sa.BigInteger),
        sa.Column("saved_nanos", sa.BigInteger),
        sa.Column("reserved_nanos", sa.BigInteger),
        sa.Column("cost_source", sa.String(16)),
        sa.Column("duration_ms", sa.Integer),
        sa.Column("first_token_ms", sa.Integer),
        sa.Column("attempts", sa.Integer),
        sa.Column("finish_reason", sa.String(32)),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_status", sa.Integer),
        sa.Column("provider_request_id", sa.String(128)),
        sa.PrimaryKeyConstraint("id", name="pk_llm_usage"),
        **MYSQL,
    )
    for columns in INDEXES:
        name = f"ix_llm_usage_{'_'.join(columns)}"
        op.create_index(name, "llm_usage", list(columns))


def downgrade() -> None:
    op.drop_table("llm_usage")


INDEXES = (
    ("request_id",),
    ("created_at",),
    ("status", "expires_at"),
    ("user_id", "created_at"),
    ("tenant", "created_at"),
)
