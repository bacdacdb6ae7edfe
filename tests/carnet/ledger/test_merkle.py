"""The tree and its proofs are RFC 6962's, of every size, and a proof has one form only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.errors import LedgerError, LocalProtocolError
from carnet.ledger.merkle import EMPTY, EMPTY_ROOT, Frontier, TreeHead, leaf_hash, stored_frontier, stored_head
from carnet.ledger.proof import consistency_path, inclusion_path, verify_consistency, verify_inclusion
from carnet.limits import NUMBER_MAX
from tests.carnet.ledger.kit import Log
from tests.carnet.ledger.rfc6962 import Tree

SIZE = 130
LEAVES = tuple(bytes([index]) * (index % 40) for index in range(SIZE))
TREE = Tree(LEAVES)
LOG = Log()
for each in LEAVES:
    LOG.add_hash(leaf_hash(each))
SIZES = st.integers(1, SIZE)


def reason_of(judge: object, *arguments: object) -> str:
    try:
        judge(*arguments)  # type: ignore[operator]
    except LedgerError as error:
        return error.reason
    return "accepted"


@pytest.mark.parametrize("size", range(SIZE + 1))
def test_a_head_of_every_size_is_that_of_the_rfc(size: int) -> None:
    """Added leaf by leaf, and made later of what was stored."""
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier, _ = frontier.append(leaf_hash(leaf))
    assert frontier.head() == stored_head(size, LOG.hash_of) == TreeHead(size, TREE.mth(0, size))
    assert frontier == stored_frontier(size, LOG.hash_of)


def test_the_empty_log_has_the_root_of_nothing() -> None:
    assert EMPTY.root.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Frontier().head() == EMPTY


@pytest.mark.parametrize(("size", "root"), [(-1, EMPTY_ROOT), (NUMBER_MAX + 1, EMPTY_ROOT), (1, b"x"), (0, bytes(32))])
def test_a_head_that_no_log_has_does_not_exist(size: int, root: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        TreeHead(size, root)
    assert TreeHead(NUMBER_MAX, bytes(32)).size == NUMBER_MAX


def test_every_stored_node_is_that_of_the_rfc_and_is_stored_once() -> None:
    """Of 130 leaves 130 + 65 + 32 + 16 + 8 + 4 + 2 + 1."""
    log = Log()
    made = [node for leaf in LEAVES for node in log.add_hash(leaf_hash(leaf))]
    assert len(made) == len(log.nodes) == 258
    for node in made:
        begin = node.index << node.level
        assert node.hash == TREE.mth(begin, begin + (1 << node.level))


@pytest.mark.parametrize("size", range(1, SIZE + 1))
def test_every_inclusion_proof_is_that_of_the_rfc_and_holds(size: int) -> None:
    head = LOG.head(size)
    for index in range(size):
        path = LOG.inclusion(index, size)
        assert list(path) == TREE.path(index, 0, size)
        verify_inclusion(leaf_hash(LEAVES[index]), index, head, path)


@pytest.mark.parametrize("second", range(SIZE + 1))
def test_every_consistency_proof_is_that_of_the_rfc_and_holds(second: int) -> None:
    """Of all pairs of sizes; the RFC has none for 0, where nothing is to be shown."""
    head = LOG.head(second)
    for first in range(second + 1):
        path = LOG.consistency(first, second)
        assert list(path) == (TREE.proof(first, second) if first else [])
        verify_consistency(LOG.head(first), head, path)


@given(SIZES, st.data())
def test_an_inclusion_proof_holds_for_no_other_place(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(-1, size + 1))
    path, leaf = LOG.inclusion(index, size), leaf_hash(LEAVES[index])
    assert (reason_of(verify_inclusion, leaf, other, LOG.head(size), path) == "accepted") == (other == index)


@given(SIZES, SIZES, st.data())
def test_an_inclusion_proof_holds_for_no_other_size(size: int, other: int, data: st.DataObject) -> None:
    """With the root of the other size; with its own root it may, where the way is as long: the signed head decides."""
    index = data.draw(st.integers(0, size - 1))
    path, leaf = LOG.inclusion(index, size), leaf_hash(LEAVES[index])
    assert (reason_of(verify_inclusion, leaf, index, LOG.head(other), path) == "accepted") == (other == size)


@given(SIZES, SIZES, SIZES, SIZES)
def test_a_consistency_proof_holds_for_no_other_sizes(first: int, second: int, other: int, another: int) -> None:
    first, second = sorted((first, second))
    other, another = sorted((other, another))
    path = LOG.consistency(first, second)
    holds = reason_of(verify_consistency, LOG.head(other), LOG.head(another), path) == "accepted"
    assert holds == (list(path) == (TREE.proof(other, another)))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 11, 16, 21])
def test_every_flipped_bit_of_an_inclusion_proof_is_refused(size: int) -> None:
    """Of the proof, of the leaf and of the root."""
    head = LOG.head(size)
    for index in range(size):
        path, leaf = LOG.inclusion(index, size), leaf_hash(LEAVES[index])
        for bit in range(256 * (len(path) + 2)):
            changed_leaf, changed_root, *changed = flipped((leaf, head.root, *path), bit)
            changed_head = replace(head, root=changed_root)
            assert reason_of(verify_inclusion, changed_leaf, index, changed_head, changed) == "proof_root"


@pytest.mark.parametrize(("first", "second"), [(1, 2), (3, 7), (4, 7), (6, 8), (8, 8), (7, 21), (16, 21), (65, 130)])
def test_every_flipped_bit_of_a_consistency_proof_is_refused(first: int, second: int) -> None:
    """Of the proof and of both roots."""
    smaller, larger = LOG.head(first), LOG.head(second)
    path = LOG.consistency(first, second)
    for bit in range(256 * (len(path) + 2)):
        old, new, *changed = flipped((smaller.root, larger.root, *path), bit)
        heads = replace(smaller, root=old), replace(larger, root=new)
        assert reason_of(verify_consistency, *heads, changed) == "proof_root"


def flipped(hashes: tuple[bytes, ...], bit: int) -> list[bytes]:
    """The hashes with one bit changed."""
    changed = [bytearray(each) for each in hashes]
    changed[bit // 256][bit % 256 // 8] ^= 1 << bit % 8
    return [bytes(each) for each in changed]


@given(SIZES, st.data())
def test_a_longer_or_shorter_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path, leaf = LOG.inclusion(index, size), leaf_hash(LEAVES[index])
    for wrong in ((*path, bytes(32)), (bytes(32), *path), *((path[:-1], path[1:]) if path else ())):
        assert reason_of(verify_inclusion, leaf, index, LOG.head(size), wrong) in {"proof_length", "proof_root"}
    assert reason_of(verify_inclusion, leaf, index, LOG.head(size), (*path, bytes(32))) == "proof_length"


@given(SIZES, SIZES)
def test_a_longer_or_shorter_consistency_proof_is_refused(first: int, second: int) -> None:
    first, second = sorted((first, second))
    heads, path = (LOG.head(first), LOG.head(second)), LOG.consistency(first, second)
    for wrong in ((*path, bytes(32)), (bytes(32), *path), *((path[:-1], path[1:]) if path else ())):
        assert reason_of(verify_consistency, *heads, wrong) in {"proof_length", "proof_root"}
    assert reason_of(verify_consistency, *heads, (*path, bytes(32))) == "proof_length"


def test_hashes_of_another_length_are_refused() -> None:
    """Or one could take a byte from its neighbour and the node would be the same."""
    head, (sibling, *rest), leaf = LOG.head(8), LOG.inclusion(2, 8), leaf_hash(LEAVES[2])
    moved = leaf + sibling[:1], (sibling[1:], *rest)
    assert reason_of(verify_inclusion, moved[0], 2, head, moved[1]) == "proof_malformed"
    assert reason_of(verify_consistency, LOG.head(3), head, [bytes(31)]) == "proof_malformed"


def test_a_smaller_log_does_not_begin_with_a_larger_one() -> None:
    assert reason_of(verify_consistency, LOG.head(5), LOG.head(4), LOG.consistency(4, 5)) == "proof_sizes"


def test_there_is_no_proof_of_what_is_not_there() -> None:
    """Our own caller is wrong, not the other side."""
    for index, size in ((0, 0), (4, 4), (-1, 4)):
        with pytest.raises(LocalProtocolError):
            inclusion_path(index, size, LOG.hash_of)
    for first, second in ((5, 4), (-1, 4)):
        with pytest.raises(LocalProtocolError):
            consistency_path(first, second, LOG.hash_of)


@given(st.integers(1, 2**40), st.data())
def test_a_proof_reads_few_nodes_however_large_the_log(size: int, data: st.DataObject) -> None:
    """At most 2 ⌈log2 n⌉ of them; their content does not matter here."""
    reads: list[tuple[int, int]] = []

    def hash_of(level: int, index: int) -> bytes:
        assert (index + 1) << level <= size, "a node was asked for that is not complete"
        reads.append((level, index))
        return bytes(32)

    most = 2 * (size - 1).bit_length()
    inclusion_path(data.draw(st.integers(0, size - 1)), size, hash_of)
    assert len(reads) <= most
    reads.clear()
    consistency_path(data.draw(st.integers(0, size)), size, hash_of)
    assert len(reads) <= most
    reads.clear()
    stored_head(size, hash_of)
    assert len(reads) == size.bit_count()
