"""Receiving files: streamed forms, resumable uploads, submissions."""
