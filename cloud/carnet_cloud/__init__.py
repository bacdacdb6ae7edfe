"""The part of Carnet that runs in the cloud: envelopes in, only what a consent covers out."""
