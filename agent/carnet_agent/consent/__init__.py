"""What the owner allows, as it lies on the unit's disk, and how long it lasts without a trusted time."""
