"""The transparency log: what the cloud says that it did, in a tree that only grows. ``docs/ledger.md`` is the contract.

Law 6: whoever was told of a place in the log can check, alone and offline, that it is there and stays there.
"""
