"""What the operating system gives: clock, threads, prctl, memory of the machine, durable files."""
