"""The store: schema, migrations and the synchronous commit core with its writer."""
