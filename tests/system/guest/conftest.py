"""Keep the cases from being collected on the host: they run inside the guest, started by ``test_vcan.py``."""

collect_ignore = ["cases"]
