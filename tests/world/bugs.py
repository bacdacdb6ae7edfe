"""Bugs to put in on purpose: each takes one promise away from the product, and a named test must notice.

Law: a bug is a patch of real code, and is taken out again. The world knows nothing of these tests: ``python -m
tests.world.bugs`` says which seeds notice a bug as well.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np

from carnet import grantsets
from carnet.ack import Ack
from carnet.grants import Grant
from carnet.ledger.follow import Verdict
from carnet_agent.buffer import Buffer, files
from carnet_agent.buffer.unproven import Unproven
from carnet_agent.buffer.vouching import Vouching
from carnet_agent.core import Agent
from carnet_agent.following import Following
from carnet_agent.sending.outgoing import Outgoing
from carnet_agent.sending.sender import Sender
from carnet_cloud import consents, core, enqueue, forward, gate, intake
from carnet_cloud.answers import Answers
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.intake import Seen
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Lease
from carnet_cloud.ledger.loghashes import LogHashes
from carnet_cloud.recipients import Outcome
from carnet_cloud.sending import Sender as Delivery
from carnet_cloud.store import SqliteStore
from carnet_cloud.store.devices import Devices
from carnet_cloud.store.outbox import Outbox
from carnet_cloud.store.outboxkeys import OutboxKeys
from carnet_cloud.store.shards import Shards
from tests.world.clockwork import Broken
from tests.world.cloudside import CloudSide
from tests.world.listeners import Breaks
from tests.world.node import Node
from tests.world.rarities import KIND_OF, KINDS
from tests.world.world import World

Patch = tuple[Any, str, Any]
WORLDS = 300
"""In `make test`."""
SEEDS_TRIED = 30
NONCE = bytes(24)


@dataclass(frozen=True)
class Bug:
    """``scenario`` is a test that fails with it, and says so of every life that seeds may lead. Where there is none,
    because the bug is in the world's own loop, ``seed`` finds it with a sentence that begins with ``law``.
    """

    name: str
    what: str
    patches: tuple[Patch, ...]
    law: str
    scenario: str = ""
    seed: int = 0
    kind: str = ""
    """Of `tests.world.rarities`: it is looked for in worlds in which that happens."""

    @property
    def seeds(self) -> range:
        """Where to look."""
        residues = [residue for residue, kind in KIND_OF.items() if kind == self.kind]
        return range(residues[0], WORLDS, KINDS) if residues else range(SEEDS_TRIED)

    @contextmanager
    def put_in(self) -> Iterator[None]:
        """The product with this bug."""
        with ExitStack() as stack:
            for where, name, wrong in self.patches:
                stack.enter_context(patch.object(where, name, wrong))
            yield

    def found(self) -> str:
        """What its seed says, or, since every change of the product gives the seeds other lives, one of the first."""
        for seed in (self.seed, *self.seeds):
            sentence = self.found_by(seed)
            if sentence and sentence.startswith(self.law):
                return sentence
        return ""

    def found_by(self, seed: int) -> str:
        """The sentence of the law that this seed sees broken; empty if it sees nothing."""
        with self.put_in():
            world = World(seed)
            try:
                world.run()
            except Broken as broken:
                return str(broken)
            except Exception as error:  # noqa: BLE001 - a bug may also bring the product down
                return f"{type(error).__name__}: {error}"
            finally:
                world.close()
        return ""


_publish, _add_all = Outgoing.publish, Buffer.add_all
_replay = intake.replay
_commit, _hand_over, _conclude = SqliteStore._commit, Delivery._hand_over, Following._conclude
_close, _receive, _destroy = Answers.close, CloudSide._receive, Outbox.destroy


def _published_is_gone(self: Outgoing, *arguments: Any) -> Any:
    found = _publish(self, *arguments)
    self._buffer.acknowledge(self._buffer.stream, [(1, self._buffer.last_seq)])
    return found


def _answers_before_commit(self: CloudSide, node: Node) -> None:
    def early(answers: Answers, *arguments: Any) -> list[Any]:
        for _, payload in _close(answers, *arguments):
            self._send(payload)
        return []

    with patch.object(Answers, "close", early):
        _receive(self, node)


def _keeps_checkpoints(self: Buffer, envelopes: Any, **kinds: Any) -> Any:
    return _add_all(self, envelopes, schemas=kinds.get("schemas"))


def _endless(*values: Any) -> Lease:
    """A lease that does not know when its record ends, which is the last that it is told."""
    return Lease(*values[:-1])


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _all_inside(grant: Grant, earliest_ms: Any, latest_ms: Any) -> Any:
    return np.ones(len(earliest_ms), bool)


def _destroys_without_looking(self: Outbox, record: str, now_ms: int) -> tuple[int, int]:
    self._db.execute("update outbox set attempts = 0 where record = ? and state = 'queued'", (record,))
    return _destroy(self, record, now_ms)


def _seals_nothing(plain: bytes, *_: Any) -> bytes:
    return NONCE + plain


def _opens_nothing(sealed: bytes, *_: Any) -> bytes:
    return sealed[len(NONCE) :]


BUGS: tuple[Bug, ...] = (
    Bug(
        "published_is_gone",
        "a row counts as delivered once the broker has it",
        ((Outgoing, "publish", _published_is_gone),),
        "law 5",
        "tests/agent/test_core.py::test_an_answer_to_another_check_in_opens_nothing_and_frees_nothing",
    ),
    Bug(
        "answers_before_commit",
        "the receiver acknowledges before its transaction has committed",
        ((CloudSide, "_receive", _answers_before_commit),),
        "law 5",
        seed=64,
    ),
    Bug(
        "judged_only_at_ingest",
        "nobody asks at sending whether the record still allows it, nor when it ends",
        ((GrantBook, "may_send", _constant(True)), (forward, "Lease", _endless)),
        "law 1",
        "tests/cloud/test_consents.py::test_a_send_in_the_air_ends_with_its_record",
    ),
    Bug(
        "withdrawn_but_kept",
        "a narrowing leaves keys and payloads in the outbox",
        ((Outbox, "destroy", _constant((0, 0))),),
        "law 3",
        "tests/cloud/test_consents.py::test_withdraw_destroys_what_waits_and_returns_when_silent",
    ),
    Bug(
        "capture_time_ignored",
        "the gate looks only at now",
        ((gate, "captured_inside", _all_inside),),
        "law 1",
        "tests/cloud/test_core.py::test_samples_from_before_the_grant_are_dropped_and_the_rest_goes",
    ),
    Bug(
        "lease_not_asked",
        "a slow sender writes without asking its lease",
        ((Lease, "guard", _constant(None)),),
        "law 3",
        "tests/cloud/test_lease.py::test_nothing_is_written_after_another_program_has_withdrawn",
    ),
    Bug(
        "no_journal",
        "narrowings are written into the database alone",
        ((Journal, "append", _constant(None)),),
        "law 3",
        "tests/cloud/test_consents.py::test_a_restored_backup_cannot_unwithdraw",
    ),
    Bug(
        "generation_may_fall",
        "the unit takes an older grant set",
        ((grantsets, "_check_place", _constant(None)),),
        "law 3",
        "tests/carnet/test_grantsets.py::test_an_older_set_or_another_of_the_same_generation_is_refused",
    ),
    Bug(
        "history_may_shrink",
        "the unit takes a record that has lost its events",
        ((grantsets, "_check_history", _constant(None)),),
        "law 1",
        "tests/attacks/test_last_generation.py::test_an_older_history_stays_refused_under_the_last_generation",
    ),
    Bug(
        "no_retry",
        "what was not answered is not sent again on a connection that stands",
        ((Sender, "due", _constant([])),),
        "law 5",
        "tests/agent/test_sending.py::test_an_unanswered_row_goes_again_after_ten_seconds_doubling_to_five_minutes",
    ),
    Bug(
        "no_promotion",
        "checkpoints that a crash left are forgotten",
        ((Buffer, "promote", _constant(0)),),
        "law 5",
        "tests/agent/test_core_with_cloud.py::test_a_crash_loses_at_most_what_came_after_the_last_checkpoint",
    ),
    Bug(
        "checkpoint_and_row",
        "the row of a window leaves the window's checkpoints behind",
        ((Buffer, "add_all", _keeps_checkpoints),),
        "law 5",
        "tests/agent/test_buffer.py::test_checkpoints_are_replaced_by_the_final_rows_in_one_transaction",
    ),
    Bug(
        "numbers_used_again",
        "a unit whose disk fell back trusts its head",
        ((Buffer, "offered", property(lambda self: (self.last_seq, self.head))),),
        "law 5",
        "tests/agent/test_core_with_cloud.py::test_a_restored_card_uses_no_number_again_that_the_cloud_has_beyond_a_hole",
    ),
    Bug(
        "saved_is_certain",
        "what was saved from a damaged buffer is sent, whoever used its numbers before",
        ((Unproven, "add", _constant(None)),),
        "law 5",
        "tests/agent/test_lying_disk.py::test_a_disk_that_lied_and_is_damaged_later_uses_no_number_twice",
    ),
    Bug(
        "damaged_rows_go",
        "a row is sent as the disk gives it back",
        ((Vouching, "holds", _constant(True)),),
        "law 5",
        "tests/agent/test_damage.py::test_a_damaged_row_is_not_sent_for_ever_but_named",
    ),
    Bug(
        "tried_is_unseen",
        "what was sent and not confirmed is called destroyed",
        ((Outbox, "destroy", _destroys_without_looking),),
        "law 6",
        "tests/cloud/test_consents.py::test_what_was_tried_without_an_answer_is_unknown_after_the_withdrawal",
    ),
    Bug(
        "log_forgets",
        "what the log has signed lies in the database alone",
        (
            (LogHashes, "size", _constant(0)),
            (LogHashes, "append", _constant(None)),
            (LogHashes, "tenants", _constant([])),
        ),
        "law 6",
        "tests/attacks/test_log_attacks.py::test_f27_a_restored_store_goes_on_with_the_log_that_was_signed",
    ),
    Bug(
        "outbox_unsealed",
        "what waits for a recipient lies in the store as it is",
        ((enqueue, "seal", _seals_nothing), (forward, "open_sealed", _opens_nothing)),
        "law 4",
        "tests/cloud/test_core.py::test_no_reading_lies_in_the_store_unsealed",
    ),
)


def _commits_all_the_same(self: SqliteStore) -> None:
    try:
        _commit(self)
    except sqlite3.OperationalError:
        self._rollback()


def _breaks_is_taken(self: Delivery, *arguments: Any) -> Any:
    sent = _hand_over(self, *arguments)
    return replace(sent, outcome=Outcome.CONFIRMED, failure=None) if isinstance(sent.failure, Breaks) else sent


def _takes_any_log(self: Following, verdict: Verdict, *arguments: Any) -> Any:
    return [] if verdict is Verdict.FORKED else _conclude(self, verdict, *arguments)


def _clone_is_duplicate(*arguments: Any) -> Seen:
    found = _replay(*arguments)
    return Seen.DUPLICATE if found is Seen.CLONE else found


def _written_is_taken(_: Delivery, sent: Any) -> Any:
    return [replace(each, outcome=Outcome.CONFIRMED) if each.outcome is Outcome.WRITTEN else each for each in sent]


FOUND_BY_SEEDS: tuple[Bug, ...] = (
    Bug(
        "full_store_is_ignored",
        "a commit that failed on a full disk is taken for done",
        ((SqliteStore, "_commit", _commits_all_the_same),),
        "law",
        kind="store_full",
        seed=40,
    ),
    Bug(
        "any_path_is_held",
        "the gate does not look which paths the offer has",
        ((gate, "may_hold", _constant(None)),),
        "law 1",
        kind="lying_unit",
        seed=1,
    ),
    Bug(
        "any_answer_is_fresh",
        "the unit takes any acknowledgement for the answer to its last check-in",
        ((Ack, "answers", _constant(True)),),
        "",
        kind="lying_broker",
        seed=2,
    ),
    Bug(
        "any_signature_counts",
        "the receiver does not look who signed an envelope",
        ((intake, "verify", _constant(None)),),
        "law",
        kind="lying_broker",
        seed=2,
    ),
    Bug(
        "renews_what_is_anothers",
        "a sender that stood still renews a lease that another receiver has taken over",
        ((Outbox, "renew", _constant(True)),),
        "law 5",
        kind="several",
        seed=7,
    ),
    Bug(
        "the_dead_are_kept",
        "a receiver that shows no life keeps its shards",
        ((Shards, "bury", _constant(None)),),
        "law",
        kind="several",
        seed=7,
    ),
    Bug(
        "the_seller_goes_on",
        "a unit of the seller is still heard after the sale",
        ((Devices, "end", _constant(None)),),
        "law",
        kind="sale",
        seed=5,
    ),
    Bug(
        "the_sale_is_forgotten",
        "an agent that finds the files of another owner goes on with them",
        ((Buffer, "wipe", _constant(None)),),
        "",
        kind="sale",
        seed=25,
    ),
    Bug(
        "a_clone_is_a_duplicate",
        "a number that comes with another content is taken for a duplicate",
        ((core, "replay", _clone_is_duplicate),),
        "law 5",
        kind="clone",
        seed=11,
    ),
    Bug(
        "keys_are_not_taken",
        "the unit takes no new keys of the cloud",
        ((Agent, "_new_keys", _constant(None)),),
        "",
        kind="keys",
        seed=10,
    ),
    Bug(
        "damage_is_not_seen",
        "a damaged buffer is opened as it is",
        ((files, "check", _constant(True)),),
        "DatabaseError",
        kind="corrupt",
        seed=73,
    ),
    Bug(
        "wrapped_once",
        "the hourly change of wrapping keys destroys the old ones and wraps nothing anew",
        ((OutboxKeys, "rewrap", _constant(None)),),
        "law",
        kind="night",
        seed=23,
    ),
    Bug(
        "any_log_is_the_log",
        "the unit does not compare the heads that it is shown",
        ((Following, "_conclude", _takes_any_log),),
        "law 6",
        kind="second_log",
        seed=4,
    ),
    Bug(
        "an_error_is_a_yes",
        "what broke in a recipient's shell counts as confirmed",
        ((Delivery, "_hand_over", _breaks_is_taken),),
        "law 6",
        seed=12,
    ),
    Bug(
        "written_is_confirmed",
        "what was only written counts as confirmed",
        ((Delivery, "_finish", _written_is_taken),),
        "law 6",
        seed=8,
    ),
    Bug(
        "waits_for_who_hangs",
        "a withdrawal waits for a recipient that says nothing",
        ((consents, "DRAIN_MS", 60_000),),
        "law 3",
        seed=18,
    ),
)
"""Each needs what only a world has: a seed finds it."""
BUGS += FOUND_BY_SEEDS


def search(names: list[str]) -> None:
    """Print the first seed that finds each bug by its law."""
    for bug in BUGS:
        if names and bug.name not in names:
            continue
        seeds = (seed for seed in bug.seeds if (found := bug.found_by(seed)) and found.startswith(bug.law))
        seed = next(seeds, None)
        print(f"{bug.name}: {'not found' if seed is None else f'seed {seed}: {bug.found_by(seed)}'}", flush=True)


if __name__ == "__main__":
    search(sys.argv[1:])
