"""What a report would have cost in plainer forms, stored beside it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007_savings"
down_revision = "0006_gates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Reports written before have no levels; their saving stays one sum."""
    op.add_column("reports", sa.Column("levels", postgresql.JSONB(astext_type=sa.Text()), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("reports", "levels")
