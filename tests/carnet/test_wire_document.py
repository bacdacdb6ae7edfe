"""The document is the law: a stranger can read an envelope from it, and its tables are those of the code."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path

import nacl.public
import nacl.signing

import carnet
from carnet import hashes, signatures

PAGE = (Path(__file__).parent.parent.parent / "docs" / "wire-format.md").read_text()
VECTORS = Path(__file__).parent.parent / "vectors"
MODULES = Path(carnet.__file__).parent
LAYERS = (
    "ack bodies box canonical compression down envelope fields growth ids keys"
    " keyset note padding sealedbox signatures topics"
)
REFUSALS = ("FormatError", "SignatureError", "OpenError")
SENDERS_ONLY = {"prelude_lengths"}
NOT_ON_THE_WIRE = {"topic_malformed", "topic_wrong_shard", "ack_other_stream"}


def _example() -> tuple[bytes, bytes, str]:
    """Envelope, plaintext and manifest hash as they are printed in the document."""
    text = PAGE.partition("<!-- example begins -->")[2].partition("<!-- example ends -->")[0]
    outer, inner = text.split("plaintext of the box")
    hexadecimal = re.compile(r"^ *\d+  ([0-9a-f]+)", re.MULTILINE)
    envelope, plain = (bytes.fromhex("".join(hexadecimal.findall(part))) for part in (outer, inner))
    return envelope, plain, text.rstrip("`\n").splitlines()[-1]


def _blake2b(size: int, person: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=size, person=person).digest()


def test_a_stranger_reads_the_worked_example_with_libsodium_alone() -> None:
    """Signature, manifest, sealed box, padding, binding and body by the offsets of the document;
    nothing of ours helps.
    """
    envelope, plain, manifest_hash = _example()
    signing, sealing = nacl.signing.SigningKey(b"\x01" * 32), nacl.public.PrivateKey.from_seed(b"\x03" * 32)
    box = envelope[152 + 13 :]
    manifest = envelope[:88] + envelope[153:165] + _blake2b(32, b"carnet box", box)
    signing.verify_key.verify(b"carnet envelope v1\0" + manifest, envelope[88:152])
    assert _blake2b(32, b"carnet manifest", manifest).hex() == manifest_hash
    assert envelope[48:56] == _blake2b(8, b"carnet keyid", bytes(signing.verify_key))
    assert envelope[153:161] == _blake2b(8, b"carnet keyid", bytes(sealing.public_key))
    assert int.from_bytes(envelope[161:165], "big") == len(box) == 48 + 256
    assert nacl.public.SealedBox(sealing).decrypt(box) == (plain + b"\x80").ljust(256, b"\0")
    place = b"CNT1" + envelope[4:6] + b"\0" + envelope[8:32] + envelope[40:48] + envelope[48:56] + envelope[153:161]
    assert len(place) == 55 and plain[:32] == _blake2b(32, b"carnet binding", place)
    assert int.from_bytes(plain[36:40], "big") == 7
    assert json.loads(plain[94:]) == {"counters": {"frames": 7}}


def _reasons_in_code() -> set[str]:
    """Every literal reason with which a parser of the wire refuses."""
    found = set()
    for name in LAYERS.split():
        for node in ast.walk(ast.parse((MODULES / f"{name}.py").read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFUSALS:
                found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and name == "box":
                found |= {arg.value for arg in node.value.elts[:1] if isinstance(arg, ast.Constant)}
    return {str(reason) for reason in found} - SENDERS_ONLY


def _reasons_in_document() -> list[str]:
    section = PAGE.partition("## Refusals")[2].partition("\n## ")[0]
    return re.findall(r"^\|[^|]*\| \w+Error \| `(\w+)` \|", section, re.MULTILINE)


def test_the_table_of_refusals_is_the_codes() -> None:
    """No reason without a line, no line without a reason, none twice."""
    listed = _reasons_in_document()
    assert len(listed) == len(set(listed))
    assert set(listed) == _reasons_in_code()


def test_every_refusal_has_a_vector() -> None:
    """Whoever writes another reader can try each of them."""
    vectors = [json.loads((VECTORS / name).read_text())["vectors"] for name in ("envelope.json", "down.json")]
    tried = {vector["outcome"] for each in vectors for vector in each}
    assert tried - {"accepted"} == set(_reasons_in_document()) - NOT_ON_THE_WIRE


def test_the_tables_of_persons_and_contexts_are_the_codes() -> None:
    """And every person or context written anywhere in the package stands in them."""
    persons = {
        name.encode(): int(size) for name, size in re.findall(r"^\| `(carnet \w+)` \| (\d+) \|", PAGE, re.MULTILINE)
    }
    contexts = [name.encode() + b"\0" for name in re.findall(r"^\| `(carnet \w+ v1)␀` \|", PAGE, re.MULTILINE)]
    assert persons == hashes.PERSONS and sorted(contexts) == sorted(signatures.CONTEXTS)
    written = {
        bytes(node.value)
        for module in MODULES.glob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and node.value.startswith(b"carnet ")
    }
    assert written == set(persons) | set(contexts)
    assert all(len(person) <= 16 for person in persons)
