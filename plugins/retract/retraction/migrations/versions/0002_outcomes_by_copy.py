"""A run's events are found by copy, for that is how waves ask for outcomes."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_planned_run_id", "planned")
    op.drop_index("ix_events_run_id", "events")
    op.create_index("ix_events_run_id", "events", ["run_id", "copy_id"])


def downgrade() -> None:
    op.drop_index("ix_events_run_id", "events")
    op.create_index("ix_events_run_id", "events", ["run_id", "mailbox_key"])
    op.create_index("ix_planned_run_id", "planned", ["run_id", "mailbox_key"])
