"""Composition: one TOML file becomes the services and loops of one node."""
