"""Use cases over ports: modules of plain functions, each of which takes the principal first."""
