"""Power cuts inside real programs: what they told the disk is recorded, and every disk that a cut may leave is started.

The parts: ``story`` (what somebody does, and what he promises meanwhile), ``car``, ``cloud`` and ``owner`` (the three
stories and what must be there afterwards), ``recording`` (what the kernel was told, seen by strace),
``disk`` (what of that survives a cut), ``replay`` (the two together).

Law: a killed process is no power cut, and what is on the disk is nobody's guess but the model's, which stands in
``disk``.
"""
