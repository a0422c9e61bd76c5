"""Responses that wait are found among all that were posted."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index when they were posted, which is empty for those that wait."""
    op.create_index("ix_outbox_posted_at", "outbox", ["node", "posted_at"], unique=False)
