"""What leaves the unit: sealed, numbered, published, and published again until the cloud has it."""
