"""Keys, certificates, TLS contexts and the chain check of our own."""
