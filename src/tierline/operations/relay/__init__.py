"""The relay: what a server above shows is written into the own serving half, what comes back is handed on."""
