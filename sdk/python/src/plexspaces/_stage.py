"""Collects what a component is made of in one directory: the entry module, what lies beside it, and the part of the SDK that runs in it."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

ENTRY = "_plexspaces_entry"
_PACKAGE = Path(__file__).parent
# What only runs on the author's machine; it imports modules that no component has.
_NOT_IN_GUEST = {"build.py", "_check.py", "_immortal.py", "_replay.py", "_stage.py", "testing.py"}
_RESERVED = {"plexspaces", "wit_world", "componentize_py_types", "componentize_py_async_support", "poll_loop", ENTRY}
_HANDLERS = {"handler", "init_handler", "run_handler", "signal_handler", "query_handler"}
_SKIPPED_DIRECTORIES = {"__pycache__", "node_modules", "venv", "tests", "build", "dist"}


class StageError(Exception):
    """Sources that cannot be staged."""

    def __init__(self, message: str, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}: " if self.line is None else f"{self.file}:{self.line}: "
        return place + self.message


def stage(entry: Path, directory: Path) -> None:
    """Fills an empty directory."""
    if not entry.is_file():
        raise StageError(f"there is no file {entry}")
    if entry.suffix != ".py" or not entry.stem.isidentifier():
        raise StageError(f"{entry.name!r} is no Python module: it needs a name like counter.py")
    for source in sorted(entry.parent.iterdir()):
        if source.suffix == ".py" and source.is_file() and (source == entry or not _is_test(source.stem)):
            _check_name(source, source.stem, directory)
            shutil.copyfile(source, directory / source.name)
        elif _is_package(source):
            _check_name(source, source.name, directory)
            shutil.copytree(source, directory / source.name, ignore=_not_python)
    shutil.copytree(_PACKAGE, directory / "plexspaces", ignore=_not_guest)
    text = f"from plexspaces._guest import Guest, load\nimport {entry.stem}\n\nload({entry.stem})\n"
    (directory / f"{ENTRY}.py").write_text(text, encoding="utf-8")


def check_source(entry: Path) -> None:
    """Finds what is wrong with the sources before anything runs: syntax errors of the entry module, and handlers that Python drops because
    a later method has their name."""
    for source in [entry, *sorted(path for path in entry.parent.glob("*.py") if path != entry and not _is_test(path.stem))]:
        try:
            tree = ast.parse(source.read_bytes(), str(source))
        except SyntaxError as error:
            if source == entry:
                raise StageError(f"syntax error: {error.msg}", str(entry), error.lineno) from None
            continue  # it does no harm unless it is imported, and then the import says so
        except ValueError as error:
            raise StageError(f"it is not Python source: {error}", str(source)) from None
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                _check_methods(node, source)


def _check_methods(cls: ast.ClassDef, source: Path) -> None:
    handlers: set[str] = set()
    for method in cls.body:
        if not isinstance(method, ast.FunctionDef):
            continue
        if method.name in handlers:
            message = f"{cls.name} has a handler method {method.name!r} already; Python would drop the first one"
            raise StageError(message, str(source), method.lineno)
        names = [d.func if isinstance(d, ast.Call) else d for d in method.decorator_list]
        if any(isinstance(name, ast.Name) and name.id in _HANDLERS for name in names):
            handlers.add(method.name)


def _check_name(source: Path, name: str, directory: Path) -> None:
    if name in _RESERVED:
        raise StageError(f"the name {name!r} is taken by the SDK; rename it", str(source))
    if name in sys.stdlib_module_names:
        raise StageError(f"it would hide the standard library's module {name!r}; rename it", str(source))
    if (directory / name).exists() or (directory / f"{name}.py").exists():
        raise StageError(f"there are a module and a package of the name {name!r}", str(source))


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test") or name in ("test", "tests", "conftest", "setup")


def _is_package(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.name in _SKIPPED_DIRECTORIES
    return not hidden and path.is_dir() and path.name.isidentifier() and (path / "__init__.py").is_file()


def _not_python(directory: str, names: list[str]) -> set[str]:
    here = Path(directory)
    kept = {n for n in names if (here / n).is_dir() and n not in _SKIPPED_DIRECTORIES and not n.startswith(".")}
    return {n for n in names if not n.endswith(".py") and n not in kept}


def _not_guest(directory: str, names: list[str]) -> set[str]:
    return {n for n in names if not n.endswith(".py") or n in _NOT_IN_GUEST}
