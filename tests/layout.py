"""What the source says about itself: which modules there are, in which layer, and what they take from outside.

The layers are those that import-linter enforces; they are read from ``pyproject.toml`` and written nowhere else.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "carnet": CHECKOUT / "carnet",
    "carnet_agent": CHECKOUT / "agent" / "carnet_agent",
    "carnet_cloud": CHECKOUT / "cloud" / "carnet_cloud",
    "carnet_simulator": CHECKOUT / "simulator" / "carnet_simulator",
}
OWNERS = {
    "clock": {"time", "sched"},
    "socket": {"socket", "select", "selectors", "ssl", "http", "urllib.request", "asyncio", "paho", "can"},
    "thread or process": {"threading", "multiprocessing", "concurrent", "queue", "subprocess", "signal"},
    "file": {"os", "io", "tempfile", "shutil", "fcntl", "mmap", "sqlite3", "pathlib", "ctypes"},
    "random source": {"secrets", "uuid"},
    "log": {"logging"},
}
"""What a pure module may not own -> the modules that would give it; a log is written by shells only."""
CALLS = {
    "datetime.now": "clock",
    "datetime.today": "clock",
    "datetime.utcnow": "clock",
    "date.today": "clock",
    "SigningKey.generate": "random source",
    "PrivateKey.generate": "random source",
    "utils.random": "random source",
    "open": "file",
    "input": "file",
    "print": "log",
}
"""Calls that give it without an import that says so, by the end of their name."""
SEEDED = {
    "random.Random",
    "numpy.random.Generator",
    "numpy.random.default_rng",
    "np.random.Generator",
    "np.random.default_rng",
}
"""Random sources that are handed in, or made from a seed that is."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of ours."""

    name: str
    path: Path

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    def child_of(self, container: str) -> str:
        """The direct child of a package above it that this is, or lies in; empty for the package itself."""
        return self.name.removeprefix(container).removeprefix(".").partition(".")[0]

    def containers(self) -> list[str]:
        """The packages above it that have layers, from the top."""
        words = self.name.split(".")
        names = (".".join(words[:depth]) for depth in range(1, len(words)))
        return [name for name in names if layers(name)]

    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    def imports(self) -> set[str]:
        """Modules and names that it imports, dotted and absolute."""
        return set(imported(self.tree(), self.name if self.path.stem == "__init__" else self.name.rpartition(".")[0]))

    def foreign(self) -> set[str]:
        """Top-level names of its imports that are neither ours nor the standard library's."""
        return {name.partition(".")[0] for name in self.imports()} - set(PACKAGES) - set(sys.stdlib_module_names)


def modules() -> list[Module]:
    """Every module of the four packages, by name."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            words = (package, *path.relative_to(folder).with_suffix("").parts)
            found.append(Module(".".join(words[:-1] if words[-1] == "__init__" else words), path))
    return found


def project() -> dict[str, object]:
    """``pyproject.toml``."""
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def layers(package: str) -> list[list[str]]:
    """The package's layers from the top, each with the children of the package that stand in it; none for most."""
    tool = project()["tool"]
    assert isinstance(tool, dict)
    for contract in tool["importlinter"]["contracts"]:
        if contract.get("containers") == [package]:
            return [re.findall(r"\w+", layer) for layer in contract["layers"]]
    return []


def is_pure(module: Module) -> bool:
    """Whether it is a core or a part: in some package above it, it stands in no layer but that of the core."""
    return part_of(module) is not None


def part_of(module: Module) -> str | None:
    """The package whose core or part it is."""
    for container in module.containers():
        child = module.child_of(container)
        if child == "core" or not any(child in layer for layer in layers(container)):
            return container
    return None


def imported(tree: ast.Module, package: str = "") -> Iterator[str]:
    """Every module that is imported anywhere in the source, and every name that is imported from one, dotted.

    ``package`` is the one that relative imports start from.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def owned(tree: ast.Module) -> list[str]:
    """What the source takes that a pure module is handed instead: ``thing: how`` for each."""
    names = set(imported(tree))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found = [
        f"{thing}: import {name}"
        for name in names
        for thing, givers in OWNERS.items()
        if any(name == giver or name.startswith(f"{giver}.") for giver in givers)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += _called(ast.unparse(node.func), bool(node.args or node.keywords))
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            modules = ("np.random.", "numpy.random.", *(["random."] if "random" in plain else []))
            if name.startswith(modules) and name not in SEEDED:
                found.append(f"random source: {name}")
    found += [f"random source: import {name}" for name in names if name.startswith("random.") and name not in SEEDED]
    return sorted(set(found))


def _called(name: str, has_arguments: bool) -> list[str]:
    if name.endswith(".default_rng") and not has_arguments:
        return [f"random source: {name}() without a seed"]
    ends = (name == call or ("." in call and name.endswith(f".{call}")) for call in CALLS)
    return [f"{CALLS[call]}: {name}()" for call, it_is in zip(CALLS, ends, strict=True) if it_is]
