"""Routes of transcripts: page, editing, comparison, downloads."""
