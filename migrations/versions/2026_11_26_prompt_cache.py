"""The ledger knows which calls share their beginning, so that it can say whether caching it pays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017_prompt_cache"
down_revision = "0016_batches"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Attempts of before do not know their beginning, and count for none."""
    op.add_column("llm_attempts", sa.Column("fixed_sha256", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("llm_attempts", "fixed_sha256")
