"""The command line: nouns, then verbs; --json everywhere."""
