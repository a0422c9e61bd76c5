"""IEEE 2030.5: rows and codec, mapping, sans-IO server and client, and the transport that carries them."""
