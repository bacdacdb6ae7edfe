"""Oracles that share nothing with us: pymerkle's tree and proofs, metamorphic-log's (Rust) C2SP notes and proofs.

And roots that were published with RFC 6962's first implementation.
"""

from __future__ import annotations

import hashlib
import json

import metamorphic_log as stranger  # type: ignore[import-untyped]
import pytest
from pymerkle import InmemoryTree, InvalidProof  # type: ignore[import-untyped]
from pymerkle.proof import InclusionProof  # type: ignore[import-untyped]

from carnet.ledger.leaf import salted_hash
from carnet.ledger.merkle import Frontier, leaf_hash
from tests.carnet.ledger.kit import KEY, NOTE_KEY, ORIGIN, Log, salt_of, story
from tests.vectors.make_ledger_vectors import FOLDER

SIZE = 40
LOG = Log()
for number in range(SIZE):
    LOG.add_hash(leaf_hash(bytes([number])))
KEYS = [NOTE_KEY.text()]
PUBLISHED = (
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
)
"""The leaves that Certificate Transparency's own tests add, in hexadecimal, and the root after each."""


def test_the_published_roots() -> None:
    frontier = Frontier()
    for leaf, root in PUBLISHED:
        frontier, _ = frontier.append(leaf_hash(bytes.fromhex(leaf)))
        assert frontier.head().root.hex() == root


def test_pymerkle_has_the_same_roots_and_takes_our_inclusion_proofs() -> None:
    """Of every leaf in every size; a changed one it refuses."""
    tree = InmemoryTree(algorithm="sha256")
    for size in range(1, SIZE + 1):
        tree.append_entry(bytes([size - 1]))
        head = LOG.head(size)
        assert tree.get_root() == head.root
        for index in range(size):
            path = [LOG.nodes[0, index], *LOG.inclusion(index, size)]
            rule = tree.prove_inclusion(index + 1, size).rule
            InclusionProof("sha256", True, size, index + 1, rule, path).verify(path[0], head.root)
            with pytest.raises(InvalidProof):
                InclusionProof("sha256", True, size, index + 1, rule, [path[0], *path]).verify(path[0], head.root)


def test_metamorphic_takes_our_proofs_of_every_size() -> None:
    for second in range(1, SIZE + 1):
        head = LOG.head(second)
        for index in range(second):
            path = list(LOG.inclusion(index, second))
            stranger.verify_inclusion(index, second, LOG.nodes[0, index], path, head.root)
        for first in range(1, second + 1):
            path = list(LOG.consistency(first, second))
            stranger.verify_consistency(first, second, path, LOG.head(first).root, head.root)


def test_metamorphic_reads_our_checkpoints_and_receipts() -> None:
    """Every receipt of the story from its checkpoint on, and one head after the other."""
    log = story()
    for index in range(log.size):
        receipt = log.receipt(index)
        hashed = salted_hash(receipt.leaf, salt_of(index))
        stranger.checkpoint_verify_inclusion(receipt.checkpoint, KEYS, index, hashed, list(receipt.path))
    for first in range(1, log.size):
        notes = log.checkpoint(first), log.checkpoint()
        stranger.checkpoint_verify_consistency(*notes, KEYS, list(log.consistency(first, log.size)))
    head = stranger.checkpoint_verify(log.checkpoint(), KEYS)
    assert (head.origin, head.size, bytes(head.root)) == (ORIGIN, log.size, log.head().root)


def test_metamorphic_judges_the_vectors_as_we_do() -> None:
    """Inclusion and consistency: what one of us refuses, so does the other. Of an empty log it knows no proof."""
    for vector in json.loads((FOLDER / "inclusion.json").read_text())["vectors"]:
        arguments = (vector["index"], vector["size"], bytes.fromhex(vector["leaf"]), hashes(vector["path"]))
        verdict = accepts(stranger.verify_inclusion, *arguments, bytes.fromhex(vector["root"]))
        assert verdict == (vector["outcome"] == "accepted"), vector["name"]
    for vector in json.loads((FOLDER / "consistency.json").read_text())["vectors"]:
        first, second = vector["first"], vector["second"]
        if first["size"] == 0:
            continue
        roots = bytes.fromhex(first["root"]), bytes.fromhex(second["root"])
        verdict = accepts(stranger.verify_consistency, first["size"], second["size"], hashes(vector["path"]), *roots)
        assert verdict == (vector["outcome"] == "accepted"), vector["name"]


def test_metamorphic_accepts_every_checkpoint_that_we_accept() -> None:
    """And refuses those that we refuse, but for what our log never writes although the format allows it."""
    document = json.loads((FOLDER / "checkpoints.json").read_text())
    theirs = {each["name"] for each in document["vectors"] if accepts(verify_note, each["note"], document["keys"])}
    ours = {each["name"] for each in document["vectors"] if each["outcome"] == "accepted"}
    stricter = {"an extension line", "a name in upper case", "size 0 with a root", "size 2^53", "seventeen lines"}
    assert ours < theirs and theirs - ours == stricter


verify_note = stranger.checkpoint_verify


def accepts(verify: object, *arguments: object) -> bool:
    try:
        verify(*arguments)  # type: ignore[operator]
    except stranger.VerifyError:
        return False
    return True


def hashes(path: list[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in path]


def test_a_leaf_hash_is_one_line_of_the_standard_library() -> None:
    assert LOG.nodes[0, 3] == hashlib.sha256(b"\x00\x03").digest()
    assert KEY.public in NOTE_KEY.public
