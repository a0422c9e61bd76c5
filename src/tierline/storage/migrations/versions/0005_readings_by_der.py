"""Readings are found by their DER: its column comes first in their key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew with the key in another order, so that no further index has to be written with every reading."""
    op.drop_index("ix_reading_time", "reading")
    op.rename_table("reading", "old_reading")
    op.create_table(
        "reading",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("meter_reading", sa.Text(), nullable=False),
        sa.Column("der_id", sa.Text(), nullable=False),
        sa.Column("point", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("power_of_ten", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("duration_s", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("qualifier", sa.Integer(), nullable=False),
        sa.Column("quality", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", "der_id", "meter_reading", "time"),
    )
    # In the order of the new key, in which its index is written fastest.
    op.execute('INSERT INTO "reading" SELECT * FROM "old_reading" ORDER BY node, der_id, meter_reading, time')
    op.drop_table("old_reading")
    op.create_index("ix_reading_time", "reading", ["node", "time"], unique=False)
