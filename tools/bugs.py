#!/usr/bin/env python3
"""Put bugs in on purpose, one at a time, in a copy of the checkout, and see each found by a test.

    .venv/bin/python tools/bugs.py [--only WORD]

A bug is a line of ours changed as somebody in a hurry might. The named tests must fail with it and pass without it;
the table is in ``docs/bugs-on-purpose.md`` and a test compares the two.

Law: a test that never failed has not been tested.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS_MAX = 300
SOURCES = ("carnet", "agent", "cloud", "simulator", "tests", "dbc", "systemd", "tools", "docs", "requirements")


@dataclass(frozen=True, slots=True)
class Bug:
    """``old`` stands once in ``file``; ``new`` takes its place; ``tests`` must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


BUGS = (
    Bug(
        "a box opens wherever it is found",
        "carnet/box.py",
        "if not hmac.compare_digest(plain[:32], place.binding()):",
        "if False:",
        "tests/attacks/test_envelope.py",
    ),
    Bug(
        "a bomb inflates without bound",
        "carnet/compression.py",
        "decompressor.decompress(data, size_max + 1)",
        "decompressor.decompress(data)",
        "tests/attacks tests/carnet/test_codec.py",
    ),
    Bug(
        "an old grant set is taken again",
        "carnet/grantsets.py",
        "if grant_set.generation < floors.generation:",
        "if grant_set.generation < 0:",
        "tests/attacks/test_consent_attacks.py",
    ),
    Bug(
        "a grant lasts a moment longer",
        "carnet/grants.py",
        "if now_ms < self.expires_ms:",
        "if now_ms <= self.expires_ms:",
        "tests/cloud/test_gate.py",
    ),
    Bug(
        "a capture at the very end counts as inside",
        "cloud/carnet_cloud/gate.py",
        "(latest_ms < grant.expires_ms)",
        "(latest_ms <= grant.expires_ms)",
        "tests/cloud/test_gate.py",
    ),
    Bug(
        "a clone is taken for a duplicate",
        "cloud/carnet_cloud/intake.py",
        "return Seen.DUPLICATE if around[seq][0] == digest else Seen.CLONE",
        "return Seen.DUPLICATE",
        "tests/cloud/test_core.py",
    ),
    Bug(
        "the unit may rename a path's unit",
        "cloud/carnet_cloud/gate.py",
        "if entry is None or entry.unit != column.unit:",
        "if entry is None:",
        "tests/cloud/test_gate.py",
    ),
    Bug(
        "an end leaves the key of the outbox",
        "cloud/carnet_cloud/store/outbox.py",
        'self._db.execute("delete from outbox_key where record = ?", (record,))',
        "pass",
        "tests/cloud/test_consents.py",
    ),
    Bug(
        "a sender asks for consent only at ingest",
        "cloud/carnet_cloud/forward.py",
        "given = {record: self._given(t, record, now_ms) for",
        "given = {record: True for",
        "tests/cloud/test_consents.py",
    ),
    Bug(
        "a group goes on past the end of one of its records",
        "cloud/carnet_cloud/sending.py",
        " or any(e.over for e in last_of_record.values())",
        "",
        "tests/cloud/test_forward_endings.py",
    ),
    Bug(
        "a renewal that came back too late is good",
        "cloud/carnet_cloud/lease.py",
        " or self._monotonic_ms() >= min(self._until_ms, self._ends_ms)",
        "",
        "tests/cloud/test_lease.py",
    ),
    Bug(
        "what was tried once and not again is called unseen",
        "cloud/carnet_cloud/store/outbox.py",
        "(attempts = 1 or replay_ms is not null)",
        "attempts > 0",
        "tests/cloud/test_forward_endings.py",
    ),
    Bug(
        "a file's lines are confirmed before they are on disk",
        "cloud/carnet_cloud/recipients/jsonlines.py",
        "os.fsync(self._fd)",
        "pass",
        "tests/cloud/test_file_recipient.py",
    ),
    Bug(
        "a narrowing that the store could not keep goes on",
        "cloud/carnet_cloud/grantbook.py",
        "stored.silent or self._is_pending(record)",
        "stored.silent",
        "tests/attacks/test_operator_attacks.py",
    ),
    Bug(
        "the journal is written and not synced",
        "cloud/carnet_cloud/journal.py",
        "                self._fsync(file.fileno())\n            except OSError:",
        "            except OSError:",
        "tests/cloud/test_journal.py",
    ),
    Bug(
        "a power cut takes a narrowing back",
        "cloud/carnet_cloud/journal.py",
        "                self._fsync(file.fileno())\n            except OSError:",
        "            except OSError:",
        "tests/attacks/test_recorded_power_cuts.py",
    ),
    Bug(
        "the buffer does not wait for the disk",
        "agent/carnet_agent/buffer/tables.py",
        '"synchronous=FULL"',
        '"synchronous=OFF"',
        "tests/attacks/test_recorded_power_cuts.py",
    ),
    Bug(
        "a power cut under a file system takes rows back",
        "agent/carnet_agent/buffer/tables.py",
        '"synchronous=FULL"',
        '"synchronous=OFF"',
        "tests/system/test_vcan.py",
    ),
    Bug(
        "a power cut under a file system takes a narrowing back",
        "cloud/carnet_cloud/journal.py",
        "                self._fsync(file.fileno())\n            except OSError:",
        "            except OSError:",
        "tests/system/test_vcan.py",
    ),
    Bug(
        "a first start that is cut short damages the consents",
        "agent/carnet_agent/consent/store.py",
        '        db.execute(f"pragma user_version={VERSION}")',
        '    db.execute(f"pragma user_version={VERSION}")',
        "tests/attacks/test_recorded_power_cuts.py",
    ),
    Bug(
        "a power cut brings a destroyed key back",
        "cloud/carnet_cloud/wrapping.py",
        "                os.fsync(file.fileno())\n            path.unlink()",
        "            path.unlink()",
        "tests/attacks/test_recorded_power_cuts.py",
    ),
    Bug(
        "a power cut forks the log",
        "cloud/carnet_cloud/ledger/loghashes.py",
        "                self._fsync(file.fileno())\n            if is_new",
        "            if is_new",
        "tests/attacks/test_recorded_power_cuts.py",
    ),
    Bug(
        "the cloud's public keys are not synced",
        "cloud/carnet_cloud/running/keyfolder.py",
        "    _write(path, public.encode(), 0o644)",
        "    path.write_bytes(public.encode())",
        "tests/attacks/test_recorded_power_cuts.py",
    ),
    Bug(
        "an aggregate is judged by its end alone",
        "cloud/carnet_cloud/judging.py",
        "    return Interval(early, late)\n",
        "    return Interval(late, late)\n",
        "tests/cloud/test_core.py",
    ),
    Bug(
        "a better clock changes what an envelope says of its time",
        "cloud/carnet_cloud/timing.py",
        "(is_better or width(own) <= UNSURE_MS_MAX)",
        "is_better",
        "tests/attacks/test_restored_store.py",
    ),
    Bug(
        "the wrapping key outlives the hour",
        "cloud/carnet_cloud/wrapping.py",
        "            self._destroy(name)",
        "            pass",
        "tests/cloud/test_wrapping.py",
    ),
    Bug(
        "rate lets a sample through early",
        "agent/carnet_agent/collect/rate.py",
        "following = time_ms.searchsorted(time_ms + interval_ms)",
        "following = time_ms.searchsorted(time_ms + interval_ms - 1)",
        "tests/agent/test_collect_oracle.py",
    ),
    Bug(
        "a salvage that a crash cut off is forgotten",
        "agent/carnet_agent/buffer/files.py",
        "_take_up(buffer, remains, device, key))",
        "_take_up(buffer, remains, device, key) if quarantined else 0)",
        "tests/agent/test_salvage.py",
    ),
    Bug(
        "an acknowledgement of another time tells the time",
        "carnet/ack.py",
        "return any(nonce) and hmac.compare_digest(self.nonce, nonce)",
        "return True",
        "tests/attacks/test_envelope.py tests/carnet/test_down.py",
    ),
    Bug(
        "a hash of a proof may lend its neighbour a byte",
        "carnet/ledger/proof.py",
        "if any(len(each) != HASH_BYTES for each in hashes):",
        "if not all(hashes):",
        "tests/carnet/ledger",
    ),
    Bug(
        "a long signature brings along what it signed",
        "carnet/ledger/signednote.py",
        "if len(signature) != sodium.crypto_sign_BYTES:",
        "if len(signature) < sodium.crypto_sign_BYTES:",
        "tests/carnet/ledger",
    ),
    Bug(
        "a witness speaks for the log",
        "carnet/ledger/checkpoint.py",
        "own = [key for key in keys if key.name == checkpoint.origin]",
        "own = list(keys)",
        "tests/carnet/ledger",
    ),
    Bug(
        "a log that says it has grown is believed",
        "carnet/ledger/follow.py",
        "        return otherwise",
        "        return proven",
        "tests/carnet/ledger",
    ),
    Bug(
        "an account goes on after the end",
        "carnet/ledger/account.py",
        "after.total != ended.total",
        "not after.total.covers(ended.total)",
        "tests/carnet/ledger",
    ),
    Bug(
        "what widens waits for no log",
        "cloud/carnet_cloud/gate.py",
        "return Blocked.LOG if _refused(standing, standing.coming, now_ms) is None else refused",
        "return refused",
        "tests/cloud/test_sequencer.py",
    ),
    Bug(
        "a restored log signs its places anew",
        "cloud/carnet_cloud/ledger/loghashes.py",
        "return path.stat().st_size // HASH_BYTES if path.exists() else 0",
        "return 0",
        "tests/attacks/test_log_attacks.py",
    ),
    Bug(
        "an end has its account again",
        "cloud/carnet_cloud/ledger/accounts.py",
        "if stored.ended:",
        "if False:",
        "tests/cloud/test_accounts.py",
    ),
    Bug(
        "a late proof is called a fork",
        "agent/carnet_agent/following.py",
        "if growth.first != seen.size:",
        "if False:",
        "tests/agent/test_following.py",
    ),
    Bug(
        "an old acknowledgement makes a log look cut",
        "agent/carnet_agent/following.py",
        "if verdict is Verdict.UNPROVEN or (not fresh and verdict is not Verdict.FORKED):",
        "if verdict is Verdict.UNPROVEN:",
        "tests/agent/test_following.py",
    ),
    Bug(
        "readings sealed for one record are put under another",
        "carnet/sealed.py",
        "self.record + self.boot_id + self.schema_hash + declaration",
        "self.boot_id + self.schema_hash + declaration",
        "tests/attacks/test_sealed_attacks.py",
    ),
    Bug(
        "a recipient believes what the car has declared",
        "carnet/sealed.py",
        "    _check(batch, sealed.declaration)\n",
        "",
        "tests/attacks/test_sealed_attacks.py",
    ),
    Bug(
        "what is for one recipient's eyes shares a box",
        "agent/carnet_agent/collect/wants.py",
        "        if record in sealed:\n",
        "        if False:\n",
        "tests/agent/test_sealed_to_recipient.py",
    ),
    Bug(
        "a box that others can open is forwarded",
        "cloud/carnet_cloud/gate.py",
        "return None if kid == agreed else Blocked.SEAL",
        "return None if kid is None or kid == agreed else Blocked.SEAL",
        "tests/cloud/test_sealed.py",
    ),
    Bug(
        "a sealed box goes although a part of it may not",
        "cloud/carnet_cloud/judging.py",
        "        elif _inside(standing, self._when) is not None:\n",
        "        elif False:\n",
        "tests/cloud/test_sealed.py",
    ),
)


def main() -> int:
    """0 if every bug was found and every test passes without it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="bugs whose name holds this word")
    wanted = [bug for bug in BUGS if parser.parse_args().only in bug.name]
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for source in SOURCES:
            shutil.copytree(ROOT / source, copy / source, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        clean = {tests: passes(copy, tests) for tests in sorted({bug.tests for bug in wanted})}
        results = [report(bug, clean[bug.tests], found(copy, bug)) for bug in wanted]
    print(f"{sum(results)} of {len(wanted)} bugs found")
    return 0 if all(results) else 1


def report(bug: Bug, clean: bool, caught: bool) -> bool:
    """One line; True if the tests pass without the bug and fail with it."""
    verdict = "found" if clean and caught else "the tests fail without it" if not clean else "NOT FOUND"
    print(f"{verdict:12} {bug.name:50} {bug.file}", flush=True)
    return clean and caught


def found(copy: Path, bug: Bug) -> bool:
    """Whether the tests fail with the bug in place."""
    file = copy / bug.file
    text = file.read_text()
    if text.count(bug.old) != 1:
        raise SystemExit(f"{bug.file} no longer holds this once: {bug.old}")
    file.write_text(text.replace(bug.old, bug.new))
    try:
        return not passes(copy, bug.tests)
    finally:
        file.write_text(text)


def passes(copy: Path, tests: str) -> bool:
    """Whether pytest passes there; the copy comes first on the path."""
    path = os.pathsep.join(str(copy / each) for each in (".", "agent", "cloud", "simulator", "tools"))
    data = os.environ.get("CARNET_DATA", str(ROOT.parent / "shared" / "data"))
    environment = {**os.environ, "PYTHONPATH": path, "CARNET_DATA": data, "CI": ""}
    existing = [test for test in tests.split() if (copy / test).exists()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *existing],
        cwd=copy,
        env=environment,
        capture_output=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
