"""Power cuts inside real programs: what they told the disk is recorded, and every disk that a cut may leave is started.

The parts: ``story`` (what somebody does, and what he promises meanwhile), ``car``, ``cloud`` and ``owner`` (the three
stories and what must be there afterwards), ``recording`` (what the kernel was told, seen by strace),
``disk`` (what of that survives a cut), ``replay`` (the two together). The same stories are told in the guest on a real
file system, over dm-log-writes: ``tests/system/guest/cases/test_power_cuts.py``.

Law: a killed process is no power cut, and what is on the disk is nobody's guess but the model's, which stands in
``disk``.
"""
