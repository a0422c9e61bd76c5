"""Tariffs say whom they concern, prices have a name and a status of their own."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables anew: their new columns are never empty, and prices are known by their mRID now."""
    op.rename_table("tariff", "old_tariff")
    op.rename_table("price", "old_price")
    op.create_table(
        "tariff",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("mrid", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("currency", sa.BigInteger(), nullable=False),
        sa.Column("price_power_of_ten", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("rate_component", sa.Text(), nullable=False),
        sa.Column("group", sa.Text(), nullable=True),
        sa.Column("flow", sa.Integer(), nullable=False),
        sa.Column("service", sa.BigInteger(), nullable=False),
        sa.Column("primacy", sa.BigInteger(), nullable=False),
        sa.Column("followed_from", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", "mrid"),
    )
    op.create_table(
        "price",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("tariff", sa.Text(), nullable=False),
        sa.Column("mrid", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("duration_s", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("status_at", sa.BigInteger(), nullable=False),
        sa.Column("tou_tier", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", "tariff", "mrid"),
    )
    connection = op.get_bind()
    made: dict[tuple[str, str], int] = {}
    for node, party, mrid, description, currency, power, created in connection.exec_driver_sql(
        'SELECT node, party, mrid, description, currency, price_power_of_ten, created_at FROM "old_tariff"'
    ).all():
        made[node, mrid] = created
        tariff_row = (node, party, mrid, description, currency, power, created, _mrid(mrid, "component"), 1, 0, 2, "")
        connection.exec_driver_sql(
            'INSERT INTO "tariff" (node, party, mrid, description, currency, price_power_of_ten, created_at,'
            " rate_component, flow, service, primacy, followed_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            tariff_row,
        )
    for node, party, tariff, start, duration_s, price in connection.exec_driver_sql(
        'SELECT node, party, tariff, start, duration_s, price FROM "old_price"'
    ).all():
        created = made.get((node, tariff), start)
        price_row = (node, party, tariff, _mrid(tariff, str(start)), start, duration_s, price, created, created)
        connection.exec_driver_sql(
            'INSERT INTO "price" (node, party, tariff, mrid, start, duration_s, price, created_at, status, status_at,'
            " tou_tier) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0)",
            price_row,
        )
    op.drop_table("old_price")
    op.drop_table("old_tariff")


def _mrid(tariff: str, what: str) -> str:
    """Name what had no name: 96 bits from its tariff and what it is, then the enterprise number of the tariff's maker."""
    return hashlib.sha256(f"{tariff}/{what}".encode()).hexdigest()[:24].upper() + tariff[-8:]
