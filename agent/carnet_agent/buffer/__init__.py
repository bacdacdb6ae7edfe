"""The buffer: sealed envelopes on disk until the cloud has signed that it has them.

Law 4: only sealed bytes are written. Law 5: a row goes after a signed acknowledgement, at the end of its grants, or by
counted eviction, and in no other way.
"""

from carnet_agent.buffer.buffer import Buffer
from carnet_agent.buffer.disk import BufferFull
from carnet_agent.buffer.files import doubt, open_buffer
from carnet_agent.buffer.rows import Destroyed, Lost, NewBox, NewEnvelope, Priority, Row
from carnet_agent.buffer.transaction import DiskFailed, is_damage

__all__ = [
    "Buffer",
    "BufferFull",
    "Destroyed",
    "DiskFailed",
    "Lost",
    "NewBox",
    "NewEnvelope",
    "Priority",
    "Row",
    "doubt",
    "is_damage",
    "open_buffer",
]
