"""Targets that break on purpose: a fuzzer that never finds anything has not been tested."""
