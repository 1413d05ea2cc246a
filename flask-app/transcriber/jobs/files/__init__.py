"""The files of jobs: spool, resumable uploads, journal, results, copies for the output folder."""
