"""SunSpec Modbus: codec from the published models, sans-IO Modbus, south face (client) and north face (server)."""
