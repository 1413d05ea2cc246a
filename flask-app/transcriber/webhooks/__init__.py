"""Webhooks: the message for a finished job, its signature, the guard of its way out, and its delivery."""
