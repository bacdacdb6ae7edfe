"""Modules that are read when something of them is used, for libraries that import more than we ask of them.

Law: the module is the real one, under its own name and only later; nothing of anybody's library is replaced.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def lazily(*names: str) -> None:
    """From now on importing these modules costs nothing, and the first use reads them. Those imported before stay so.

    Not `importlib.util.LazyLoader`: to Python 3.11 an import statement is a use.
    """
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is None:
            continue
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        _read_on_use(module, spec)
        package, _, last = name.rpartition(".")
        if package:
            # as an import does it
            setattr(sys.modules[package], last, module)


def _read_on_use(module: ModuleType, spec: ModuleSpec) -> None:
    """Give the empty module the function that Python calls for what a module does not have (PEP 562)."""
    lock = threading.RLock()
    begun = False

    def absent(attribute: str) -> Any:
        nonlocal begun
        with lock:
            if not begun and spec.loader is not None:
                begun = True
                spec.loader.exec_module(module)
        try:
            return vars(module)[attribute]
        except KeyError:
            raise AttributeError(f"module {module.__name__!r} has no attribute {attribute!r}") from None

    vars(module)["__getattr__"] = absent
