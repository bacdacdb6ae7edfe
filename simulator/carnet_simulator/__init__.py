"""A car, a bus and a broker to try Carnet with, on one machine and without hardware."""
