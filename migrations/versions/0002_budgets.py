"""Create llm_spend, and note in llm_usage where a call's money is reserved.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

from flask_llm.usage.models import MYSQL

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_spend",
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("period", sa.String(24), nullable=False),
        sa.Column("spent_nanos", sa.BigInteger, nullable=False),
        sa.Column("reserved_nanos", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("scope", "subject", "period", name="pk_llm_spend"),
        **MYSQL,
    )
    op.add_column("llm_usage", sa.Column("reserved_in", sa.String(600)))


def downgrade() -> None:
    with op.batch_alter_table("llm_usage") as table:
        table.drop_column("reserved_in")
    op.drop_table("llm_spend")
