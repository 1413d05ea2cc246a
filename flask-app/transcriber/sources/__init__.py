"""Files that nobody uploads: fetched from a URL, or found in a watched folder."""
