"""Documents name nothing that does not exist: files, requests, words."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from carnet import canonical
from carnet.offers import parse_offer
from carnet_agent import config as agentconfig
from carnet_cloud import config as cloudconfig
from carnet_cloud.api import Door, make_api
from carnet_cloud.monitoring.readiness import Readiness
from carnet_cloud.monitoring.watching import add_backups, add_watching
from carnet_cloud.replay import Replaying
from carnet_cloud.replayapi import add_replays
from carnet_cloud.why import SENTENCES
from carnet_simulator.commands.broker import load_accounts
from tests.cloud.kit import Cloud
from tests.cloud.test_commands import CONFIG as CLOUD
from tests.conftest import CHECKOUT

DOCUMENTS = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
FOLDERS = ("agent", "bench", "carnet", "cloud", "dbc", "docs", "requirements", "simulator", "systemd", "tests", "tools")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`")
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIKE_TOML = re.compile(r"^(?: {4}|\t)\w+ = \S", re.MULTILINE)
ARCHITECTURE = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
API = (CHECKOUT / "docs" / "api.md").read_text(encoding="utf-8")


def facts() -> dict[str, Any]:
    """What the running service would say of itself."""
    return {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    """By a link, or as a path from the checkout."""
    text = document.read_text(encoding="utf-8")
    linked = [name for name in LINK.findall(text) if not (document.parent / name).exists()]
    named = [name for name in PATH.findall(text) if not (CHECKOUT / name).exists()]
    assert (linked, named) == ([], [])


def test_every_document_is_linked_from_the_readme_and_from_the_architecture() -> None:
    """A reader who looks at either finds all of them."""
    there = {path.resolve() for path in (CHECKOUT / "docs").glob("*.md")}
    for start in (CHECKOUT / "README.md", CHECKOUT / "docs" / "architecture.md"):
        linked = {(start.parent / name).resolve() for name in LINK.findall(start.read_text(encoding="utf-8"))}
        assert there - linked - {start} == set()


def test_every_decision_stands_in_their_index_under_its_own_title() -> None:
    folder = CHECKOUT / "docs" / "decisions"
    rows = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE)
    files = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    titles = [path.read_text(encoding="utf-8").partition("\n")[0] for path in files]
    assert [(name, f"# {number} {title}") for number, name, title in rows] == [
        (path.name, title) for path, title in zip(files, titles, strict=True)
    ]


def test_a_number_that_no_decision_has_is_explained() -> None:
    """Nobody has to wonder whether one was lost."""
    folder = CHECKOUT / "docs" / "decisions"
    used = {int(path.name[:4]) for path in folder.glob("0*.md")}
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert [number for number in range(1, max(used)) if number not in used and f"no {number:04}" not in text] == []


def test_every_request_of_the_api_is_described(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    api = make_api(cloud.store, cloud.consents, cloud.offers, "x" * 32, cloud.clock.now_ms, facts, *cloud.tell)
    add_watching(api, Readiness({}), lambda _: (b"", ""), ())
    add_replays(api, Replaying(cloud.store, cloud.book.standing, cloud.clock.now_ms), {})
    add_backups(api, Door(cloud.store, cloud.consents, "x" * 32, cloud.clock.now_ms), int)
    served = {f"{method.upper()} {path}" for path, methods in api.openapi()["paths"].items() for method in methods}
    assert set(re.findall(r"^\| `((?:GET|POST) [^`]+)`", API, re.MULTILINE)) == served


def test_every_verdict_is_described() -> None:
    words = API.partition("\n## Why\n")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", words, re.MULTILINE)) == {
        str(k): v for k, v in SENTENCES.items()
    }


def test_the_architecture_names_every_verdict() -> None:
    assert set(SENTENCES) - set(re.findall(r"`(\w+)`", ARCHITECTURE)) == set()


def test_every_law_that_a_module_cites_is_told() -> None:
    """By its number, in the architecture."""
    laws = re.findall(r"^(\d)\. \*\*", ARCHITECTURE.partition("\n## The laws\n")[2].partition("\n## ")[0], re.MULTILINE)
    parts = [CHECKOUT / folder for folder in ("agent", "carnet", "cloud", "simulator", "tests")]
    text = "".join(file.read_text(encoding="utf-8") for part in parts for file in part.rglob("*.py"))
    assert laws == [str(number) for number in range(1, 8)]
    assert set(re.findall(r"\b[Ll]aw (\d)\b", text)) <= set(laws)


def test_the_example_offer_is_one() -> None:
    document = json.loads(API.partition("```json\n")[2].partition("```")[0])
    added = {"v": 1, "type": "offer", "id": "off_aaaaaaaaaaaaaaaa", "created_ms": 1, "replay_ms": 0}
    assert len(parse_offer(canonical.encode(document | added)).items) == 2


EXAMPLES = [(document, block) for document in DOCUMENTS for block in TOML.findall(document.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("document", "block"), EXAMPLES, ids=lambda each: each.name if isinstance(each, Path) else "")
def test_what_is_shown_as_toml_is_taken_by_the_program_that_it_is_for(
    document: Path, block: str, tmp_path: Path
) -> None:
    """A reader copies it. A part of agent.toml or cloud.toml is tried with what it cannot be without."""
    tables = tomllib.loads(block)
    if "users" in tables:
        assert load_accounts(block.encode())
    elif "signal" in tables:
        ours = tomllib.loads((CHECKOUT / "dbc" / "carnet_demo.map.toml").read_text(encoding="utf-8"))
        assert set(tables["dbc"]) <= set(ours["dbc"])
        assert set[str]().union(*tables["signal"]) <= set[str]().union(*ours["signal"])
    elif "store" in tables or "recipient" in tables:
        whole = block if "store" in tables else CLOUD + block
        (tmp_path / "cloud.toml").write_text(whole, encoding="utf-8")
        assert cloudconfig.load(tmp_path / "cloud.toml").recipient
    else:
        rest = "" if "unit" in tables else '[unit]\nstate = "state"\n[mqtt]\nhost = "127.0.0.1"\n'
        assert agentconfig.parse((rest + block).encode(), tmp_path / "agent.toml").bus


def test_no_setting_is_shown_where_no_test_reads_it() -> None:
    found = [path.name for path in DOCUMENTS if LIKE_TOML.search(path.read_text(encoding="utf-8"))]
    assert found == []
