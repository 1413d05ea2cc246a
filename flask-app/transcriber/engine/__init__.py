"""The engine: a child process that holds the model, and the parent side that keeps it alive."""
