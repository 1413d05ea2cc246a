"""The words of the service: values, transitions, errors and ports. Standard library only, no I/O."""
