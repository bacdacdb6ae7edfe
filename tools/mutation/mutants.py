"""The mutants of a file: each a whole module with one change, named so that an edit elsewhere leaves its name alone.

Law: a name says file, function and change, never a line: the written reasons of survivors hold until that code changes.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from mutation.sites import Site, sites

SHOWN_MAX = 88
"""Characters of an expression that a name shows at most, unless the change itself is longer."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Parents = dict[ast.AST, ast.AST]


@dataclass(frozen=True, slots=True)
class Mutant:
    """``place`` is the qualified name of the function or class, or empty. ``function``: qualified name and first line
    of the outermost function that holds the change; None where the module's import runs it.
    """

    file: str
    place: str
    change: str
    lines: frozenset[int]
    """Lines of which one is run if the change is."""
    function: tuple[str, int] | None
    code: CodeType

    @property
    def name(self) -> str:
        return f"{self.file} {self.place}: {self.change}"


def mutants_of(root: Path, file: str) -> Iterator[Mutant]:
    """Every mutant of a file, in the order of its source."""
    path = root / file
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parents: Parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    seen: Counter[str] = Counter()
    for site in sites(tree):
        chain = [site.parent, *_ancestors(site.parent, parents)]
        place = ".".join(_names(chain))
        change = _described(site, chain)
        seen[f"{place}: {change}"] += 1
        count = seen[f"{place}: {change}"]
        site.put(site.new)
        code = compile(ast.fix_missing_locations(tree), str(path), "exec", dont_inherit=True)
        site.put(site.old)
        label = change if count == 1 else f"{change} (the {count}. there)"
        yield Mutant(file, place, label, _lines(site, chain), _function(site, chain), code)


def _ancestors(node: ast.AST, parents: Parents) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node


def _names(chain: list[ast.AST]) -> list[str]:
    return [node.name for node in reversed(chain) if isinstance(node, Function | ast.ClassDef)]


def _described(site: Site, chain: list[ast.AST]) -> str:
    """The change within the largest expression around it that is still short."""
    if isinstance(site.old, ast.stmt):
        new = "removed" if isinstance(site.new, ast.Pass) else f"`{ast.unparse(site.new)}`"
        return f"`{_first_line(site.old)}` → {new}"
    around: ast.AST = site.old
    for node in chain:
        if not isinstance(node, ast.expr | ast.comprehension | ast.arg | ast.keyword | ast.arguments):
            break
        if isinstance(node, ast.expr) and len(ast.unparse(node)) <= SHOWN_MAX:
            around = node
    old = ast.unparse(around)
    if around is site.old:
        return f"`{old}` → `{ast.unparse(site.new)}`"
    site.put(site.new)
    new = ast.unparse(around)
    site.put(site.old)
    return f"`{old}` → `{new}`"


def _first_line(node: ast.stmt) -> str:
    return ast.unparse(node).splitlines()[0]


def _lines(site: Site, chain: list[ast.AST]) -> frozenset[int]:
    """Those of the statement; of one that holds others, its head alone."""
    nodes = [site.old, *chain]
    statement = next(node for node in nodes if isinstance(node, ast.stmt | ast.Module | ast.match_case))
    if not isinstance(statement, ast.stmt):
        return frozenset({getattr(site.old, "lineno", 1)})
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    return frozenset(range(statement.lineno, max(last, statement.lineno) + 1))


def _function(site: Site, chain: list[ast.AST]) -> tuple[str, int] | None:
    """The outermost function whose code holds the change; what it takes by default belongs to its definition."""
    held = site.old
    found: ast.AST | None = None
    for node in chain:
        if isinstance(node, Function) and held in node.body:
            found = node
        held = node
    if not isinstance(found, Function):
        return None
    outer = _names(chain[chain.index(found) :])
    first = min([found.lineno, *(each.lineno for each in found.decorator_list)])
    return ".".join(outer), first
