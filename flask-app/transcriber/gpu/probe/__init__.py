"""What this machine's GPU, driver and libraries are: looked at in a child, and judged here."""
