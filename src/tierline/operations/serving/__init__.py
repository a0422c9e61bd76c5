"""What a node does for those below it: registry, topology, programs, dispatch, telemetry, audit, explanation."""
