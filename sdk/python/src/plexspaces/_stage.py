"""Collects what a component is made of in one directory: the entry module, what lies beside it, and the part of the SDK that runs in it."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

ENTRY = "_plexspaces_entry"
LATE = "_plexspaces_late"
_PACKAGE = Path(__file__).parent
# What only runs on the author's machine; it imports modules that no component has.
_NOT_IN_GUEST = {"build.py", "_check.py", "_immortal.py", "_replay.py", "_stage.py", "testing.py"}
_RESERVED = {"plexspaces", "wit_world", "componentize_py_types", "componentize_py_async_support", "poll_loop", ENTRY, LATE}
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
    text = f"from plexspaces._guest import Guest, load\nimport {entry.stem}\nimport {LATE}\n\nload({entry.stem})\n"
    (directory / f"{ENTRY}.py").write_text(text, encoding="utf-8")
    # What a function imports first when the actor runs would not be found there. What is not there now either fails when it is imported.
    text = (
        f"import contextlib\nimport importlib\n\nfor _module in {_late_imports(entry.stem, directory)!r}:\n"
        "    with contextlib.suppress(ImportError):\n        importlib.import_module(_module)\n"
    )
    (directory / f"{LATE}.py").write_text(text, encoding="utf-8")


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


def _late_imports(entry: str, directory: Path) -> list[str]:
    """The modules that functions import, those of the entry module and of all that it imports from beside it."""
    late: set[str] = set()
    seen: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        source = next((path for path in _files(module, directory) if path.is_file()), None)
        if module in seen or module.split(".")[0] in _RESERVED or source is None:
            continue
        seen.add(module)
        try:
            tree = ast.parse(source.read_bytes())
        except (SyntaxError, ValueError):
            continue  # whoever imports it is told
        package = module if source.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(tree):
            waiting += _imported(node, package)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
        for inner in (inner for function in functions for inner in ast.walk(function)):
            late.update(_imported(inner, package))
    return sorted(late)


def _files(module: str, directory: Path) -> list[Path]:
    path = directory.joinpath(*module.split("."))
    return [path / "__init__.py", path.with_name(f"{path.name}.py")]


def _imported(node: ast.AST, package: str) -> list[str]:
    """What a statement or a call imports, as far as its text says. A name that is imported from a package may be a module of it."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*filter(None, above), *([node.module] if node.module else [])])
        return [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")] if base else []
    if isinstance(node, ast.Call) and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        module = node.args[0].value
        if name in ("import_module", "__import__") and isinstance(module, str) and all(part.isidentifier() for part in module.split(".")):
            return [module]
    return []


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
