"""The ledger's first tables: runs, planned, copies, events, mailbox_leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _word(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(32), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _location(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True))


def _copy_columns() -> list[sa.Column[str]]:
    return [
        _word("provider"),
        _text("connection"),
        _text("mailbox_id"),
        _text("mailbox"),
        _text("message_id"),
        _text("internet_message_id"),
        _word("disposition"),
    ]


def upgrade() -> None:
    op.create_table(
        "runs",
        _text("run_id"),
        sa.Column("plan_digest", sa.String(64), nullable=False),
        sa.Column("policy_digest", sa.String(64), nullable=False),
        _word("mode"),
        _time("window_start"),
        _time("window_end"),
        _number("lake_messages", nullable=True),
        _number("lake_observables", nullable=True),
        _number("lake_indicators", nullable=True),
        _number("judged"),
        _number("matched"),
        _number("planned"),
        _time("started_at"),
        _time("finished_at", nullable=True),
        sa.Column("succeeded", sa.Boolean),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_table(
        "planned",
        _text("run_id"),
        _word("copy_id"),
        _text("mailbox_key"),
        *_copy_columns(),
        _word("action"),
        sa.PrimaryKeyConstraint("run_id", "copy_id", name="pk_planned"),
    )
    op.create_index("ix_planned_run_id", "planned", ["run_id", "mailbox_key"])
    op.create_table(
        "copies",
        _word("copy_id"),
        *_copy_columns(),
        _word("state"),
        _word("action"),
        _word("purpose"),
        _number("token"),
        _time("claim_expires_at", nullable=True),
        _word("settled_action", nullable=True),
        _location("before"),
        _location("origin"),
        _location("location"),
        _text("reason"),
        _text("run_id"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("copy_id", name="pk_copies"),
    )
    op.create_table(
        "events",
        sa.Column(
            "event_id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        _word("copy_id"),
        _text("run_id"),
        _text("mailbox_key"),
        _time("at"),
        _word("state"),
        _word("action"),
        _word("purpose"),
        _number("token"),
        _location("location_before"),
        _location("location_after"),
        _text("reason"),
        _text("actor"),
        sa.PrimaryKeyConstraint("event_id", name="pk_events"),
    )
    op.create_index("ix_events_copy_id", "events", ["copy_id"])
    op.create_index("ix_events_run_id", "events", ["run_id", "mailbox_key"])
    op.create_table(
        "mailbox_leases",
        _text("mailbox_key"),
        _text("owner"),
        _number("token"),
        _time("expires_at", nullable=True),
        _time("next_attempt_at", nullable=True),
        _text("reason"),
        sa.PrimaryKeyConstraint("mailbox_key", name="pk_mailbox_leases"),
    )


def downgrade() -> None:
    for table in ("mailbox_leases", "events", "copies", "planned", "runs"):
        op.drop_table(table)
