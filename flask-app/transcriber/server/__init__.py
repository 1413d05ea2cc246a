"""The process: settings are read, concrete classes chosen, and the service started and stopped here."""
