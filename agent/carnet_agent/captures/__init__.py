"""Recorded buses, in whichever format, as the blocks of `Frames` that a live bus gives."""
