"""Imports put off: not paid for by the unit, and the very same module for whoever uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(program: str) -> list[str]:
    """What the program prints, in an interpreter of its own, as words."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_the_client_of_the_broker_brings_neither_http_nor_mail() -> None:
    """Also after a later paho: whatever it uses of them at once would be seen here."""
    program = (
        "import sys, carnet_agent.mqtt;"
        "print(*[m for m in ('http', 'http.client', 'email', 'email.message') if m in sys.modules])"
    )
    assert run(program) == []


def test_a_module_put_off_is_itself_when_it_is_used() -> None:
    """By its own name, by its package, and by an import that names what is in it."""
    program = """
import sys
from carnet_agent.lazily import lazily
lazily("urllib.request")
import urllib.request
assert urllib.request is sys.modules["urllib.request"] and "http.client" not in sys.modules
assert "mqtt" in urllib.request.getproxies()
from urllib.parse import urlsplit
assert urlsplit("mqtt://broker:1883").port == 1883
import http.client
print(type(urllib.request).__name__, urllib.request.Request("http://x").host)
"""
    environment = "import os; os.environ['mqtt_proxy'] = 'http://127.0.0.1:1'\n"
    assert run(environment + program) == ["module", "x"]


def test_a_module_is_read_once_even_if_it_asks_for_what_it_has_not_yet(tmp_path: Path) -> None:
    """As with an import that goes in a circle: it gets no second copy of itself, only an AttributeError."""
    source = "import odd, sys\nsys.read = [*getattr(sys, 'read', []), hasattr(odd, 'late')]\nlate = 1\n"
    (tmp_path / "odd.py").write_text(source)
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from carnet_agent.lazily import lazily
lazily("odd")
import odd
assert not hasattr(sys, "read")
print(odd.late, hasattr(odd, "never"), sys.read)
"""
    assert run(program) == ["1", "False", "[False]"]


def test_a_module_that_is_there_stays_and_one_that_is_nowhere_is_left_to_its_importer() -> None:
    program = """
import json, sys
from carnet_agent.lazily import lazily
lazily("json", "no_such_module")
print(sys.modules["json"] is json, "no_such_module" in sys.modules)
"""
    assert run(program) == ["True", "False"]
