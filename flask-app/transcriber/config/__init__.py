"""Settings: the schema (one row each), what their texts may be, and the loader. Read in server/ only."""
