"""/live, the page that captions, and /v1/realtime, the WebSocket behind it, in OpenAI's shape."""
