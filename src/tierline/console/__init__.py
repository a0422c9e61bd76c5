"""The operator's side of a node."""
