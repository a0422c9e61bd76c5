"""The demo and scenarios: starts processes, injects faults, gathers evidence."""
