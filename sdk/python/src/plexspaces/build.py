"""The command `plexspaces-py`: makes a WebAssembly component of a Python module."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from . import _stage
from ._immortal import ImageError, immortalise
from ._stage import StageError
from ._version import __version__

COMPONENTIZE_VERSION = "0.25.1"
_INSTALL = f"pip install componentize-py=={COMPONENTIZE_VERSION}"
_WIT = Path(__file__).parent / "wit"
_CHECK_SECONDS = 60
_BUILD_SECONDS = 600


class BuildError(StageError):
    """Why there is no component."""


@dataclass(frozen=True)
class Built:
    """A finished component."""

    output: Path
    size: int
    description: dict[str, Any]


def build(entry: Path, output: Path) -> Built:
    """Makes a component; ``output`` appears complete or not at all. Raises ``BuildError`` or ``StageError``."""
    entry = entry.absolute()
    with tempfile.TemporaryDirectory(prefix="plexspaces-py-") as scratch:
        staging, empty = Path(scratch).resolve() / "app", Path(scratch) / "no-site-packages"
        staging.mkdir()
        (empty / "site-packages").mkdir(parents=True)
        _stage.stage(entry, staging)
        _stage.check_source(entry)
        description = _check(entry, staging, Path(scratch))
        command = find_componentize()
        made = Path(scratch) / "component.wasm"
        _run(command, staging, made, empty)
        try:
            made.write_bytes(immortalise(made.read_bytes()))
        except ImageError as error:
            raise BuildError(f"componentize-py made an unusual component: {error}") from None
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            _replace(made, output)
        except OSError as error:
            raise BuildError(f"cannot write {output}: {error.strerror or error}") from None
    return Built(output, output.stat().st_size, description)


def find_componentize() -> str:
    """The path of `componentize-py` in the version that the SDK's generated bindings need."""
    beside = Path(sys.executable).parent / "componentize-py"
    command = str(beside) if beside.is_file() else shutil.which("componentize-py")
    if command is None:
        raise BuildError(f"componentize-py is not installed; install it with: {_INSTALL}")
    version = _installed_version(command)
    if version != COMPONENTIZE_VERSION:
        raise BuildError(f"componentize-py {version} is installed, but {COMPONENTIZE_VERSION} is needed; install it with: {_INSTALL}")
    return command


def _installed_version(command: str) -> str:
    if Path(command).parent == Path(sys.executable).parent:
        try:
            return metadata.version("componentize-py")
        except metadata.PackageNotFoundError:
            pass
    try:
        done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=_CHECK_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command} does not run: {error}; install it with: {_INSTALL}") from None
    return (done.stdout.split() or ["of an unknown version"])[-1]


def _check(entry: Path, staging: Path, scratch: Path) -> dict[str, Any]:
    """Imports the entry module under CPython: within a second, and with better messages than from inside a component."""
    report = scratch / "report.json"
    script = Path(__file__).parent / "_check.py"
    command = [sys.executable, "-I", "-S", "-B", str(script), str(staging), entry.stem, str(report)]
    try:
        done = subprocess.run(
            command, cwd=staging, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_CHECK_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"the module's top level did not end within {_CHECK_SECONDS} seconds", str(entry)) from None
    if not report.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BuildError(f"the process that loaded it ended with status {done.returncode}: {last}", str(entry))
    result: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    error = result.get("error")
    if error is None:
        description: dict[str, Any] = result["description"]
        return description
    message = str(error["message"]).replace(str(staging), str(entry.parent))
    file = error["file"]
    raise BuildError(message, str(entry) if file is None else str(file).replace(str(staging), str(entry.parent)), error["line"])


def _run(command: str, staging: Path, made: Path, empty: Path) -> None:
    arguments = ["-d", str(_WIT), "-w", "actor", "componentize", _stage.ENTRY, "-p", str(staging), "-o", str(made)]
    # Whatever else this machine has installed would otherwise end up in the component.
    environment = {**os.environ, "VIRTUAL_ENV": str(empty)}
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            [command, *arguments], cwd=staging, env=environment, capture_output=True, text=True, errors="replace", timeout=_BUILD_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"componentize-py did not end within {_BUILD_SECONDS} seconds") from None
    if done.returncode != 0 or not made.is_file():
        said = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise BuildError(f"componentize-py ended with status {done.returncode}:\n{said}")


def _replace(made: Path, output: Path) -> None:
    """Writes beside the target first: a rename within one directory is the only way to replace a file in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    try:
        with os.fdopen(handle, "wb") as target, made.open("rb") as source:
            shutil.copyfileobj(source, target)
        os.chmod(name, 0o644)
        os.replace(name, output)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plexspaces-py", description="Builds PlexSpaces actors written in Python.")
    parser.add_argument("--version", action="version", version=f"plexspaces-py {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "build",
        help="make a WebAssembly component of a module",
        description="Makes a WebAssembly component of a module with @actor classes, together with the modules beside it.",
    )
    command.add_argument("file", metavar="FILE", type=Path, help="the entry module, such as counter.py")
    command.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="the component to write, such as counter.wasm")
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 when there is no component, 2 (from the parser) for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        built = build(options.file, options.output)
    except StageError as error:
        if options.json:
            print(json.dumps({"ok": False, "error": {"message": error.message, "file": error.file, "line": error.line}}))
        else:
            print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"ok": True, "output": str(built.output), "bytes": built.size, "description": built.description}))
    else:
        types = ", ".join(actor["type"] for actor in built.description["actors"])
        print(f"{built.output}: {built.size / 1e6:.1f} MB, actor types: {types}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
