"""The parent's side of the self-test: when an engine is admitted, and whether one that is up still is sound."""
