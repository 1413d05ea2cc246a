"""Media: the sandboxed decode child, its server, and the parent's side of both."""
