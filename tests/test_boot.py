"""Setting up a machine: complete or not at all, only what is named by hash, at once the second time."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import boot
import debian
from tests.layout import CHECKOUT

WHEEL = "carnet_probe-1.0-py3-none-any.whl"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of four nearly empty packages, in a folder with a space, and all that boot knows of it."""
    root = tmp_path / "a checkout"
    for folder in ("requirements", "carnet", "agent/carnet_agent", "cloud", "simulator/carnet_simulator"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(CHECKOUT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "agent/carnet_agent/__main__.py").write_text("import sys\ndef main(): print(sys.argv[1:]); return 7\n")
    (root / "simulator/carnet_simulator/__main__.py").write_text("import not_there\n")
    for name in boot.SETS:
        (root / "requirements" / f"{name}.txt").write_text(f"# {name}\n")
    monkeypatch.setattr(boot, "ROOT", root)
    monkeypatch.setattr(boot, "VENV", root / ".venv")
    monkeypatch.setattr(boot, "PYTHON", root / ".venv" / "bin" / "python")
    monkeypatch.setattr(boot, "PLACE", root / ".venv" / ".carnet-place")
    return root


def stamped(root: Path, name: str) -> None:
    """Make it look as if a set had been installed."""
    (root / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    if not boot.PYTHON.exists():
        boot.PYTHON.symlink_to(sys.executable)
    boot.stamp(name).write_text(boot.digest(boot.files_of(name)))


def run(root: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Boot as ``make`` does, with nothing to be had from outside."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PATH": "/usr/bin:/bin", **settings}
    command = [sys.executable, "tools/boot.py", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def probe(folder: Path) -> str:
    """A wheel with one module in it; returns its SHA-256."""
    folder.mkdir()
    info = "carnet_probe-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("carnet_probe.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carnet-probe\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()


def test_from_nothing_to_commands_and_then_at_once(checkout: Path, tmp_path: Path) -> None:
    """A part without or with another hash is refused and leaves no stamp; with the right one the command goes on."""
    digest = probe(tmp_path / "parts")
    requirements = checkout / "requirements" / "run.txt"
    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[global]\nfind-links = {tmp_path / 'parts'}\n[install]\nuser = true\n")
    for hashes in ("", f" --hash=sha256:{'0' * 64}"):
        requirements.write_text(f"carnet-probe==1.0{hashes}\n")
        refused = run(checkout, PIP_CONFIG_FILE=str(configuration))
        assert refused.returncode == 1
        assert "could not be installed" in refused.stderr
        assert not list((checkout / ".venv").glob(".carnet-*"))

    requirements.write_text(f"carnet-probe==1.0 --hash=sha256:{digest}\n")
    made = run(checkout, PIP_CONFIG_FILE=str(configuration), PIP_TARGET=str(tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()
    assert (made.returncode, made.stderr) == (0, "")
    program = [str(checkout / ".venv" / "bin" / "carnet-agent"), "two words", "$HOME"]
    agent = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (agent.returncode, agent.stdout) == (7, "['two words', '$HOME']\n")
    again = run(checkout)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_command_whose_module_is_missing_says_so(checkout: Path) -> None:
    """A module that is there and fails is another matter: its own error is shown."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(boot.VENV)], check=True)
    boot.connect()
    said = {}
    for name in ("carnet-cloud", "carnet-sim"):
        program = boot.VENV / "bin" / name
        said[name] = subprocess.run([str(program)], capture_output=True, text=True, check=False).stderr.strip()
    assert said["carnet-cloud"] == "carnet-cloud: carnet_cloud.__main__ is not in this checkout"
    assert said["carnet-sim"].endswith("ModuleNotFoundError: No module named 'not_there'")


def test_the_larger_set_serves_for_the_smaller_and_not_the_other_way_round(checkout: Path) -> None:
    stamped(checkout, "test")
    assert boot.is_ready("run")
    boot.stamp("test").unlink()
    stamped(checkout, "run")
    assert not boot.is_ready("test")


@pytest.mark.parametrize("change", ["requirements", "python", "stamp", "environment"])
def test_what_has_changed_is_made_again(checkout: Path, change: str) -> None:
    stamped(checkout, "run")
    assert boot.is_ready("run")
    if change == "requirements":
        boot.requirements("run").write_text("# another\n")
    elif change == "python":
        boot.PYTHON.unlink()
        boot.PYTHON.symlink_to("/bin/sh")
    elif change == "stamp":
        boot.stamp("run").write_text("")
    else:
        shutil.rmtree(boot.VENV)
    assert not boot.is_ready("run")


def test_an_environment_that_was_copied_here_is_not_used(checkout: Path) -> None:
    """Its scripts start the Python of the place that it was made in."""
    stamped(checkout, "run")
    assert boot.works("")
    boot.PLACE.write_text(str(checkout.parent / "elsewhere"))
    assert not boot.works("")


def test_a_set_up_that_fails_takes_the_old_stamps_with_it(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixture of old and new is not complete."""
    stamped(checkout, "run")

    def fail(wanted: str) -> str:
        raise boot.BootError("no network")

    monkeypatch.setattr(boot, "install", fail)
    assert boot.main(["test"]) == 1
    assert not boot.is_ready("run")


def test_requirements_that_change_during_the_set_up_are_installed_by_the_next(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment holds what they said before, and is not taken for a complete one."""
    stamped(checkout, "run")

    def change(wanted: str) -> str:
        boot.requirements(wanted).write_text("# one package more\n")
        return "pip"

    monkeypatch.setattr(boot, "install", change)
    assert boot.main(["test"]) == 0
    assert not boot.is_ready("test")
    monkeypatch.setattr(boot, "install", lambda _: "pip")
    assert boot.main(["test"]) == 0
    assert boot.is_ready("test")


def test_without_ensurepip_and_without_the_right_to_install_it_the_command_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boot, "has_ensurepip", lambda: False)
    monkeypatch.setattr(debian, "_rights", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: None)
    assert boot.main(["run"]) == 1
    expected = "carnet: this Python has no ensurepip; run: sudo apt-get install -y python3-venv\n"
    assert capsys.readouterr().err == expected


def test_an_old_python_starts_a_newer_one_or_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boot, "VERSION_MIN", (4, 0))
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: None)
    assert boot.main(["run"]) == 1
    assert capsys.readouterr().err.startswith("carnet: Python 3.11 or newer is needed, this is 3.")
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: "/bin/false")
    assert boot.with_newer_python(["run"]) == 1
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: "/bin/true")
    assert boot.with_newer_python(["run"]) == 0


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert boot.main(["demo"]) == 2
    assert capsys.readouterr().err == "usage: python3 tools/boot.py [run|test|bench]\n"


FAKE_APT = """#!/bin/sh
echo "$@ policy=$(test -x {policy} && echo yes)" >>{log}
test "$1" = update && touch {lists}
test -e {lists} || {{ echo "E: Unable to locate package" >&2; exit 100; }}
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get without lists, as in a fresh container; what it was asked for stands in the log."""
    log = tmp_path / "log"
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setattr(debian, "POLICY", tmp_path / "policy-rc.d")
    script = FAKE_APT.format(log=log, lists=tmp_path / "lists", policy=debian.POLICY)
    for name in ("apt-get", "update-rc.d"):
        (tools / name).write_text(script if name == "apt-get" else f'#!/bin/sh\necho "update-rc.d $@" >>{log}\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(debian, "_rights", lambda: ["env"])
    return log


def test_packages_are_installed_with_no_service_started_and_lists_fetched_only_if_needed(apt: Path) -> None:
    """The policy forbids starting while apt-get runs, and is gone afterwards; the service is not enabled either."""
    assert debian.install(["mosquitto", "kmod"])
    words = "install -y --no-install-recommends mosquitto kmod -qq policy=yes"
    assert apt.read_text().splitlines() == [words, "update -qq policy=yes", words, "update-rc.d mosquitto disable"]
    assert not debian.POLICY.exists()


def test_a_policy_of_the_machine_stays(apt: Path) -> None:
    debian.POLICY.write_text("#!/bin/sh\nexit 0\n")
    debian.install(["kmod"])
    assert debian.POLICY.read_text() == "#!/bin/sh\nexit 0\n"


@pytest.mark.parametrize(("strict", "code"), [("true", 1), ("", 0)])
def test_what_cannot_be_installed_is_said_in_one_line_and_fails_only_in_ci(
    strict: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", strict)
    monkeypatch.setattr(debian, "missing", lambda: ["mosquitto", "kmod"])
    monkeypatch.setattr(debian, "_rights", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert debian.main() == code
    said = capsys.readouterr()
    assert (said.out + said.err).count("\n") == 1
    assert "mosquitto kmod" in said.out + said.err


def test_who_may_install_nothing_is_not_asked_for_what_pip_brought(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(debian, "missing", lambda: ["mosquitto", "postgresql"])
    monkeypatch.setattr(debian, "SPARE", {"postgresql": "tools/debian.py"})
    assert debian.main() == 0
    assert capsys.readouterr().out.endswith("sudo apt-get install -y --no-install-recommends mosquitto\n")
    monkeypatch.setattr(debian, "SPARE", {"postgresql": "nothing/of/the/kind"})
    debian.main()
    assert capsys.readouterr().out.endswith("mosquitto postgresql\n")
