"""Model files: the catalogue, the finder, verification, downloads, and what memory they need."""
