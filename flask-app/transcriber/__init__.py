"""Transcriber: a self-hosted transcription service that never lies about where the work ran."""

__version__ = "0.2.0"
