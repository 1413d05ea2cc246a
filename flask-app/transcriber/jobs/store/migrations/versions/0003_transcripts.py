"""Names and origins of jobs, edited transcripts, and the full-text index over all transcripts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Only columns that may be empty or have constant defaults: SQLite then alters the table in place.
    with op.batch_alter_table("jobs", recreate="never") as jobs:
        jobs.add_column(sa.Column("title", sa.Text, nullable=False, server_default=sa.text("''")))
        jobs.add_column(sa.Column("retry_of", sa.Text))
    op.create_table(
        "edits",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("segments", sa.Text),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_edits")),
        sa.CheckConstraint("revision > 0", name=op.f("ck_edits_revision_counted")),
    )
    # Its rows have the numbers of their jobs. What ended before is put in by the service, which can read results.
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE transcript_texts USING fts5(text, tokenize = 'unicode61 remove_diacritics 2')"
        )
        return
    op.create_table(
        "transcript_texts",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("plain", sa.Text, nullable=False),
        sa.Column("words", postgresql.TSVECTOR, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_transcript_texts")),
    )
    op.create_index(op.f("ix_transcript_texts_words"), "transcript_texts", ["words"], postgresql_using="gin")
