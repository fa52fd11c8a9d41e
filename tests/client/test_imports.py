"""`import engine` is cheap, and a client runs without what the engine itself needs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import engine

ROOT = Path(engine.__file__).parent.parent


def modules_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    return set(done.stdout.split())


def test_importing_engine_imports_nothing_of_it():
    assert {name for name in modules_after("import engine") if name.startswith("engine")} == {"engine"}


def test_the_clients_need_neither_extensions_nor_numpy_nor_pydantic():
    modules = modules_after("import engine; engine.connect; engine.aio.connect")
    assert not modules & {"engine._ring", "engine.ring", "numpy", "pydantic", "pymysql", "pyarrow", "engine.config"}


def test_every_name_in_all_is_there():
    for name in engine.__all__:
        assert getattr(engine, name) is not None
    assert set(engine.__all__) <= set(dir(engine))


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(engine, "nonsense")


def test_the_version_is_that_of_the_distribution():
    assert engine.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
