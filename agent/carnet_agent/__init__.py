"""The part of Carnet that runs in the car: bus in, sealed and consented envelopes out."""
