"""Every mutant judged by the tests that reach it, each in a child that has everything loaded already.

A mutant within a function is put into the loaded module (`put_in`), which costs milliseconds. One that an import runs,
or whose line an import runs, gets a child that imports everything anew with the changed module (`import_changed`).
Law: a survivor has been seen by every test that reaches it, in both ways where both apply.
"""

from __future__ import annotations

import gc
import importlib
import math
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from hypothesis import Phase, settings

from mutation.forks import BROKEN, KILLED, SURVIVED, UNFIT, told, verdict
from mutation.mutants import Mutant
from mutation.reach import PLUGINS, Reach, measure

CPU_S_LEAST = 10
CPU_FACTOR = 4
"""A mutant may take so many times what its tests take without it."""
SHARED = ("backports.zstd", "numpy", "nacl.bindings", "pydantic", "sqlite_utils", "sqlite3", "xdist.scheduler")

Functions = dict[tuple[str, tuple[str, int]], list[FunctionType]]


@dataclass(frozen=True, slots=True)
class Result:
    """``verdict``: SURVIVED or KILLED; ``reached``: how many tests run the changed line."""

    mutant: str
    verdict: int
    reached: int


class Quick:
    """A pytest plugin: failures are not made smaller, because nobody reads them."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        quick = settings(settings.get_profile("repeatable"), phases=[Phase.explicit, Phase.generate])
        settings.register_profile("quick", quick)
        settings.load_profile("quick")


class Loop(Quick):
    """A pytest plugin that hands the collected tests to ``run`` instead of running them."""

    def __init__(self, run: Callable[[dict[str, pytest.Item]], None]) -> None:
        self._run = run

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None  # what cannot be imported is an error, not a run without tests
        self._run({item.nodeid: item for item in session.items})
        return True


def prepare(root: Path) -> None:
    """Load, before any child, what all tests share; of ours nothing is. From here on paths begin at ``root``."""
    os.chdir(root)
    for name in SHARED:
        importlib.import_module(name)


def judge(mutants: Sequence[Mutant], reach: Reach, tests: Sequence[str]) -> Iterator[Result]:
    """The result of every mutant; those that need no import first."""
    quick = [each for each in mutants if each.function is not None]
    named = {each.name: each for each in mutants}
    survived = []
    for result in told(partial(_judge_in_place, quick, reach, tests)):
        mutant = named[result.mutant]
        if result.verdict == UNFIT or (result.verdict == SURVIVED and reach.is_at_import(mutant.file, mutant.lines)):
            survived.append(mutant.name)
        else:
            yield result
    for each in mutants:
        if each.function is None or each.name in survived:
            yield _judge_anew(each, reach, reach.tests_after_import(each.file))


def survey(files: Sequence[str], tests: Sequence[str]) -> Reach:
    """What each test reaches, measured in a child."""

    def run(say: Callable[[Any], None]) -> None:
        with quiet(), tempfile.TemporaryDirectory() as base:
            say(measure(files, [*tests, f"--basetemp={base}/t"], [Quick()]))

    (reach,) = told(run)
    assert isinstance(reach, Reach)
    return reach


def _judge_in_place(mutants: Sequence[Mutant], reach: Reach, tests: Sequence[str], say: Callable[[Any], None]) -> None:
    kills: Counter[str] = Counter()

    def run(items: dict[str, pytest.Item]) -> None:
        loaded = functions()
        gc.freeze()
        for mutant in mutants:
            found = reach.tests(mutant.file, mutant.lines)
            chosen = sorted(found, key=lambda test: (-kills[test], reach.seconds[test]))
            result = SURVIVED
            if chosen:
                result = verdict(
                    partial(_fails_in_place, mutant, loaded, [items[each] for each in chosen]), _bound(reach, chosen)
                )
                kills[chosen[0]] += result == KILLED
            _must_not_be_broken(mutant, result)
            say(Result(mutant.name, result, len(chosen)))

    code = _pytest(tests, Loop(run))
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"pytest ended with {code}")


def _fails_in_place(mutant: Mutant, loaded: Functions, items: Sequence[pytest.Item]) -> int:
    return fails(items) if put_in(mutant, loaded) else UNFIT


def _judge_anew(mutant: Mutant, reach: Reach, chosen: Sequence[str]) -> Result:
    def run_items(items: dict[str, pytest.Item]) -> None:
        os._exit(fails([items[each] for each in chosen if each in items]))

    def run() -> int:
        import_changed(mutant.code)
        _pytest(sorted({each.partition("::")[0] for each in chosen}), Loop(run_items))
        return KILLED  # it could not even be collected

    result = verdict(run, _bound(reach, chosen)) if chosen else SURVIVED
    _must_not_be_broken(mutant, result)
    return Result(mutant.name, result, len(chosen))


def fails(items: Sequence[pytest.Item]) -> int:
    """KILLED as soon as a test fails, SURVIVED if none does."""
    for at, item in enumerate(items):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=items[at + 1] if at + 1 < len(items) else None)
        if item.session.testsfailed:
            return KILLED
    return SURVIVED


def functions() -> Functions:
    """Every function that is loaded, by the file, qualified name and first line of its code."""
    found: Functions = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType):
            code = each.__code__
            found[code.co_filename, (code.co_qualname, code.co_firstlineno)].append(each)
    return found


def put_in(mutant: Mutant, loaded: Functions) -> bool:
    """Give the mutant's code to every function object made from the code that it replaces; False if it does not fit."""
    assert mutant.function is not None
    found = loaded[mutant.code.co_filename, mutant.function]
    assert found, f"nobody has loaded {mutant.name}"
    new = code_of(mutant.code, *mutant.function)
    # without its only `super()` a method closes over one thing less
    if any(each.__code__.co_freevars != new.co_freevars for each in found):
        return False
    for each in found:
        each.__code__ = new
    return True


def code_of(code: CodeType, name: str, line: int) -> CodeType:
    """The code of a function within a module's."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if (each.co_qualname, each.co_firstlineno) == (name, line):
                return each
            if name.startswith(each.co_qualname + "."):
                return code_of(each, name, line)
    raise LookupError(name)


def import_changed(code: CodeType) -> None:
    """From now on, importing the file that this was compiled from gives the changed module."""
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, name: str) -> CodeType | None:
        return code if self.path == code.co_filename else original(self, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


def _pytest(tests: Sequence[str], plugin: object) -> int | pytest.ExitCode:
    with quiet(), tempfile.TemporaryDirectory() as base:
        options = ["-o", "tmp_path_retention_policy=none", f"--basetemp={base}/t"]
        return pytest.main([*PLUGINS, *options, *tests], plugins=[plugin])


class quiet:  # noqa: N801 -- read as a word
    """Within it, nothing that is printed is seen."""

    def __enter__(self) -> None:
        self._kept = os.dup(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        sys.stdout.flush()
        os.dup2(nowhere, 1)
        os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._kept, 1)
        os.close(self._kept)


def _bound(reach: Reach, tests: Sequence[str]) -> int:
    return CPU_S_LEAST + math.ceil(CPU_FACTOR * sum(reach.seconds[each] for each in tests))


def _must_not_be_broken(mutant: Mutant, result: int) -> None:
    if result == BROKEN:
        raise RuntimeError(f"{mutant.name}: the child broke, see above")
