"""``carnet verify`` as somebody types it who has receipts and the log's key, and no network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from carnet.cli import main, verify
from carnet.ids import format_id
from carnet.keys import LOG_SIGN, encode_key
from carnet.ledger.account import Count
from carnet.ledger.receipt import Receipt
from carnet.states import State
from tests.carnet.ledger.kit import KEY, NOTE_KEY, ORIGIN, OTHER_NOTE_KEY, Log, account, consent, log_leaf, story
from tests.conftest import CHECKOUT
from tests.consentkit import RECIPIENT, RECORD_ID, TENANT
from tests.vectors import make_receipt_example

KEYED = ["--checkpoint-key", NOTE_KEY.text()]
LOG = story()


def written(folder: Path, *receipts: Receipt) -> list[str]:
    files = [folder / f"{number}.json" for number in range(len(receipts))]
    for file, receipt in zip(files, receipts, strict=True):
        file.write_bytes(receipt.encode() + b"\n")
    return [str(file) for file in files]


@pytest.fixture(autouse=True)
def no_key_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(verify.VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (0, f"2025-10-09 08:53 UTC: here begins the log of {TENANT}"),
        (1, f"2025-10-09 08:53 UTC, give: {RECORD_ID} for {RECIPIENT} is given after its entry 0 (grant set 1)"),
        (
            2,
            (
                f"2025-10-10 00:00 UTC, the day 2025-10-09 was over: {RECIPIENT} had confirmed 5 events with 50 samples"
                f" under {RECORD_ID}; the last was {'cd' * 16}"
            ),
        ),
        (
            5,
            (
                f"2025-10-12 12:00 UTC, {RECORD_ID} ended (withdrawing): {RECIPIENT} had confirmed 10 events with 100"
                f" samples under {RECORD_ID}; of 2 events with 20 samples nobody knows whether they arrived;"
                f" the last was {'cd' * 16}"
            ),
        ),
    ],
)
def test_what_was_proven_is_said_in_a_sentence(
    index: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *written(tmp_path, LOG.receipt(index)), *KEYED]) == 0
    assert capsys.readouterr().out == f"proven: {ORIGIN} holds at place {index} of 8\n  {sentence}\n"


def test_one_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(log_leaf(), consent(), account(1, 1, confirmed=Count(1, 1)))
    assert main(["verify", *written(tmp_path, log.receipt(2)), *KEYED]) == 0
    assert "had confirmed 1 event with 1 sample under" in capsys.readouterr().out


def test_accounts_are_checked_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In any order, and of any head of the log."""
    receipts = [LOG.receipt(7), LOG.receipt(2, 4), LOG.receipt(5, 6), LOG.receipt(3)]
    assert main(["verify", *written(tmp_path, *receipts), *KEYED]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"together: 4 accounts of {RECORD_ID}, none missing between them; from 2025-10-10 00:00 UTC to"
        f" 2025-10-13 00:00 UTC {RECIPIENT} got 7 events with 70 samples more; nothing was added after its end,"
        " 2025-10-12 12:00 UTC"
    )


@pytest.mark.parametrize(
    ("indices", "ending"),
    [((3, 5), "; the last of them is its end, 2025-10-12 12:00 UTC"), ((2, 3), "got 5 events with 50 samples more")],
)
def test_what_no_account_shows_is_not_said(
    indices: tuple[int, int], ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *written(tmp_path, *map(LOG.receipt, indices)), *KEYED]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(ending)


def test_an_account_that_is_missing_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *written(tmp_path, LOG.receipt(2), LOG.receipt(7)), *KEYED]) == 1
    out, err = capsys.readouterr()
    start = f"carnet: an account of {RECORD_ID} is missing between two others"
    assert err == f"{start}, or is there twice: number 4 follows number 1\n"
    assert (out.count("proven: "), "together" in out) == (2, False)


def test_a_refused_receipt_keeps_no_other_from_being_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is refused decides the exit code; a file that is not there only if nothing was."""
    good, bad, last = written(tmp_path, LOG.receipt(1), LOG.receipt(5), LOG.receipt(3))
    Path(bad).write_bytes(Path(bad).read_bytes().replace(b'"events":10', b'"events":11'))
    (tmp_path / "note.txt").write_text("dear owner")
    note, gone = str(tmp_path / "note.txt"), str(tmp_path / "gone.json")
    assert main(["verify", gone, good, bad, note, last, *KEYED]) == 1
    out, err = capsys.readouterr()
    assert [line.partition(" of ")[0].split()[-1] for line in out.splitlines()[::2]] == ["1", "3"]
    assert [line.split()[1].rstrip(":") for line in err.splitlines()] == [gone, note, bad]
    assert main(["verify", gone, good, *KEYED]) == 2
    assert capsys.readouterr().out.count("proven: ") == 1
    assert main(["verify", good, bad, *KEYED, "--json"]) == 1
    assert [each["index"] for each in json.loads(capsys.readouterr().out)] == [1]


def test_one_records_gap_leaves_the_others_story_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = format_id("rec_", b"record-two")
    log = Log(log_leaf(), *(account(n, n, record=r) for r, ns in ((RECORD_ID, (1, 3)), (other, (1, 2))) for n in ns))
    assert main(["verify", *written(tmp_path, *map(log.receipt, range(1, 5))), *KEYED]) == 1
    out, err = capsys.readouterr()
    assert (f"together: 2 accounts of {other}" in out, out.count("together")) == (True, 1)
    assert (f"an account of {RECORD_ID} is missing" in err, err.count("\n")) == (True, 1)


def test_something_sent_after_the_end_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cloud's own word against it."""
    end = account(1, 5, ended=State.WITHDRAWING)
    log = Log(log_leaf(), consent(), end, account(2, 6, confirmed=Count(6, 60)))
    assert main(["verify", *written(tmp_path, log.receipt(2), log.receipt(3)), *KEYED]) == 1
    assert capsys.readouterr().err == (
        f"carnet: an account of {RECORD_ID} after the end of its consent has another total\n"
    )


def test_a_split_log_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two people who were shown different logs of one size put their receipts together."""
    other = Log(*LOG.leaves[:7], account(4, 11, 1))
    assert main(["verify", *written(tmp_path, LOG.receipt(1), other.receipt(1)), *KEYED]) == 1
    assert "size 8: the log has another history" in capsys.readouterr().err


def test_the_same_receipt_twice_is_no_contradiction(tmp_path: Path) -> None:
    assert main(["verify", *written(tmp_path, LOG.receipt(5), LOG.receipt(5)), *KEYED]) == 0


def test_a_changed_receipt_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = written(tmp_path, LOG.receipt(5))
    Path(file).write_bytes(Path(file).read_bytes().replace(b'"events":10', b'"events":11'))
    assert main(["verify", file, *KEYED]) == 1
    assert capsys.readouterr() == (
        "",
        f"carnet: {file}: the leaf is not in the log at this place: the proof leads to another root\n",
    )


def test_what_is_no_receipt_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "note.txt"
    file.write_text("dear owner")
    assert main(["verify", str(file), *KEYED]) == 1
    assert capsys.readouterr().err == f"carnet: {file} is not a receipt: a document is not JSON in UTF-8\n"


def test_the_key_may_lie_in_a_file_or_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = written(tmp_path, LOG.receipt(5))
    (tmp_path / "key").write_text(NOTE_KEY.text() + "\n")
    assert main(["verify", file, "--checkpoint-key", str(tmp_path / "key")]) == 0
    monkeypatch.setenv(verify.VARIABLE, NOTE_KEY.text())
    assert main(["verify", file]) == 0


def test_an_old_receipt_needs_the_old_key(tmp_path: Path) -> None:
    """After a change of key both are named."""
    (file,) = written(tmp_path, LOG.receipt(5))
    assert main(["verify", file, "--checkpoint-key", OTHER_NOTE_KEY.text()]) == 1
    assert main(["verify", file, "--checkpoint-key", OTHER_NOTE_KEY.text(), *KEYED]) == 0


def test_nothing_is_proven_without_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And it says whose key is needed."""
    assert main(["verify", *written(tmp_path, LOG.receipt(5))]) == 2
    found = capsys.readouterr()
    assert found.out == "" and f"the key of the log {ORIGIN}: --checkpoint-key KEY" in found.err


@pytest.mark.parametrize("key", ["nowhere", "a+b", NOTE_KEY.text()[:-1], KEY.public.hex()])
def test_a_key_that_is_none_is_the_command_lines_fault(key: str, tmp_path: Path) -> None:
    (file,) = written(tmp_path, LOG.receipt(5))
    assert main(["verify", file, "--checkpoint-key", key]) == 2


def test_the_logs_secret_key_is_told_to_be_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It lies in the cloud's folder of keys, and its name looks like what is wanted."""
    (tmp_path / "log.key").write_text(encode_key(LOG_SIGN, b"\x17" * 32))
    (file,) = written(tmp_path, LOG.receipt(5))
    assert main(["verify", file, "--checkpoint-key", str(tmp_path / "log.key")]) == 2
    err = capsys.readouterr().err
    assert "is a secret key" in err and "the public key is wanted" in err and "17" * 8 not in err


def test_a_file_that_is_not_there_is_the_command_lines_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path / "gone.json"), *KEYED]) == 2
    assert "gone.json cannot be read: No such file or directory" in capsys.readouterr().err


def test_for_programs_there_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *written(tmp_path, LOG.receipt(1)), *KEYED, "--json"]) == 0
    (proven,) = json.loads(capsys.readouterr().out)
    assert proven == {"index": 1, "leaf": consent().document(), "origin": ORIGIN, "size": 8}


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["verify", "--help"])
    assert left.value.code == 0
    assert "example: carnet verify receipt.json --checkpoint-key" in capsys.readouterr().out


# the example of the page

PAGE = (CHECKOUT / "docs" / "ledger.md").read_text("utf-8")
LINES = re.findall(r"^\.venv/bin/carnet (verify .*)$", PAGE, re.MULTILINE)


def typed(line: str) -> list[str]:
    """A line as a shell hands it over."""
    found = []
    for word in line.split():
        matching = sorted(map(str, Path().glob(word)))
        found += matching if "*" in word else [word]
    return found


def test_the_pages_receipts_are_what_their_maker_makes() -> None:
    made = make_receipt_example.files()
    assert {path.name: path.read_bytes() for path in make_receipt_example.FOLDER.iterdir()} == made


def test_the_pages_lines_prove_what_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed in the checkout: a yes alone, then the whole story with nothing added after its end."""
    monkeypatch.chdir(CHECKOUT)
    outs = []
    for line in LINES:
        assert main(typed(line)) == 0
        outs.append(capsys.readouterr().out)
    alone, together = outs
    assert alone.count("proven: ") == 1 and "give: " in alone
    assert together.count("proven: ") == len(list(make_receipt_example.FOLDER.glob("*.json"))) == 5
    assert "none missing between them" in together and "nothing was added after its end" in together


def test_an_example_that_somebody_changed_is_refused_and_the_others_are_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten confirmed samples less."""
    monkeypatch.chdir(CHECKOUT)
    words = typed(LINES[1])
    changed = tmp_path / "account-4.json"
    text = (make_receipt_example.FOLDER / changed.name).read_text()
    assert '"samples":120' in text
    changed.write_text(text.replace('"samples":120', '"samples":110'))
    assert main([str(changed) if word.endswith(changed.name) else word for word in words]) == 1
    out, err = capsys.readouterr()
    assert out.count("proven: ") == sum(word.endswith(".json") for word in words) - 1
    assert f"{changed}: the leaf is not in the log" in err
