"""Whatever the bytes, parse_dbc raises DbcError or returns a database that compiles; every loss has a name."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from carnet.errors import DbcError
from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.database import BITS_MAX, BYTES_MAX
from carnet_agent.dbc.parse import parse_dbc
from carnet_agent.decode import decode
from carnet_agent.frames import EXTENDED
from tests.agent.blocks import CORNERS, J1939, frames_of

INSTRUMENT = ("cantools", "textparser")
RUNS = 300
SMALL = (
    'VERSION "x"\n\nBO_ 1 M: 8 X\n SG_ s : 0|8@1+ (1,0) [0|0] "" X\n\nCM_ SG_ 1 s "words";\n'
    'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 10;\nBA_ "GenMsgCycleTime" BO_ 1 5;\nVAL_ 1 s 0 "off" 1 "on";\n'
    'VAL_TABLE_ t 0 "off";\nSIG_VALTYPE_ 1 s : 1;\nBU_: X\n'
)
BROKEN = SMALL + ' SG_ t : 7|0@1+ (0,0) [1|0] "" \nBO_ 1 M: 8\nSG_MUL_VAL_ 1 s t 0-3;\nBO_ 4294967295 Z: 0 X\nCM_ "'
ODD = (
    'BO_ 1 Long: 300 X\n SG_ a : 0|65@1+ (1,0) [0|0] "" X\n SG_ b : 80|24@1+ (1,0) [0|0] "" X\n'
    ' SG_ c : 1980|8@1+ (1,0) [0|0] "" X\nSIG_VALTYPE_ 1 b : 1;\n'
)


def seeds() -> Iterable[bytes]:
    return [text.encode("cp1252") for text in (SMALL, BROKEN, ODD, CORNERS, J1939, "")] + [
        b"\xef\xbb\xbf" + SMALL.encode()
    ]


def check(data: bytes) -> None:
    try:
        database = parse_dbc(data, "fuzzed.dbc")
    except DbcError:
        return
    assert all(loss.name and loss.reason for loss in database.losses)
    for message in database.messages:
        assert message.can_id <= (0x1FFFFFFF if message.extended else 0x7FF)
        for signal in message.signals:
            assert 0 < signal.bits <= BITS_MAX
            assert 0 <= signal.first_bit < signal.end_bit <= 8 * BYTES_MAX
    plan, _ = compile_plan([("", database)], match="id")
    rows = [(message.can_id, bytes(range(64))) for message in database.messages[:50]]
    if rows:
        extended = [message.extended for message in database.messages[:50]]
        frames = frames_of(rows, extended)
        assert (frames.flags & EXTENDED == np.array(extended)).all()
        decode(plan, frames)
