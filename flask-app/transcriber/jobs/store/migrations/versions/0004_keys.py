"""The table of keys, and who submitted a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A column that may be empty: SQLite then alters the table in place. Jobs of before belong to the admins.
    with op.batch_alter_table("jobs", recreate="never") as jobs:
        jobs.add_column(sa.Column("owner", sa.Text))
    op.create_index(op.f("ix_jobs_owner_number"), "jobs", ["owner", "number"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("max_jobs", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.CheckConstraint("role IN ('admin', 'user', 'metrics')", name=op.f("ck_api_keys_role_known")),
        sa.CheckConstraint("max_jobs >= 0", name=op.f("ck_api_keys_max_jobs_counted")),
    )
    op.create_index(
        op.f("ix_api_keys_name"),
        "api_keys",
        ["name"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
