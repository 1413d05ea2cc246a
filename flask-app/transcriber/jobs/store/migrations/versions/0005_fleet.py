"""What the nodes of a fleet share, on PostgreSQL alone: who works on what, what is done of it, and the workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_table(
        "runs",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True)),
        sa.Column("progress", postgresql.JSONB),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_runs")),
    )
    op.create_table(
        "journal_lines",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_journal_lines")),
    )
    op.create_index(op.f("ix_journal_lines_job_id_number"), "journal_lines", ["job_id", "number"])
    op.create_table(
        "workers",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("facts", postgresql.JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
