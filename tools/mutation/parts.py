"""The parts that are mutated, and the tests that have to notice: those that ask this part directly, and quickly.

Law: what only a test of something larger would notice gets a test of its own, which says what was wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Part:
    """``files``: what is changed, a file or a folder's modules; ``tests``: files and folders for pytest."""

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]

    def sources(self, root: Path) -> list[str]:
        """Every file, from the root of the checkout. ValueError for a name that is none."""
        found = {name: sorted(root.glob(name)) for name in self.files}
        if missing := [name for name, files in found.items() if not files]:
            raise ValueError(f"{self.name}: there is no {', '.join(missing)}")
        return [str(file.relative_to(root)) for files in found.values() for file in files]


PARTS: Final = (
    Part(
        "gate",
        tuple(f"cloud/carnet_cloud/{name}.py" for name in ("gate", "grantbook", "judging", "enqueue")),
        (
            "tests/cloud/test_gate.py",
            "tests/cloud/test_grantbook.py",
            "tests/cloud/test_core.py",
            "tests/cloud/test_sealed.py",
            "tests/cloud/test_furtherkeys.py",
            "tests/cloud/test_enqueue.py",
            "tests/cloud/test_enqueue_keys.py",
            "tests/cloud/test_enqueue_times.py",
            "tests/cloud/test_judging_oracle.py",
        ),
    ),
    Part(
        "consent",
        tuple(
            f"carnet/{name}.py"
            for name in ("grants", "records", "recordevents", "states", "offers", "narrowing", "grantsets", "ownerkeys")
        ),
        (
            "tests/test_limits.py",
            "tests/carnet/test_grants.py",
            "tests/carnet/test_grantsets.py",
            "tests/carnet/test_narrowing.py",
            "tests/carnet/test_offers.py",
            "tests/carnet/test_ownerkeys.py",
            "tests/carnet/test_consent_rules.py",
            "tests/carnet/test_consent_doc.py",
            "tests/carnet/test_consent_vectors.py",
            "tests/carnet/test_document_models.py",
            "tests/attacks/test_consent_attacks.py",
            "tests/attacks/test_last_generation.py",
        ),
    ),
    Part(
        "envelope",
        (
            *(
                f"carnet/{name}.py"
                for name in ("envelope", "box", "note", "padding", "sealed", "sealedbox", "signatures")
            ),
            *(f"cloud/carnet_cloud/{name}.py" for name in ("intake", "boxes")),
        ),
        (
            "tests/test_limits.py",
            "tests/carnet/test_envelope.py",
            "tests/carnet/test_box.py",
            "tests/carnet/test_padding.py",
            "tests/carnet/test_sealed.py",
            "tests/carnet/test_sealedbox.py",
            "tests/carnet/test_signatures.py",
            "tests/carnet/test_vectors.py",
            "tests/attacks/test_envelope.py",
            "tests/cloud/test_intake.py",
            "tests/cloud/test_boxes.py",
        ),
    ),
    Part(
        "buffer",
        ("agent/carnet_agent/buffer/*.py",),
        (
            "tests/test_limits.py",
            "tests/agent/test_buffer.py",
            "tests/agent/test_buffer_rules.py",
            "tests/agent/test_buffer_ends.py",
            "tests/agent/test_buffer_disk.py",
            "tests/agent/test_buffer_remains.py",
            "tests/agent/test_buffer_tables.py",
            "tests/agent/test_plausible.py",
            "tests/agent/test_damaged_at_work.py",
            "tests/agent/test_sealed_counts.py",
            "tests/agent/test_salvage.py",
            "tests/agent/test_vouching.py",
            "tests/agent/test_unproven.py",
        ),
    ),
)
