"""Note in llm_usage what the provider's prompt cache saved.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("llm_usage", sa.Column("prompt_saved_nanos", sa.BigInteger))


def downgrade() -> None:
    with op.batch_alter_table("llm_usage") as table:
        table.drop_column("prompt_saved_nanos")
