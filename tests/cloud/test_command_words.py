"""What ``carnet-cloud`` refuses names the setting, the recipient or the file, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.ids import device_text
from carnet_cloud.__main__ import main
from carnet_cloud.config import load
from carnet_cloud.service import Service
from tests.cloud.kit import DEVICE, Unit
from tests.cloud.test_commands import CONFIG, config
from tests.cloud.test_enrol import enrolment

__all__ = ["config"]  # a fixture

ID = "rcp_aaaaaaaaaaaaaaaa"
WEBHOOK = f"""
[[recipient]]
id = "{ID}"
name = "Insurer"
kind = "webhook"
url = "https://insurer.example/"
secret_file = "secret"
"""
MQTT = f"""
[[recipient]]
id = "{ID}"
name = "Repair shop"
kind = "mqtt"
host = "127.0.0.1"
topic = "a/b"
"""


@pytest.mark.parametrize(
    ("text", "secret", "words"),
    [
        (CONFIG + WEBHOOK, None, f"recipient {ID}.secret_file: "),
        (CONFIG + WEBHOOK, "whsec_x", f"recipient {ID}.secret_file: a webhook secret is whsec_ followed by base64"),
        (
            CONFIG + WEBHOOK.replace("https", "http"),
            "whsec_" + "a" * 32,
            f"recipient {ID}.url: a webhook outside this machine needs https",
        ),
        (CONFIG + MQTT + 'password_file = "nowhere"', None, f"recipient {ID}.password_file: "),
        (CONFIG + MQTT + 'token_file = "nowhere"', None, f"recipient {ID}.token_file: "),
        (CONFIG.replace("[api]", '[api]\nmetrics_token_file = "nowhere"'), None, "api.metrics_token_file: "),
        (CONFIG.replace('folder = "keys"', 'folder = "kyes"'), None, "make them with  carnet-cloud keygen "),
    ],
)
def test_what_cannot_be_used_is_named_with_its_setting(
    config: Path, capsys: pytest.CaptureFixture[str], text: str, secret: str | None, words: str
) -> None:
    if secret is not None:
        (config.parent / "secret").write_text(secret)
        (config.parent / "secret").chmod(0o600)
    config.write_text(text)
    assert main(["run", "--config", str(config)]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_a_file_that_is_no_enrolment_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An agent's configuration, as somebody takes it for one."""
    wrong = config.with_name("agent.toml")
    wrong.write_text("[unit]\n")
    assert main(["enrol", str(wrong), "--tenant", "ten_aaaaaaaaaaaaaaaa", "--config", str(config)]) == 1
    assert f"{wrong} is not what `carnet-agent pair` wrote: " in capsys.readouterr().err


def test_a_consent_is_not_the_operators_to_end(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["end", "rec_aaaaaaaaaaaaaaaa", "--config", str(config)])
    assert left.value.code == 2
    assert "carnet owner withdraw" in capsys.readouterr().err


def test_why_knows_which_path_may_have_been_meant(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `offer` does; a path that is known is told nothing of the sort."""
    assert main(["why", "Vehicle.Sped", "--config", str(config)]) == 0
    assert capsys.readouterr().out.startswith(
        "no mapping file of [catalogue] has Vehicle.Sped; is Vehicle.Speed meant?\n"
    )
    assert main(["why", "Vehicle.Speed", "--config", str(config)]) == 0
    assert "mapping file" not in capsys.readouterr().out


def test_why_of_what_is_no_vehicle_is_refused(config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A unit's id has the same form; of it is told which vehicle it is of."""
    unit = tmp_path / "enrolment.json"
    unit.write_bytes(enrolment(Unit()))
    assert main(["enrol", str(unit), "--tenant", "ten_aaaaaaaaaaaaaaaa", "--config", str(config)]) == 0
    words = ["why", "Vehicle.Speed", "--config", str(config), "--vehicle"]
    for other in (device_text(DEVICE), "b" * 25 + "a"):
        assert main([*words, other]) == 1
        assert f"no vehicle {other} is enrolled here" in capsys.readouterr().err
    parts = Service(load(config)).parts
    with parts.store.transaction() as t:
        (vehicle,) = t.devices.vehicles()
    parts.store.close()
    assert main([*words, device_text(DEVICE)]) == 1
    assert f"this is a unit, of vehicle {device_text(vehicle)}" in capsys.readouterr().err
    assert main([*words, device_text(vehicle)]) == 0
