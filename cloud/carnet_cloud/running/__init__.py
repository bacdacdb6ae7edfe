"""What keeps the service running beside its work: start, threads, housekeeping, other receivers, backup, end."""
