"""The tenant's log: leaves that wait for a place, the sequencer that gives it, accounts and receipts."""
