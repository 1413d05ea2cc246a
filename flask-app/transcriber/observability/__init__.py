"""What people and monitors see of the service: diagnostics, metrics, the history of the last hour."""
