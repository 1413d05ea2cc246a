"""Who is let in: keys, sessions, hosts, origins."""
