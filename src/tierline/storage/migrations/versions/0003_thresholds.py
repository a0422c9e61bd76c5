"""Subscriptions to readings beyond thresholds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a subscription have thresholds; those that are kept have none."""
    for name in ("lower_threshold", "upper_threshold"):
        op.add_column("subscription", sa.Column(name, sa.BigInteger(), nullable=True))
