"""Routes for operators: diagnostics, health, metrics, models."""
