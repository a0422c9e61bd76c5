"""Typed client of the operator API; imports the model only."""
