"""What Alembic runs: on the connection, and in the transaction, that `Ledger.migrate` opened."""

from __future__ import annotations

from alembic import context

from retract.retraction.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="ledger_version",
)
with context.begin_transaction():
    context.run_migrations()
