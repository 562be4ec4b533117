"""`plexspaces-py`: makes a WebAssembly component of a Python file. Runs under CPython only; no guest imports it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

COMPONENTIZE = "componentize-py"
VERSION = "0.25.1"
INSTALL = f"pip install {COMPONENTIZE}=={VERSION}"

_ENTRY = """\
import {module} as _entry
from plexspaces import _guest


class Guest(_guest.Guest):
    entry = _entry
"""

# Runs in a process of its own, so that what the module does while it is loaded cannot disturb the builder.
_CHECK = """\
import importlib, json, sys, traceback
sys.path[:0] = [sys.argv[2], sys.argv[3]]
from plexspaces import __version__
from plexspaces._registry import describe
from plexspaces.errors import PlexSpacesError
try:
    module = importlib.import_module(sys.argv[1])
    print(json.dumps(describe(module, __version__)))
except SyntaxError as error:
    sys.exit(f"{error.filename}:{error.lineno}: {error.msg}")
except ModuleNotFoundError as error:
    sys.exit(f"module {error.name!r} is not there: put it beside the entry file; packages with native code cannot run in a component")
except PlexSpacesError as error:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(sys.argv[3])]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    sys.exit(where + error.message)
except BaseException as error:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    sys.exit(f"{where}{type(error).__name__} while the module was loaded: {error}")
"""


class BuildError(Exception):
    """A build that cannot succeed, with what to do about it."""


def check(source: Path) -> dict[str, Any]:
    """Load the module as CPython would and return the description of its actors."""
    if not source.is_file():
        raise BuildError(f"{source} is not there or is no file")
    if source.suffix != ".py" or not source.stem.isidentifier():
        raise BuildError(f"{source.name} is no Python module: expected a name such as counter.py")
    sdk = str(Path(__file__).resolve().parent.parent)
    command = [sys.executable, "-c", _CHECK, source.stem, sdk, str(source.resolve().parent)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise BuildError(result.stderr.strip() or f"loading {source} ended with status {result.returncode}")
    description: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return description


def build(source: Path, output: Path) -> dict[str, Any]:
    """Build the component and return its description. `output` is written when everything went well, and then as a whole."""
    tool = _tool()
    description = check(source)
    package = Path(__file__).resolve().parent
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="plexspaces-py-") as scratch:
        stage = Path(scratch)
        # Only what a guest needs is staged, so that the builder itself never gets into a component.
        shutil.copytree(package, stage / "sdk" / "plexspaces", ignore=shutil.ignore_patterns("build.py", "testing.py", "wit", "__pycache__"))
        (stage / "entry").mkdir()
        (stage / "entry" / "plexspaces_entry.py").write_text(_ENTRY.format(module=source.stem))
        built = stage / "out.wasm"
        command = [tool, "-d", str(package / "wit"), "-w", "actor", "componentize", "plexspaces_entry"]
        for path in (stage / "entry", stage / "sdk", source.resolve().parent):
            command += ["-p", str(path)]
        command += ["-o", str(built)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=stage, stdin=subprocess.DEVNULL)
        if result.returncode != 0 or not built.is_file():
            raise BuildError(f"{COMPONENTIZE} failed:\n{(result.stderr or result.stdout).strip()}")
        handle, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(built.read_bytes())
            os.chmod(temporary, 0o644)
            os.replace(temporary, output)
        except BaseException:
            os.unlink(temporary)
            raise
    return description


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line: status 0 for success, 1 for a failed build, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="plexspaces-py", description="Build PlexSpaces actors written in Python.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    builder = commands.add_parser("build", help="make a WebAssembly component of a Python file")
    builder.add_argument("file", type=Path, help="the entry module; modules beside it are included when it imports them")
    builder.add_argument("-o", "--output", type=Path, required=True, help="where to write the component")
    builder.add_argument("--json", action="store_true", help="print the result as JSON")
    describer = commands.add_parser("describe", help="print the actors of a Python file as JSON, without building")
    describer.add_argument("file", type=Path, help="the entry module")
    options = parser.parse_args(arguments)
    try:
        if options.command == "describe":
            print(json.dumps(check(options.file), indent=2))
            sys.exit(0)
        sys.exit(_build(options.file, options.output, options.json))
    except (BuildError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _build(source: Path, output: Path, as_json: bool) -> int:
    started = time.monotonic()
    progress = sys.stderr.isatty() and not as_json
    if progress:
        print(f"building {source} ...", end="", file=sys.stderr, flush=True)
    try:
        description = build(source, output)
    finally:
        if progress:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
    size, seconds = output.stat().st_size, time.monotonic() - started
    types = [actor["type"] for actor in description["actors"]]
    if as_json:
        print(json.dumps({"output": str(output), "bytes": size, "seconds": round(seconds, 2), "types": types}))
    else:
        print(f"{output}: {', '.join(types)} ({size / 1e6:.1f} MB, {seconds:.1f} s)")
    return 0


def _tool() -> str:
    # The tool beside this interpreter comes first: a virtual environment need not be activated.
    beside = Path(sys.executable).parent / COMPONENTIZE
    tool = str(beside) if beside.is_file() else shutil.which(COMPONENTIZE)
    if tool is None:
        raise BuildError(f"{COMPONENTIZE} is not installed; install it with: {INSTALL}")
    try:
        found = importlib.metadata.version(COMPONENTIZE)
    except importlib.metadata.PackageNotFoundError:
        printed = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout.split()
        found = printed[-1] if printed else "unknown"
    if found != VERSION:
        raise BuildError(f"{COMPONENTIZE} {found} is installed, expected {VERSION}; install it with: {INSTALL}")
    return tool


if __name__ == "__main__":
    main()
