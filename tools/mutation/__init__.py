"""Mutation testing: one small change of our source at a time, and the tests that must notice it."""
