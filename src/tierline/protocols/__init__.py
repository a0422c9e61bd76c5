"""One folder per protocol; they do not know each other."""
