"""What a node keeps while it obeys those above it: outbox, reading buffer, channel of record."""
