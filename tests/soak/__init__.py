"""Hours with faults, in which nothing may grow but what has to: ``python -m tests.soak``."""
