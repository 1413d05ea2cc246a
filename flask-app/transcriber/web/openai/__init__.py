"""OpenAI's audio API: POST /v1/audio/transcriptions, /v1/audio/translations, GET /v1/models."""
