"""What the service says of itself: states and numbers. Never a reading, an id or a key."""
