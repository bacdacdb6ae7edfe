"""The systemd units as shipped: checked by systemd's own tools here, and started by a real systemd in the guest."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from carnet_agent import config
from carnet_cloud.config import CloudConfig
from tests.lacking import lacking
from tests.realparts import real_part
from tests.system.guest import page, uml
from tests.system.guest.require import require_guest
from tests.system.mosquitto import require_mosquitto

CHECKOUT = Path(__file__).resolve().parents[2]
SYSTEMD = CHECKOUT / "systemd"
UNITS = ("carnet-agent", "carnet-cloud")
EXPOSURE_MAX = 16
"""1.6, as ``systemd-analyze --threshold`` counts."""
TIMEOUT_S = 400
"""Four times what it takes on a machine of its own."""
WATCHDOG_S = 4

Facts = dict[str, Any]


def lines(unit: str) -> list[str]:
    return (SYSTEMD / f"{unit}.service").read_text().splitlines()


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        lacking("no systemd-analyze: apt-get install --no-install-recommends systemd")
    return subprocess.run(["systemd-analyze", "--no-pager", *words], check=False, capture_output=True, text=True)


# systemd's own tools


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_exposed_at_most_1_6(unit: str) -> None:
    words = ["security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(SYSTEMD / f"{unit}.service")]
    done = analyze(*words)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_to_complain_about(unit: str, tmp_path: Path) -> None:
    """With a program that exists in place of the installed one."""
    copy = tmp_path / f"{unit}.service"
    text = (SYSTEMD / f"{unit}.service").read_text()
    copy.write_text(text.replace(f"/opt/carnet/.venv/bin/{unit} ", "/bin/true "))
    assert copy.read_text() != text
    done = analyze("verify", "--recursive-errors=no", str(copy))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_nothing_to_complain_about_in_what_writes_the_agents_numbers(tmp_path: Path) -> None:
    """The timer and its service; the program is the agent's, which cannot reach any network from there."""
    for name in ("carnet-agent-metrics.service", "carnet-agent-metrics.timer"):
        text = (SYSTEMD / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/carnet/.venv/bin/carnet-agent ", "/bin/true "))
    done = analyze("verify", "--recursive-errors=no", *(str(path) for path in sorted(tmp_path.iterdir())))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert {"PrivateNetwork=yes", "ProtectSystem=strict"} <= set(lines("carnet-agent-metrics"))
    words = ["security", "--offline=true", "--threshold=30", str(SYSTEMD / "carnet-agent-metrics.service")]
    assert analyze(*words).returncode == 0


def test_a_unit_with_a_wrong_key_is_found(tmp_path: Path) -> None:
    """So that silence above means something."""
    copy = tmp_path / "carnet-agent.service"
    copy.write_text("[Service]\nExecStart=/bin/true\nProtectSytem=strict\n")
    assert "ProtectSytem" in analyze("verify", str(copy)).stderr


# what is written in them


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_watched_restarted_for_ever_and_leaves_no_core(unit: str) -> None:
    wanted = ["Type=notify", "WatchdogSec=30", "Restart=always", "StartLimitIntervalSec=0", "LimitCORE=0"]
    assert [line for line in wanted if line not in lines(unit)] == []


def test_the_agent_is_not_bound_to_its_interface() -> None:
    directives = [line for line in lines("carnet-agent") if not line.startswith("#")]
    assert not [line for line in directives if "BindsTo" in line or ".device" in line]


def test_the_documented_cloud_fits_its_unit() -> None:
    """Store, journal and wrapping keys are in the unit's state folders, and each in one of its own."""
    text = page.installed()[Path("/etc/carnet/cloud.toml")]
    store = CloudConfig.model_validate(tomllib.loads(text)).store
    states = next(line for line in lines("carnet-cloud") if line.startswith("StateDirectory="))
    folders = {f"/var/lib/{name}" for name in states.removeprefix("StateDirectory=").split()}
    assert store.path is not None
    assert {str(store.path.parent), str(store.journal.parent), str(store.wrapping_keys)} == folders


def test_the_documented_configurations_are_read_and_the_bench_differs_in_broker_and_bus_only() -> None:
    """What a copy of the page's blocks gives, each of them."""
    agent, cloud = Path("/etc/carnet/agent.toml"), Path("/etc/carnet/cloud.toml")
    installed, bench = page.installed(), page.bench()
    assert set(installed) == set(bench) == {agent, cloud}
    units = [config.parse(files[agent].encode(), agent) for files in (installed, bench)]
    assert [each.bus[0].channel for each in units] == ["can0", "vcan0"]
    assert [each.mqtt.ca_file is None for each in units] == [False, True]
    clouds = [CloudConfig.model_validate(tomllib.loads(files[cloud])) for files in (installed, bench)]
    assert [each.mqtt.ca_file is None for each in clouds] == [False, True]
    documents = [
        [{name: part for name, part in tomllib.loads(text).items() if name not in {"mqtt", "bus"}} for text in pair]
        for pair in ([installed[agent], bench[agent]], [installed[cloud], bench[cloud]])
    ]
    assert all(first == second for first, second in documents)


def test_every_file_of_the_checkout_that_is_typed_exists() -> None:
    """By its place in an installation."""
    typed = re.findall(r"/opt/carnet/((?:systemd|dbc|tools)[\w./-]+)", page.PAGE.read_text())
    assert len(typed) > 5
    assert [name for name in typed if not (CHECKOUT / name).exists()] == []


def test_every_state_folder_is_closed_to_programs() -> None:
    for unit in UNITS:
        states = next(line for line in lines(unit) if line.startswith("StateDirectory="))
        for name in states.removeprefix("StateDirectory=").split():
            assert f"NoExecPaths=/var/lib/private/{name}" in lines(unit)


# in the guest: the first of these tests pays for the boot


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """One boot: installed, started, killed, hung, probed by tests/system/guest/services.py."""
    require_guest()
    require_mosquitto()
    folder = tmp_path_factory.mktemp("services")
    units, shared = folder / "units", folder / "shared"
    shared.mkdir()
    for unit in UNITS:
        drop_in = units / f"{unit}.service.d"
        drop_in.mkdir(parents=True)
        shutil.copy(SYSTEMD / f"{unit}.service", units)
        (drop_in / "checkout.conf").write_text(checkout_conf())
    result = shared / "facts.json"
    outcome = uml.run(
        [sys.executable, "-m", "tests.system.guest.services", str(result)],
        timeout_s=TIMEOUT_S,
        directory=CHECKOUT,
        writable=[shared],
        units=units,
    )
    assert result.exists(), f"the guest ended with {outcome.code}:\n{outcome.output[-4000:]}"
    found: Facts = json.loads(result.read_text())
    assert "failed" not in found, found["failed"]
    real_part("systemd", found["version"])
    return found


def checkout_conf() -> str:
    """What differs from an installed unit: the environment's Python may lie in a home, and a hang shows sooner."""
    return (
        "[Service]\n"
        f"ProtectHome=tmpfs\nBindReadOnlyPaths={sys.base_prefix} {CHECKOUT}\nExecPaths={sys.base_prefix} {CHECKOUT}\n"
        f"WatchdogSec={WATCHDOG_S}\n"
    )


@pytest.mark.timeout(TIMEOUT_S + 30)
@pytest.mark.parametrize("unit", UNITS)
class TestLife:
    """A service between its start and its end. The agent is well when its readings reach a recipient."""

    def test_it_starts_and_says_that_it_is_ready(self, unit: str, facts: Facts) -> None:
        shown = facts["start"][unit]
        assert (shown["Type"], shown["ActiveState"], shown["NRestarts"]) == ("notify", "active", "0")
        assert shown["StatusText"] == {"carnet-cloud": "receiving", "carnet-agent": "collecting"}[unit]

    def test_killed_it_is_started_again_and_goes_on(self, unit: str, facts: Facts) -> None:
        shown = facts["kill"][unit]
        assert (shown["ActiveState"], shown["NRestarts"]) == ("active", "1")

    def test_f21_hanging_it_is_replaced_and_leaves_no_core(self, unit: str, facts: Facts) -> None:
        assert facts["hang"][unit] == {"watchdog": True, "cores": []}

    def test_stopped_it_ends_cleanly(self, unit: str, facts: Facts) -> None:
        shown = facts["stop"][unit]
        assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success")


@pytest.mark.timeout(TIMEOUT_S + 30)
def test_cloud_and_agent_outlive_a_killed_broker(facts: Facts) -> None:
    assert facts["kill broker"] == {"same_processes": True}


@pytest.mark.timeout(TIMEOUT_S + 30)
class TestInstallation:
    """docs/installation.md, typed from top to bottom."""

    def test_a_check_before_the_first_start_says_what_systemd_will_hand_over(self, facts: Facts) -> None:
        said = facts["start"]["carnet-agent"]["check before"]
        assert said.count("systemd puts it there only while the service runs: start the service") == 3
        assert "wrong" not in said

    def test_a_check_beside_the_running_service_finds_all_in_order_and_leaves_its_connection_alone(
        self, facts: Facts
    ) -> None:
        check = facts["check"]
        assert (check["code"], "the running agent is connected" in check["said"]) == (0, True), check["said"]
        assert check["connections"][0] == check["connections"][1]

    def test_no_secret_lies_open(self, facts: Facts) -> None:
        assert facts["check"]["open"] == []

    def test_what_a_lost_key_agreed_to_goes_on_and_the_one_beside_it_is_shown_it(self, facts: Facts) -> None:
        assert "given" in facts["recover"]

    def test_a_unit_that_was_paired_anew_starts_and_is_taken_by_the_broker(self, facts: Facts) -> None:
        assert facts["renew"]["ActiveState"] == "active"

    def test_the_bench_delivers(self, facts: Facts) -> None:
        assert facts["bench"]["ActiveState"] == "active"


@pytest.mark.timeout(TIMEOUT_S + 30)
@pytest.mark.parametrize("unit", UNITS)
class TestSandbox:
    """What a program can do in the place of ours."""

    def test_it_has_no_rights_and_no_core_file(self, unit: str, facts: Facts) -> None:
        probe = facts[f"probe {unit}"]
        assert probe["uid"] != 0
        assert int(probe["capabilities"], 16) == 0
        assert probe["core"] == 0
        assert probe["namespace"] == "EPERM"

    def test_it_writes_to_its_state_folders_only_and_runs_nothing_from_where_it_can_write(
        self, unit: str, facts: Facts
    ) -> None:
        probe = facts[f"probe {unit}"]
        assert {probe[name] for name in ("write_etc", "write_opt", "write_var")} == {"EROFS"}
        assert set(probe["write_state"].values()) == {"ok"}
        assert set(probe["mode_state"].values()) == {"0o700"}
        assert set(probe["run_written"].values()) == {"EACCES"}
        assert probe["write_and_execute"] == "refused"

    def test_it_reaches_the_network_and_no_other_kind_of_socket(self, unit: str, facts: Facts) -> None:
        probe = facts[f"probe {unit}"]
        assert (probe["inet"], probe["unix"]) == ("ok", "ok")
        assert (probe["netlink"], probe["packet"]) == ("EAFNOSUPPORT", "EAFNOSUPPORT")
        assert probe["can"] == ("ok" if unit == "carnet-agent" else "EAFNOSUPPORT")

    def test_it_sees_neither_homes_nor_other_processes(self, unit: str, facts: Facts) -> None:
        probe = facts[f"probe {unit}"]
        assert probe["list_root"] != "ok"
        assert not probe["others_seen"]

    def test_its_credentials_are_its_own(self, unit: str, facts: Facts) -> None:
        """Programs of ours refuse a secret that others may read."""
        modes = facts[f"probe {unit}"]["credentials"]
        assert "tls_ca.pem" in modes
        assert {int(mode, 8) & 0o077 for mode in modes.values()} == {0}


@pytest.mark.timeout(TIMEOUT_S + 30)
def test_the_agent_can_open_a_bus_and_read_which_boot_it_is_and_whether_the_clock_is_right(facts: Facts) -> None:
    probe = facts["probe carnet-agent"]
    assert (probe["can_bind"], probe["boot_id"], probe["clock_read"]) == ("ok", "ok", "ok")
    assert probe["clock_set"] == "EPERM"
