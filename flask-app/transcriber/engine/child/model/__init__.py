"""The Whisper model on one device, and the evidence of where it computed."""
