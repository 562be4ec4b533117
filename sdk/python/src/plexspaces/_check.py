"""Loads an application's entry module under CPython, as the build of the component will, and reports what it finds.

It runs in a process of its own (`python -I -S _check.py STAGING MODULE REPORT`), because the module's top level is the author's code and
may do anything; and without site packages, because only what is staged ends up in the component.
"""

import importlib
import json
import sys
import traceback


def main(staging: str, module: str, report: str) -> None:
    """Writes the report: `{"description": ...}` or `{"error": {"message", "file", "line"}}`."""
    sys.path[0] = staging  # the place of this script, which must not shadow anything
    sys.dont_write_bytecode = True
    try:
        result = {"description": _describe(module)}
    except BaseException as error:
        result = {"error": _error(error, staging)}
    with open(report, "w", encoding="utf-8") as file:
        json.dump(result, file)


def _describe(name: str) -> object:
    module = importlib.import_module(name)
    importlib.import_module("_plexspaces_late")
    from plexspaces._registry import Registry

    return json.loads(Registry.of_module(module).describe())


def _error(error: BaseException, staging: str) -> dict[str, object]:
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return {"message": f"syntax error: {error.msg}", "file": error.filename, "line": error.lineno}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(staging)]
    own = [f for f in frames if not f.filename.startswith(f"{staging}/plexspaces/")]
    where = {"file": own[-1].filename, "line": own[-1].lineno} if own else {"file": None, "line": None}
    if isinstance(error, ModuleNotFoundError):
        missing = f"no module named {error.name!r}; a component holds the entry module, what lies beside it, the SDK and the standard library"
        return {"message": missing, **where}
    if isinstance(error, SystemExit):
        return {"message": f"the module ends the process while it is loaded: SystemExit({error.code!r})", **where}
    if kind in ("NotAvailableError", "OutsideActorError", "NoActors"):
        return {"message": getattr(error, "message", str(error)), **where}
    return {"message": f"{kind}: {error}", **where}


if __name__ == "__main__":
    main(*sys.argv[1:])
