"""The wheel: the four packages and nothing else lands in site-packages, with the files that they read."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

import boot
from tests.layout import CHECKOUT, PACKAGES


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the checkout by the build backend itself: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, cwd=CHECKOUT, capture_output=True)
    (built,) = folder.iterdir()
    return built


def test_four_packages_and_nothing_called_agent_or_cloud(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_every_module_type_marker_and_dbc_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package, folder in PACKAGES.items():
        assert f"{package}/py.typed" in names
        assert {f"{package}/{path.relative_to(folder)}" for path in folder.rglob("*.py")} <= names
    assert {f"carnet_simulator/dbc/{path.name}" for path in (CHECKOUT / "dbc").iterdir()} <= names


def test_its_commands_are_those_of_a_checkout(wheel: Path) -> None:
    """What ``tools/boot.py`` writes into ``.venv/bin`` and what an installer gets may not drift apart."""
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
    entries = ConfigParser(delimiters="=")
    entries.optionxform = str  # type: ignore[assignment,method-assign]
    entries.read_string(archive.read(name).decode())
    assert dict(entries["console_scripts"]) == {name: f"{module}:main" for name, module in boot.COMMANDS.items()}


def test_an_installed_package_finds_its_own_dbcs(wheel: Path, tmp_path: Path) -> None:
    """Away from the checkout, with the packages of the wheel before all others."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from carnet_simulator.dbcs import dbc_folder, demo_databases; demo_databases(); print(dbc_folder())"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / "carnet_simulator" / "dbc")
