"""The rules: pure functions of (state, event, now); random draws reach them as a callable."""
