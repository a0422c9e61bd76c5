"""The operator API, on its own listener."""
