"""The networkd files as shipped, read by a real systemd-networkd in the guest."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from tests.lacking import lacking
from tests.system.guest import uml
from tests.system.guest.require import require_guest

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
# There is no udev in the guest; with /sys read-only networkd does not wait for one, as in a container.
SCRIPT = """
wait_up() {
    for _ in $(seq 100); do ip -o link show vcan0 2>/dev/null | grep -q ',UP' && return; sleep 0.1; done
    echo "vcan0 is not up"
}
ip link del vcan0
mount -o remount,ro /sys
mkdir -p /etc/systemd/network
cp "$FILES"/80-*can0.* /etc/systemd/network/
printf '[Match]\\nName=none\\n[CAN]\\nBitRat=1\\n' >/etc/systemd/network/99-wrong.network
systemctl start systemd-networkd || exit 1
wait_up
ip link set vcan0 down
wait_up
ip -o -d link show vcan0
journalctl --no-pager -o cat -u systemd-networkd
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    require_guest()
    if not Path("/lib/systemd/systemd-networkd").exists():
        lacking("no systemd-networkd: apt-get install --no-install-recommends systemd")
    units = tmp_path_factory.mktemp("units")
    outcome = uml.run(["sh", "-c", SCRIPT], timeout_s=60, units=units, environment={"FILES": str(SYSTEMD)})
    assert outcome.code == 0, outcome.output
    return outcome.output.splitlines()


def test_networkd_knows_every_key(said: list[str]) -> None:
    """It says which it does not know: the wrong file was put there to hear that."""
    complaints = [line for line in said if "/etc/systemd/network/" in line and "Configuring with" not in line]
    assert complaints == ["/etc/systemd/network/99-wrong.network:4: Unknown key 'BitRat' in section [CAN], ignoring."]


def test_vcan0_is_made_for_fd_frames_and_comes_up_again_by_itself(said: list[str]) -> None:
    assert "vcan0 is not up" not in said
    (link,) = [line for line in said if "link/can" in line]
    assert "mtu 72" in link
    assert ",UP" in link


def test_the_cars_bus_is_listen_only() -> None:
    files = configparser.ConfigParser(interpolation=None)
    files.optionxform = str  # type: ignore[assignment,method-assign]
    files.read(SYSTEMD / "80-can0.network")
    assert files["Match"]["Name"] == "can0"
    assert files["CAN"]["ListenOnly"] == "yes"
    assert {"BitRate", "RestartSec"} <= set(files["CAN"])
