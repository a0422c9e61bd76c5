"""What a client does at its server: walk the tree, describe itself, mirror its meter, answer events. All sans-IO."""
