"""What tierline speaks about: frozen values, the standard library only, no I/O."""
