"""What Alembic runs: migrations on the connection it is given."""

from __future__ import annotations

from alembic import context

from tierline.storage.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
