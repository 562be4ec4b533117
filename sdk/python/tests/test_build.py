"""The builder's errors: each names the file, the line where there is one, and what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plexspaces import build

SDK = Path(build.__file__).parent
ROOT = SDK.parents[3]
GOOD = "from plexspaces import actor, handler\n\n@actor\nclass Good:\n    @handler('go')\n    def go(self) -> None: ...\n"


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], **files: str) -> tuple[int, str]:
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    entry = tmp_path / f"{next(iter(files))}.py"
    status = build.main(["build", str(entry), "-o", str(tmp_path / "out" / "x.wasm")])
    assert not (tmp_path / "out").exists()
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("x = 1\n", None, "no class has a decorator such as @actor"),
        ("x = 1\ndef broken(:\n", 2, "syntax error: "),
        ("import json\nimport no_such_module\n", 2, "no module named 'no_such_module'"),
        ("import pytest\n", 1, "no module named 'pytest'; a component holds"),
        ("from plexspaces import host\n\nhost.spawn('w')\n", 3, "host.spawn() was called where no actor runs"),
        ("from plexspaces import host\n\nhost.ts.write([1])\n", 3, "host.ts_write() was called where no actor runs"),
        ("from plexspaces import host\n\nhost.pool_stats('b')\n", 3, "host.pool_stats is not available"),
        ("from plexspaces import host\n\nhost.info('x')\n", 3, "host.info() was called where no actor runs. At module level"),
        ("import sys\nsys.exit(4)\n", 2, "the module ends the process while it is loaded: SystemExit(4)"),
        ("import os\nos._exit(4)\n", None, "ended with status 4"),
        ("x = 1 / 0\n", 1, "ZeroDivisionError: division by zero"),
        ("ACTOR_REGISTRY = {'a': dict}\n", None, "ACTOR_REGISTRY['a'] is the class dict"),
        ("import helper\n", 2, "ZeroDivisionError"),
        (GOOD + "\ndef later() -> None:\n    import helper\n", 2, "ZeroDivisionError"),
        (GOOD + "    @handler('go')\n    def again(self): ...\n", 3, "Good: go and again both handle 'go'"),
        ("from plexspaces import actor, run_handler\n\n@actor\nclass W:\n    @run_handler\n    def go(self): ...\n", 3, "W.go is a @run_"),
        (GOOD + "    @run_handler\n    def go(self): ...\n", 8, "Good has a handler method 'go' already"),
        (GOOD + "    @handler('b')\n    def go(self): ...\n", 8, "Good has a handler method 'go' already"),
    ],
)
def test_a_wrong_module_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, line: int | None, message: str
) -> None:
    status, said = run(tmp_path, capsys, app=source, helper="x = 1\ny = x / 0\n")
    file = tmp_path / ("helper.py" if "import helper\n" in source else "app.py")
    assert status == 1
    assert said.startswith(f"error: {file}: " if line is None else f"error: {file}:{line}: ")
    assert message in said


@pytest.mark.parametrize("name", ["queue", "plexspaces", "wit_world"])
def test_names_that_would_hide_something_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, said = run(tmp_path, capsys, **{name: GOOD})
    assert status == 1 and "rename it" in said


def test_a_file_must_be_there_and_be_a_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my-actor.py").write_text(GOOD)
    for name, message in (("gone.py", "there is no file"), ("my-actor.py", "no Python module")):
        assert build.main(["build", str(tmp_path / name), "-o", "x.wasm"]) == 1
        assert message in capsys.readouterr().err


def test_a_missing_or_other_componentize_py_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python3"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match="is not installed; install it with: pip install componentize-py==0.25.1"):
        build.find_componentize()
    other = tmp_path / "componentize-py"
    other.write_text("#!/bin/sh\necho componentize-py 0.19.0\n")
    other.chmod(0o755)
    with pytest.raises(build.BuildError, match="componentize-py 0.19.0 is installed, but 0.25.1 is needed; install it with: pip"):
        build.find_componentize()


def test_what_componentize_py_says_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setattr(build, "find_componentize", lambda: str(failing))
    assert run(tmp_path, capsys, app=GOOD) == (1, "error: componentize-py ended with status 3:\nno such luck\n")


def test_the_output_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    writer = tmp_path / "writer"
    writer.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nprintf new > "$2"\n')
    writer.chmod(0o755)
    monkeypatch.setattr(build, "find_componentize", lambda: str(writer))
    assert run(tmp_path, capsys, app=GOOD)[1].startswith("error: componentize-py made an unusual component: expected a core module")
    monkeypatch.setattr(build, "immortalise", lambda component: component)
    (tmp_path / "app.py").write_text(GOOD)
    output = tmp_path / "x.wasm"
    output.write_text("old")
    assert build.main(["build", str(tmp_path / "app.py"), "--output", str(output), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["output"], said["bytes"]) == (True, str(output), 3)
    assert said["description"]["actors"][0]["type"] == "good"
    assert output.read_text() == "new"
    (tmp_path / "directory").mkdir()
    assert build.main(["build", str(tmp_path / "app.py"), "-o", str(tmp_path / "directory")]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["app.py", "directory", "writer", "x.wasm"]


def test_json_errors_have_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "app.py").write_text("1 / 0\n")
    assert build.main(["build", str(tmp_path / "app.py"), "-o", "x.wasm", "--json"]) == 1
    error = {"message": "ZeroDivisionError: division by zero", "file": str(tmp_path / "app.py"), "line": 1}
    assert json.loads(capsys.readouterr().out) == {"ok": False, "error": error}


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["build"], 2), (["build", "x.py"], 2), (["fly"], 2), (["build", "--help"], 0)])
def test_usage(arguments: list[str], status: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SDK.parent)}
    done = subprocess.run([sys.executable, "-m", "plexspaces.build", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == status and "usage: plexspaces-py" in done.stdout + done.stderr


def test_the_packaged_wit_is_the_repositorys() -> None:
    def read(directory: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in directory.iterdir()}

    assert read(SDK / "wit") == read(ROOT / "wit")


def test_the_sources_satisfy_mypy(tmp_path: Path) -> None:
    command = [build.find_componentize(), "-d", str(SDK / "wit"), "-w", "actor", "bindings", str(tmp_path / "bindings")]
    subprocess.run(command, check=True)
    environment = {**os.environ, "MYPYPATH": f"{SDK.parent}{os.pathsep}{tmp_path / 'bindings'}"}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(SDK)], env=environment, cwd=tmp_path,
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stdout
