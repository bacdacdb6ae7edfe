"""Other programs on the same bus see what we see: candump, cangen and canplayer, and python-can beside our reader."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from pathlib import Path

import can

from carnet_agent.bus.pythoncan import PythonCanReader, open_adapter
from carnet_agent.bus.socketcan import CanInterface, SocketReader
from carnet_agent.frames import EXTENDED, FD, Frames
from carnet_agent.instant import Instant
from tests.agent.candatagrams import classic
from tests.system.guest.vcan import INTERFACE, Peer, drain, transmitted, wait_until

RATIO_FLOOR = 10
"""recvmmsg against python-can; measured 40 to 100 in the guest, whose system calls are dear, so only a floor is
asserted. Elapsed time: the guest counts CPU time in ticks of 10 ms, and nothing else runs on its one CPU."""


def log_lines(frames: Frames) -> list[str]:
    """Frames as candump -L writes them, without time and interface; of the FD flags only that it is FD."""
    lines = []
    for index in range(len(frames)):
        flags, length = int(frames.flags[index]), int(frames.length[index])
        digits = 8 if flags & EXTENDED else 3
        mark = "##F" if flags & FD else "#"
        data = bytes(frames.payload[index, :length]).hex().upper()
        lines.append(f"{int(frames.can_id[index]):0{digits}X}{mark}{data}")
    return lines


def dumped(text: str) -> list[str]:
    return [re.sub("##.", "##F", line.split()[-1]) for line in text.splitlines()]


def candump(count: int) -> subprocess.Popen[str]:
    """A candump that is listening when this returns: the kernel's list of receivers shows its socket."""

    def receivers() -> int:
        return Path("/proc/net/can/rcvlist_all").read_text().count(INTERFACE)

    before = receivers()
    # with room for all of them, and an end if fewer come
    words = ["candump", "-L", "-n", str(count), "-r", str(8 << 20), "-T", "20000", INTERFACE]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: receivers() > before)
    return process


def test_cangen_is_read_as_candump_reads_it(reader: SocketReader) -> None:
    with candump(600) as dump:
        for extra in ([], ["-e"], ["-f", "-b"]):
            subprocess.run(["cangen", INTERFACE, "-g", "0", "-n", "200", *extra], check=True)
        frames = drain(reader, 600)
        text, _ = dump.communicate(timeout=10)
    assert len(set(dumped(text))) > 500
    assert log_lines(frames) == dumped(text)


def test_canplayer_is_read_frame_by_frame(reader: SocketReader, tmp_path: Path) -> None:
    log = ["123#DEADBEEF", "1F334455#1122334455667788", "213##311223344", "7FF#"]
    path = tmp_path / "capture.log"
    path.write_text("".join(f"({1000 + index}.000000) {INTERFACE} {line}\n" for index, line in enumerate(log)))
    subprocess.run(["canplayer", "-t", "-I", str(path)], check=True)
    assert log_lines(drain(reader, 4)) == dumped("\n".join(log))


def capture_lines(count: int) -> list[str]:
    """Frames of every kind in a candump log's words: 11 and 29 bits, no data to all of it, CAN FD with each flag."""
    chance = random.Random(11)
    lines = []
    for _ in range(count):
        extended, fd = chance.random() < 0.5, chance.random() < 0.3
        name = f"{chance.randrange(1 << 29):08X}" if extended else f"{chance.randrange(1 << 11):03X}"
        size = chance.choice((0, 1, 8, 12, 64) if fd else range(9))
        mark = f"##{chance.randrange(4)}" if fd else "#"
        lines.append(f"{name}{mark}{chance.randbytes(size).hex().upper()}")
    return lines


def with_two_flags(line: str) -> str:
    """Of the flags of CAN FD only BRS and ESI: newer kernels add one that says that it is CAN FD."""
    name, mark, rest = line.partition("##")
    return f"{name}##{int(rest[0], 16) & 3}{rest[1:]}" if mark else line


def test_a_replayed_capture_is_on_the_bus_as_it_is_in_the_file(reader: SocketReader, tmp_path: Path) -> None:
    """``carnet-sim replay``: candump shows every frame of the file in its order, of the wanted bus alone."""
    lines = capture_lines(500)
    path = tmp_path / "capture.log"
    path.write_text(
        "".join(
            f"({1000 + number / 1000:.6f}) can1 {line}\n({1000 + number / 1000:.6f}) can2 555#00\n"
            for number, line in enumerate(lines)
        )
    )
    before = transmitted()
    with candump(len(lines)) as dump:
        words = ["replay", str(path), "--speed", "max", "--channel", f"can1={INTERFACE}"]
        said = subprocess.run([sys.executable, "-m", "carnet_simulator", *words], capture_output=True, check=True)
        text, _ = dump.communicate(timeout=30)
    assert [with_two_flags(line.split()[-1]) for line in text.splitlines()] == lines
    assert transmitted() == before + len(lines)
    assert log_lines(drain(reader, len(lines))) == dumped(text)
    assert b"done after 0.5 s: 500 frames sent, 500 of buses that are off" in said.stderr


def test_python_can_yields_the_same_block(reader: SocketReader, peer: Peer) -> None:
    other = PythonCanReader(open_adapter("socketcan", INTERFACE, {"fd": True}), bus=0).start()
    other.set_identifiers(None)
    wait_until(lambda: other.counters.opened == 1)
    subprocess.run(["cangen", INTERFACE, "-g", "0", "-n", "100"], check=True)
    subprocess.run(["cangen", INTERFACE, "-g", "0", "-n", "100", "-e", "-f"], check=True)
    ours, theirs = drain(reader, 200), drain(other, 200)
    other.close()
    assert ours.can_id.tolist() == theirs.can_id.tolist()
    assert ours.flags.tolist() == theirs.flags.tolist()
    assert ours.length.tolist() == theirs.length.tolist()
    assert ours.payload.tolist() == theirs.payload.tolist()
    assert abs(ours.time_ns - theirs.time_ns).max() < 10_000_000_000


def test_reading_costs_a_fraction_of_python_can(reader: SocketReader, peer: Peer) -> None:
    batch = [classic(0x123, bytes(range(8)))] * 5000
    bus = can.Bus(channel=INTERFACE, interface="socketcan", can_filters=[{"can_id": 0x123, "can_mask": 0x7FF}])
    bus.socket.setsockopt(1, 33, 64 << 20)  # type: ignore[attr-defined]
    peer.send(*batch)
    reader.read(Instant.now())  # the first drain touches every page once
    for _ in batch:
        assert bus.recv(1.0) is not None
    peer.send(*batch)
    started = time.perf_counter()
    assert len(reader.read(Instant.now())) == len(batch)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    for _ in batch:
        assert bus.recv(1.0) is not None
    theirs = time.perf_counter() - started
    bus.shutdown()
    print(f"recvmmsg {ours / len(batch) * 1e9:.0f} ns a frame, python-can {theirs / len(batch) * 1e9:.0f} ns")
    assert theirs > RATIO_FLOOR * ours


def test_an_interface_nobody_sends_on_gives_empty_blocks_of_the_right_shape() -> None:
    reader = SocketReader(CanInterface(INTERFACE), bus=0)
    frames = reader.read(Instant.now())
    assert (len(frames), frames.payload.shape) == (0, (0, 8))
    reader.close()
