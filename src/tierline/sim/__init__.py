"""The whole hierarchy in one process under a virtual clock, and the independent oracle that judges it."""
