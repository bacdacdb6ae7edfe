"""Fixtures of the owner's tool, for every test of it here."""

from tests.carnet.ownertool import cloud, owned  # noqa: F401 - fixtures
