"""What chooses a fleet's next job quickly, by its length; and who still waits for one. On PostgreSQL alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    # On jobs themselves, so that a claim reads one table: a join of a long queue takes longer than the whole claim may.
    op.execute("ALTER TABLE jobs ADD COLUMN expected_seconds double precision")
    op.execute(
        "ALTER TABLE jobs ADD COLUMN needs_gpu boolean NOT NULL "
        "GENERATED ALWAYS AS (coalesce(request ->> 'require_gpu' = 'true', false)) STORED"
    )
    op.create_table(
        "waiters",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_waiters")),
    )
    op.execute(
        "CREATE INDEX ix_jobs_turns ON jobs (coalesce(owner, ''), priority DESC, number) WHERE status = 'queued'"
    )
