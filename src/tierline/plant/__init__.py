"""What an L1 node simulates: pure arrays; one row of an array is one inverter."""
