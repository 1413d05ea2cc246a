"""The job store: memory and SQLite, its schema and migrations, transcripts and the webhook outbox."""
