"""A second kernel for tests that need CAN, systemd or power cuts:
user-mode-linux on a copy-on-write view of this machine.
"""
