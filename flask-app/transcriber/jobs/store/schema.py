"""The tables of the job store. migrations/versions brings a database here; a test holds the two equal."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    column,
    false,
    text,
    true,
)

#: Constraints have names, so that a later migration can speak of them.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC with a zone; SQLite keeps it as text without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


jobs = Table(
    "jobs",
    metadata,
    #: The order of acceptance; never given twice, so that it can serve as a page's cursor.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),
    #: TranscriptionRequest's fields.
    Column("request", JSON(none_as_null=True), nullable=False),
    Column("file_name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    #: JobError's fields.
    Column("error", JSON(none_as_null=True)),
    Column("request_id", Text),
    # Columns that joined later have defaults, so that SQLite can add them without copying the table.
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("is_awaited", Boolean, nullable=False, server_default=false()),
    #: Webhook's fields.
    Column("webhook", JSON(none_as_null=True)),
    Column("idempotency_key", Text),
    Column("fingerprint", Text),
    Column("duration", Float),
    Column("engine_faults", Integer, nullable=False, server_default=text("0")),
    Column("engine_kills", Integer, nullable=False, server_default=text("0")),
    Column("has_upload", Boolean, nullable=False, server_default=true()),
    Column("title", Text, nullable=False, server_default=text("''")),
    #: The id of the job whose upload this one took over.
    Column("retry_of", Text),
    #: The id of the key that submitted it.
    Column("owner", Text),
    CheckConstraint(
        "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status_known"
    ),
    CheckConstraint("attempts >= 0", name="attempts_counted"),
    Index(None, "status", "number"),
    Index(None, "idempotency_key", unique=True),
    # Retention asks for the oldest ended jobs, and for those of them with an upload.
    Index(None, "completed_at", "number"),
    Index(None, "has_upload", "completed_at", "number"),
    Index(None, "owner", "number"),
    sqlite_autoincrement=True,
)

#: The outbox: webhook messages, written in the transaction that ends their job.
deliveries = Table(
    "deliveries",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("job_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("next_try_at", UtcDateTime, nullable=False),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("delivered_at", UtcDateTime),
    CheckConstraint("status IN ('pending', 'delivered', 'given_up')", name="status_known"),
    CheckConstraint("tries >= 0", name="tries_counted"),
    Index(None, "status", "next_try_at", "number"),
    Index(None, "job_id", "number"),
    sqlite_autoincrement=True,
)

#: Edited transcripts: the last revision of each, beside the engine's own in the results folder.
edits = Table(
    "edits",
    metadata,
    Column("job_id", Text, nullable=False, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("edited_at", UtcDateTime, nullable=False),
    #: The segments as JSON; none: the original was restored.
    Column("segments", Text),
    CheckConstraint("revision > 0", name="revision_counted"),
)

#: Who may ask. Revoked keys stay, so that their jobs' owners can be named.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, nullable=False, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("max_jobs", Integer, nullable=False, server_default=text("0")),
    CheckConstraint("role IN ('admin', 'user', 'metrics')", name="role_known"),
    CheckConstraint("max_jobs >= 0", name="max_jobs_counted"),
    # Of one name there is one key that is not revoked.
    Index(
        "ix_api_keys_name",
        "name",
        unique=True,
        sqlite_where=column("revoked_at").is_(None),
        postgresql_where=column("revoked_at").is_(None),
    ),
)
