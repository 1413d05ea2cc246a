"""Routes of jobs: POST /transcribe, /jobs and what hangs below it."""
