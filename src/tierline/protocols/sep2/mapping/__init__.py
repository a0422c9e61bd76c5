"""Canonical names and values to IEEE 2030.5 and back; codecs per kind of value, rows per function."""
