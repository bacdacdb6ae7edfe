"""Configuration and plan, checked and compiled once, and read back at every later start.

``python -m carnet_agent.compiled CONFIG`` checks the configuration and compiles the DBCs; the agent runs it as a child
when a file has changed. Law: the agent's own process never imports a validator or a DBC parser, and what it reads back
was made from exactly the files that are there now.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carnet.errors import ConfigError, DbcError, Error, MappingError
from carnet_agent.dbc import cache as plancache
from carnet_agent.dbc.database import Loss
from carnet_agent.dbc.mapping import Mapping, load_mapping
from carnet_agent.dbc.plan import Plan
from carnet_agent.settings import Settings, from_json, to_json
from carnet_agent.statefolder import COMPILED_FOLDER, make

VERSION = 2
"""Raise it when `carnet_agent.settings` changes or `carnet_agent.config` refuses more, so that everything is checked
again."""
TIMEOUT_S = 300
ERRORS: dict[str, type[Error]] = {kind.__name__: kind for kind in (ConfigError, DbcError, MappingError)}


@dataclass(frozen=True, slots=True)
class Compiled:
    """All that the files of the unit say. ``losses``: what of the DBCs cannot be used."""

    settings: Settings
    plan: Plan
    mappings: tuple[Mapping, ...]
    losses: tuple[Loss, ...]


def load(config: Path) -> Compiled:
    """What the files say now, compiled in a child process if they have changed. ConfigError, DbcError, MappingError."""
    found = _read_back(config)
    if found is None:
        _compile_in_child(config)
        found = _read_back(config)
    if found is None:
        raise ConfigError("compiled_unreadable", "the compiled configuration cannot be kept in the state folder")
    return found


def compile_now(config: Path) -> Compiled:
    """Check and compile in this process, and keep the result for `load`."""
    from carnet_agent.config import parse, read

    data = read(config)
    settings = parse(data, config)
    make(settings.unit.state)
    folder = settings.unit.state / COMPILED_FOLDER
    plan, losses = plancache.cached_plan(
        folder, _files(settings), buses=[bus.name for bus in settings.bus], match=settings.bus[0].match
    )
    compiled = Compiled(settings, plan, _mappings(settings, plan), losses)
    keep = folder / f"{_settings_key(config, data)}.json"
    part = keep.with_suffix(f".{os.getpid()}.part")
    part.write_text(to_json(settings), encoding="utf-8")
    part.replace(keep)
    _remove_others(folder, {keep.name, f"{_plan_key(settings)}{plancache.SUFFIX}"})
    return compiled


def _read_back(config: Path) -> Compiled | None:
    """The compiled files, or None if there are none for what the files say now."""
    data = _bytes(config)
    folder = _folder(config, data)
    if folder is None:
        return None
    try:
        text = (folder / f"{_settings_key(config, data)}.json").read_text(encoding="utf-8")
        settings = from_json(text)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    found = plancache.load(folder, _plan_key(settings))
    if found is None:
        return None
    plan, losses = found
    return Compiled(settings, plan, _mappings(settings, plan), losses)


def _folder(config: Path, data: bytes) -> Path | None:
    """Where the compiled files lie, by the one key that must be known before the rest is checked."""
    import tomllib

    try:
        state = tomllib.loads(data.decode())["unit"]["state"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return config.absolute().parent / state / COMPILED_FOLDER if isinstance(state, str) else None


def _settings_key(config: Path, data: bytes) -> str:
    # The file's folder decides what its relative paths mean.
    text = json.dumps([VERSION, str(config.absolute().parent), hashlib.sha256(data).hexdigest()])
    return "settings-" + hashlib.sha256(text.encode()).hexdigest()


def _plan_key(settings: Settings) -> str:
    contents = [(bus, path.name, _bytes(path)) for bus, path in _files(settings)]
    return plancache.plan_key(contents, [bus.name for bus in settings.bus], settings.bus[0].match, b"")


def _files(settings: Settings) -> list[tuple[str, Path]]:
    return [(bus.name, path) for bus in settings.bus for path in bus.dbc]


def _mappings(settings: Settings, plan: Plan) -> tuple[Mapping, ...]:
    """Every mapping file, each with the DBC of its bus whose hash it names; a file that two buses name counts once."""
    found: dict[Path, Mapping] = {}
    for bus in settings.bus:
        for path in bus.mapping:
            if path not in found:
                found[path] = _mapping(path, bus.dbc, plan)
    return tuple(found.values())


def _mapping(path: Path, databases: Sequence[Path], plan: Plan) -> Mapping:
    text = _bytes(path)
    hashes = [(hashlib.sha256(_bytes(dbc)).hexdigest(), dbc) for dbc in databases]
    if not hashes:
        raise MappingError("mapping_dbc_differs", f"{path.name}: its bus has no DBC")
    # If it names none of them the first one will do: the refusal says which hash was expected.
    digest, dbc = next((pair for pair in hashes if pair[0].encode() in text), hashes[0])
    units = {(info.message, info.name): info.unit for info in plan.signals if info.dbc == _name(dbc)}
    return load_mapping(text, digest, units, file=path.name)


def _name(dbc: Path) -> str:
    return dbc.name.removesuffix(".dbc").removesuffix(".DBC")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("file_missing", f"{path} cannot be read: {error.strerror}") from error


def _remove_others(folder: Path, keep: set[str]) -> None:
    """Forget what was compiled from earlier files."""
    for path in sorted(folder.iterdir()):
        if path.name not in keep:
            path.unlink(missing_ok=True)


def _compile_in_child(config: Path) -> None:
    """Run this module as a program; its refusal is raised here as if it had happened here."""
    import subprocess  # not on the warm path

    command = [sys.executable, "-m", "carnet_agent.compiled", str(config.absolute())]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError("compile_timeout", f"the DBCs could not be compiled within {TIMEOUT_S} s") from None
    if done.returncode == 0:
        return
    try:
        kind, reason, sentence = json.loads(done.stdout)
    except ValueError:
        raise ConfigError("compile_failed", "the configuration could not be compiled; see the messages above") from None
    raise ERRORS.get(kind, ConfigError)(reason, sentence)


def main(arguments: Sequence[str]) -> int:
    """Compile; a refusal goes to standard output as JSON: class, reason, sentence."""
    try:
        compile_now(Path(arguments[0]))
    except Error as error:
        print(json.dumps([type(error).__name__, error.reason, str(error)]))
        return 1
    except OSError as error:
        sentence = f"the compiled configuration cannot be written: {error.strerror}"
        print(json.dumps([ConfigError.__name__, "compiled_unwritable", sentence]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
