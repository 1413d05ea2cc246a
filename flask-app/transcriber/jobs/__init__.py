"""The truth of every job: its row, its files in the spool, its result and the runner that works on it."""
