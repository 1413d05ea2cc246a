"""Jobs that outlive their connection, and the table deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Only columns with constant defaults, and indexes: SQLite then alters the table in place and copies no row.
    with op.batch_alter_table("jobs", recreate="never") as batch:
        batch.add_column(sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("0")))
        batch.add_column(sa.Column("is_awaited", sa.Boolean, nullable=False, server_default=sa.false()))
        batch.add_column(sa.Column("webhook", sa.JSON))
        batch.add_column(sa.Column("idempotency_key", sa.Text))
        batch.add_column(sa.Column("fingerprint", sa.Text))
        batch.add_column(sa.Column("duration", sa.Float))
        batch.add_column(sa.Column("engine_faults", sa.Integer, nullable=False, server_default=sa.text("0")))
        batch.add_column(sa.Column("engine_kills", sa.Integer, nullable=False, server_default=sa.text("0")))
        batch.add_column(sa.Column("has_upload", sa.Boolean, nullable=False, server_default=sa.true()))
    # Until now a client waited for every job, and an upload went with the end of its job.
    jobs = sa.table("jobs", sa.column("status"), sa.column("is_awaited", sa.Boolean), sa.column("has_upload", sa.Boolean))
    op.execute(sa.update(jobs).values(is_awaited=True))
    op.execute(sa.update(jobs).where(jobs.c.status.not_in(["queued", "running"])).values(has_upload=False))
    op.create_index(op.f("ix_jobs_idempotency_key"), "jobs", ["idempotency_key"], unique=True)
    op.create_index(op.f("ix_jobs_completed_at_number"), "jobs", ["completed_at", "number"])
    op.create_index(
        op.f("ix_jobs_has_upload_completed_at_number"), "jobs", ["has_upload", "completed_at", "number"]
    )
    op.create_table(
        "deliveries",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("id", name=op.f("uq_deliveries_id")),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'given_up')", name=op.f("ck_deliveries_status_known")
        ),
        sa.CheckConstraint("tries >= 0", name=op.f("ck_deliveries_tries_counted")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_deliveries_status_next_try_at_number"), "deliveries", ["status", "next_try_at", "number"]
    )
    op.create_index(op.f("ix_deliveries_job_id_number"), "deliveries", ["job_id", "number"])
