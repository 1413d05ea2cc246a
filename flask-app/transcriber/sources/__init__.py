"""Files that are not uploaded: fetched from a URL, or found in a watched folder."""
