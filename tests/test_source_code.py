"""What the source code itself must be: linted, typed, in small files, with imports that run one way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
FOLDERS = [name for name in ("engine", "tests", "bench", "demo", "examples") if (ROOT / name).is_dir()]
STAGES = ("source", "sink", "server")  # each a process of its own, joined by rings and nothing else
VAGUE = {"utils", "util", "helper", "helpers", "common", "base", "manager", "misc"}
MAX_LINES = 600

# Refuses our extensions, as where nothing is compiled.
WITHOUT_EXTENSIONS = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in EXTENSIONS:
            raise ImportError(f"{name} is an extension")
sys.meta_path.insert(0, Refuse())
for name in MODULES:
    importlib.import_module(name)
"""


def files(*suffixes: str) -> list[Path]:
    return sorted(
        path
        for folder in FOLDERS
        for suffix in suffixes
        for path in (ROOT / folder).rglob(f"*{suffix}")
        if "node_modules" not in path.parts
    )


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Every module that a Python file imports, however deep in it, as `engine.sink.route`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module_name(path).split(".")
            package = package[: len(package) - node.level + (path.name == "__init__.py")] if node.level else []
            module = ".".join([*package, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def native_imports(path: Path) -> set[str]:
    """The modules that a .pyx or .pxd file names in import and cimport lines."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[1] for words in lines if len(words) > 1 and words[0] in ("from", "import", "cimport")}


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-cache", *FOLDERS, "setup.py"],
        ["ruff", "format", "--check", "--no-cache", *FOLDERS, "setup.py"],
        ["cython-lint", "engine"],
        ["mypy", "engine"],
    ],
    ids=" ".join,
)
def test_the_linters_find_nothing(command: list[str]) -> None:
    path = f"{BIN}:{os.environ['PATH']}"  # cython-lint calls pycodestyle by name
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", files(".py", ".pyx", ".pxd", ".pyi", ".h"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES, "split it"
    assert path.stem.strip("_") not in VAGUE, "name it after what it does"


def test_stages_never_import_each_other() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for stage in STAGES
        for suffix, find in ((".py", imports), (".pyx", native_imports), (".pxd", native_imports))
        for path in sorted((ROOT / "engine" / stage).rglob(f"*{suffix}"))
        for name in sorted(find(path))
        if any(name == f"engine.{other}" or name.startswith(f"engine.{other}.") for other in STAGES if other != stage)
    ]

    assert wrong == []


def test_only_ring_py_imports_the_native_ring() -> None:
    importers = {str(path.relative_to(ROOT)) for path in (ROOT / "engine").rglob("*.py") if "engine._ring" in imports(path)}

    assert importers <= {"engine/ring.py"}


def test_client_wire_and_record_run_without_the_extensions() -> None:
    extensions = [module_name(path) for path in (ROOT / "engine").rglob("*.pyx")]
    modules = [
        "engine.wire",
        "engine.record",
        *(module_name(path) for path in sorted((ROOT / "engine/client").rglob("*.py"))),
    ]
    code = WITHOUT_EXTENSIONS.replace("EXTENSIONS", repr(extensions)).replace("MODULES", repr(modules))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("role", ["source", "sink", "server"])
def test_a_stage_runs_without_what_checks_the_config(role: str) -> None:
    """pydantic takes 17 MB of each process that has it; sqlglot 10, and a source needs it for DDL only."""
    loads = (
        f"import sys, engine.process, engine.{role}.stage; print(*sorted({{'pydantic', 'typer', 'sqlglot'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_engine_does_not_import_its_tests_or_the_demo() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "engine").rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] in ("tests", "demo", "bench")
    ]

    assert wrong == []


def test_no_test_sleeps() -> None:
    """A sleep is either too short on a busy machine or too long on an idle one: wait for what is to happen."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    ]

    assert wrong == []


def test_the_import_rules_see_relative_and_deep_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "engine" / "sink" / "stage.py"
    path.parent.mkdir(parents=True)
    path.write_text("def f():\n    from ..source import stage\n    from . import route\n    import engine._ring\n")

    assert imports(path) == {"engine.source", "engine.source.stage", "engine.sink", "engine.sink.route", "engine._ring"}
