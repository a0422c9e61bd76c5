"""The command line: nouns, then verbs; --json everywhere."""

from tierline.cli.app import main

__all__ = ["main"]
