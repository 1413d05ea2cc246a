"""The sandboxed child that reads uploads. The only code that imports PyAV."""
