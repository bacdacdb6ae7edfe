"""Which store a configuration names: exactly one, without a password in it, and SQLite without PostgreSQL's driver."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from carnet.errors import ConfigError
from carnet_cloud.config import StoreSection
from carnet_cloud.running.opening import open_store

SECRET = "hunter2-of-the-test"


def section(**store: Any) -> StoreSection:
    return StoreSection(journal=Path("journal/narrowings"), wrapping_keys=Path("keys"), **store)


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ({}, "exactly one of path"),
        ({"path": "store.db", "url": "postgresql:///carnet"}, "exactly one of path"),
        ({"path": "store.db", "password_file": "secret"}, "password_file belongs to url"),
        ({"url": "mysql:///carnet"}, "postgresql://user@host:port/database"),
        ({"url": "host=db dbname=carnet"}, "postgresql://user@host:port/database"),
        ({"url": f"postgresql://carnet:{SECRET}@db/carnet"}, "url holds a password"),
        ({"url": f"postgresql://carnet:{SECRET}%zz@db/carnet"}, "url holds a password"),
        ({"url": f"postgresql://carnet@db/carnet?password={SECRET}"}, "url holds a password"),
    ],
)
def test_a_section_that_names_no_store_or_two_is_refused(store: dict[str, str], sentence: str) -> None:
    """And what it says holds no password."""
    with pytest.raises(ValidationError, match=sentence) as refused:
        section(**store)
    assert all(SECRET not in error["msg"] for error in refused.value.errors())


def test_a_new_file_is_new_once(tmp_path: Path) -> None:
    place = section(path=tmp_path / "store.db")
    for is_new in (True, False):
        opened = open_store(place, b"i" * 16, 1)
        assert opened.is_new is is_new
        opened.store.close()


def test_sqlite_needs_no_driver_of_postgresql(tmp_path: Path) -> None:
    """The whole program with a file for its store, where psycopg cannot be imported."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import carnet_cloud.service\n"
        "from pathlib import Path\n"
        "from carnet_cloud.config import StoreSection\n"
        "from carnet_cloud.running.opening import open_store\n"
        f"place = {str(tmp_path)!r}\n"
        "names = dict(journal='j/n', wrapping_keys='k')\n"
        "open_store(StoreSection(path=place + '/store.db', **names), b'i' * 16, 1).store.close()\n"
        "try: open_store(StoreSection(url='postgresql:///carnet', **names), b'i' * 16, 1)\n"
        "except Exception as error: print(error.reason, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    command = f"{sys.executable} -m pip install 'psycopg[binary]'"
    assert done.stdout == f"store_driver store.url needs psycopg: {command}\n"


def test_a_password_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    with pytest.raises(ConfigError) as refused:
        open_store(section(url="postgresql:///carnet", password_file=secret), b"i" * 16, 1)
    assert refused.value.reason == "secret_permissions"
