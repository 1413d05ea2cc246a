"""Live captions: sound comes in while somebody speaks, text goes out while they do."""
