"""The job store on PostgreSQL, and the way there from SQLite."""
