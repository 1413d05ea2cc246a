"""whisper-asr-webservice's API, as Bazarr and its other clients speak it: POST /asr, /detect-language, GET /status."""
