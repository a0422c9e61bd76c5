"""SunSpec Modbus: the language of the inverter, as client (south face) and as simulated device (north face)."""
