"""Where a module can be changed, and into what: every change is one node of its syntax tree put in another's place.

Law: what a test cannot see is not changed: annotations and casts, documentation, sentences for people, decorators,
`assert`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mutation.sql import is_sql, other_sql

COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNTOUCHED: Final = frozenset({"annotation", "returns", "decorator_list", "type_params", "bases"})
"""Fields of nodes that are not entered."""


@dataclass(frozen=True, slots=True)
class Site:
    """``old`` stands in ``parent.field`` (at ``index`` of a list); ``new`` may take its place."""

    parent: ast.AST
    field: str
    index: int | None
    old: ast.AST
    new: ast.AST

    def put(self, node: ast.AST) -> None:
        """Set the place to this node."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def sites(parent: ast.AST) -> Iterator[Site]:
    """Every change of what is below ``parent``, in the order of the source."""
    for field, value in ast.iter_fields(parent):
        if field in UNTOUCHED or _is_typing(parent, field):
            continue
        nodes = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, node in nodes:
            if isinstance(node, ast.AST) and not _is_left_alone(node) and not _is_cast(parent, field, index):
                for new in changes(node, parent):
                    yield Site(parent, field, index, node, _located(new, node))
                yield from sites(node)


def changes(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST]:
    """What may stand in place of a node."""
    if isinstance(node, ast.stmt):
        yield from _other_statements(node)
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node, parent)
    elif isinstance(node, ast.expr):
        yield from _other_expressions(node)
    if isinstance(node, ast.expr) and _is_condition(node, parent):
        yield from (ast.Constant(value) for value in (False, True) if not (value and isinstance(parent, ast.While)))


def _other_statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Expr() | ast.Raise() | ast.AugAssign() | ast.Delete() | ast.Break() | ast.Continue():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))


def _other_expressions(node: ast.expr) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left, ops, comparators):
            for at, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield ast.Compare(left, [*ops[:at], other(), *ops[at + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for at in range(len(values)):
                rest = values[:at] + values[at + 1 :]
                yield ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.Name(id) if id in NAMES:
            yield ast.Name(NAMES[id], ast.Load())
        case ast.Yield(value=ast.expr()):
            yield ast.Yield(ast.Constant(None))


def _other_constants(node: ast.Constant, parent: ast.AST) -> Iterator[ast.AST]:
    match node.value:
        case bool() as value:
            yield ast.Constant(not value)
        case int() | float() as value:
            yield ast.Constant(value + 1)
        case bytes() as value:
            yield ast.Constant(value + b"?")
        case str() as value if is_sql(value):
            yield from map(ast.Constant, other_sql(value))
        case str() as value if " " not in value and not isinstance(parent, ast.JoinedStr):
            yield ast.Constant("?" + value)


def _is_condition(node: ast.expr, parent: ast.AST) -> bool:
    if isinstance(parent, ast.If | ast.While | ast.IfExp):
        return node is parent.test and not isinstance(node, ast.Constant)
    return isinstance(parent, ast.comprehension) and node in parent.ifs


def _located(new: ast.AST, old: ast.AST) -> ast.AST:
    """A new node where the old one stands; one that was in the source stays where it is."""
    return new if hasattr(new, "lineno") else ast.fix_missing_locations(ast.copy_location(new, old))


def _is_typing(parent: ast.AST, field: str) -> bool:
    """What a class is made with, beside its bases."""
    return isinstance(parent, ast.ClassDef) and field == "keywords"


def _is_cast(parent: ast.AST, field: str, index: int | None) -> bool:
    """Whether this is the type in ``cast(type, value)``, or the name in ``TypeVar(name)``."""
    called = parent.func.id if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) else ""
    return called in {"cast", "TypeVar"} and (field, index) == ("args", 0)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Assert() | ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.keyword(arg="strict"):
            return True
        case ast.Subscript(value=ast.Name(id="Literal")):
            return True
    return False
