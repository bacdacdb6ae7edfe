"""agent.toml is refused in one sentence that names the key; what was checked once is read back without a validator."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel

from carnet.errors import ConfigError, DbcError, MappingError
from carnet.signals import Category
from carnet_agent import compiled
from carnet_agent.__main__ import main
from carnet_agent.assembly import ceiling, make_agent
from carnet_agent.config import load
from carnet_agent.identity import read_identity
from carnet_agent.settings import Settings, from_json, to_json
from tests.agent.units import DBC, config_text, make_unit

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A unit's folder can be moved: what the file names is beside it."""
    settings = load(make_unit(tmp_path).config)
    assert settings.unit.state == tmp_path / "state"
    assert settings.bus[0].dbc == (DBC / "carnet_demo.dbc",)


def test_absent_and_empty_differ(tmp_path: Path) -> None:
    """No ceiling lets every category through, an empty one none."""
    assert ceiling(load(make_unit(tmp_path).config)).categories == frozenset(Category)
    empty = make_unit(tmp_path, config_text(extra="[ceiling]\ncategories = []\n"))
    assert ceiling(load(empty.config)).categories == frozenset()


def test_days_without_the_time_and_the_ceiling_reach_the_unit(tmp_path: Path) -> None:
    """What is validated is also what is in force."""
    extra = '[grants]\nuntimed_days_max = 3\n[ceiling]\ncategories = ["comfort"]\n'
    unit = make_unit(tmp_path, config_text(extra=extra))
    words = ["--owner-key", str(unit.owner_key), "--cloud-keys", str(unit.cloud_keys)]
    assert main(["pair", "--config", str(unit.config), *words, "--out", str(tmp_path / "enrolment.json")]) == 0
    made = make_agent(compiled.compile_now(unit.config), read_identity(unit.state), random.Random(1).randbytes)
    assert made._unit.untimed_ms_max == 3 * 86_400_000
    assert made._unit.ceiling.categories == {Category.COMFORT}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (config_text(extra="[unit2]\n"), "unit2"),
        (config_text(extra="[buffer]\nsize_bytes_max = 0\n"), "buffer.size_bytes_max"),
        (config_text(extra='[buffer]\nsize_bytes_max = "1000000000"\n'), "buffer.size_bytes_max"),
        (config_text(extra="[ceiling]\ninterval_ms_min = { driving = 0 }\n"), "ceiling.interval_ms_min"),
        (config_text(extra="[ceiling]\ninterval_ms_min = { speeding = 5 }\n"), "ceiling.interval_ms_min"),
        (config_text(extra='[ceiling]\ncategories = ["everything"]\n'), "ceiling.categories"),
        (config_text(extra="[grants]\nuntimed_days_max = 8\n"), "grants.untimed_days_max"),
        (config_text(extra="[operating]\nvoltage_min = 11.5\n"), "voltage"),
        (config_text(port=0), "mqtt.port"),
        (config_text().replace("port = 1883", "prot = 1883"), "mqtt.prot: there is no such key"),
        (config_text().replace("state =", "sate ="), "unit.sate: there is no such key"),
        (config_text().replace('host = "127.0.0.1"', ""), "mqtt.host: this key is missing"),
        (config_text().replace('"127.0.0.1"', '"broker.example"'), "another machine needs ca_file"),
        (config_text().replace('"127.0.0.1"', '"127.0.0.1.example"'), "another machine needs ca_file"),
        (config_text(extra="[[bus]]\nname = 'can0'\nchannel = 'can0'\ndbc = []\n"), "one name"),
        (config_text(extra="[[bus]]\nname = 'x'\nchannel = 'x'\ndbc = []\nmatch = 'pgn'\n"), "match"),
        ("unit = 7", "unit"),
        ("[unit", "TOML"),
    ],
)
def test_a_wrong_key_is_named_in_one_sentence(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(make_unit(tmp_path, text).config)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_a_broker_on_this_machine_needs_no_certificate(tmp_path: Path, host: str) -> None:
    assert load(make_unit(tmp_path, config_text().replace("127.0.0.1", host)).config).mqtt.ca_file is None


def test_settings_survive_the_way_through_json(tmp_path: Path) -> None:
    """Every kind of key comes back as it was, types included."""
    extra = (
        'receive_buffer_bytes = 4096\n[ceiling]\ncategories = ["driving", "energy"]\nsensitivity = "personal"\n'
        "interval_ms_min = { driving = 100 }\n[operating]\nvoltage = 'Vehicle.X'\nvoltage_min = 11.5\n"
    )
    settings = load(make_unit(tmp_path, config_text(extra=extra)).config)
    back = from_json(to_json(settings))
    assert back == settings
    assert back.ceiling.categories == (Category.DRIVING, Category.ENERGY)
    assert type(next(iter(back.ceiling.interval_ms_min))) is Category


def test_what_was_compiled_is_read_back_and_a_change_is_seen(tmp_path: Path) -> None:
    """A second load runs no child; another byte in the file does."""
    unit = make_unit(tmp_path)
    first = compiled.compile_now(unit.config)
    kept = compiled._read_back(unit.config)
    assert kept is not None
    assert (kept.settings, kept.mappings) == (first.settings, first.mappings)
    assert kept.plan.signals == first.plan.signals
    unit.config.write_text(config_text(port=1884))
    assert compiled._read_back(unit.config) is None
    assert compiled.load(unit.config).settings.mqtt.port == 1884


def test_a_damaged_copy_is_made_again(tmp_path: Path) -> None:
    unit = make_unit(tmp_path)
    first = compiled.compile_now(unit.config)
    for path in (unit.state / "compiled").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert compiled.load(unit.config).settings == first.settings


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        (("carnet_demo.dbc", "absent.dbc"), DbcError, "absent.dbc"),
        (("carnet_demo.map.toml", "carnet_demo_body.map.toml"), MappingError, "carnet_demo_body.map.toml"),
        (("port = 1883", "port = 0"), ConfigError, "mqtt.port"),
    ],
)
def test_the_childs_refusal_is_the_agents(
    tmp_path: Path, change: tuple[str, str], kind: type[Exception], word: str
) -> None:
    """What the short-lived process refuses reaches the operator as one sentence of the same kind."""
    unit = make_unit(tmp_path, config_text().replace(*change))
    with pytest.raises(kind, match=word):
        compiled.load(unit.config)


def test_a_warm_start_imports_no_validator_and_no_parser(tmp_path: Path) -> None:
    """What costs tens of megabytes stays out of the agent's process."""
    unit = make_unit(tmp_path)
    compiled.compile_now(unit.config)
    program = (
        "import sys, pathlib; from carnet_agent import compiled; import carnet_agent.commands.run;"
        f"compiled.load(pathlib.Path({str(unit.config)!r}));"
        "print(*[m for m in ('pydantic', 'can', 'cantools', 'sqlite_utils', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def _agent_keys(kind: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(table, key, description) of every key."""
    hints = get_type_hints(kind)
    for part in fields(kind):
        inner = [each for each in (hints[part.name], *get_args(hints[part.name])) if is_dataclass(each)]
        if inner:
            yield from _agent_keys(inner[0], part.name)
        else:
            yield prefix, part.name, part.metadata["description"]


def _cloud_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, info in model.model_fields.items():
        inner = list(_models(info.annotation))
        for each in inner:
            yield from _cloud_keys(each, name)
        if not inner and name != "kind":
            assert info.description, f"{prefix}.{name} has no description"
            yield prefix, name, info.description


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)


def _documented(title: str) -> set[tuple[str, str, str]]:
    """(table, key, meaning) of every row of the tables under a heading of the document."""
    text = DOCUMENT.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    found, table = set(), ""
    for line in text.splitlines():
        if line.startswith("### "):
            table = line.removeprefix("### ").split("`")[1].strip("[]").strip()
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 3:
            found.add((table, cells[0].strip("`"), cells[2]))
    return found


def test_the_document_has_every_key_of_the_agent() -> None:
    """Each key stands in docs/configuration.md with the description that stands in the code, and no other does."""
    assert _documented("agent.toml") == set(_agent_keys(Settings))


def test_the_document_has_every_key_of_the_cloud() -> None:
    from carnet_cloud.config import CloudConfig

    assert _documented("cloud.toml") == set(_cloud_keys(CloudConfig))
