"""The sanitize build: a copy of the package in build/sanitize whose decoder watches its accesses to memory, and how to run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "sanitize"
NATIVE = {".pyx", ".pxd", ".h", ".c", ".so", ".html"}
MOST_MB = 1024  # a process that takes more has allocated without bound: cases are of a few KB, their rings of 1 MiB


class Unavailable(Exception):
    """This machine's compiler has no sanitizers."""


def build() -> None:
    """Make it, or what has changed of it.

    Raises:
        Unavailable: gcc or its libasan isn't there.
    """
    library()
    stamp = BUILD / "built"
    sources = [path for path in (ROOT / "engine").rglob("*") if path.is_file() and path.suffix in NATIVE - {".c", ".so", ".html"}]
    newest = max(path.stat().st_mtime for path in [*sources, ROOT / "setup.py"])
    if not stamp.exists() or stamp.stat().st_mtime < newest:
        subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", f"-j{os.cpu_count()}", "--build-lib", str(BUILD),
             "--build-temp", str(BUILD.with_name("sanitize-objects"))],
            cwd=ROOT, env={**os.environ, "BINLOG_ENGINE_PROFILE": "sanitize", "PYTHONWARNINGS": "ignore"}, check=True,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stamp.touch()
    for path in (ROOT / "engine").rglob("*"):
        if path.is_file() and path.suffix not in NATIVE and "__pycache__" not in path.parts:
            to = BUILD / path.relative_to(ROOT)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


def library() -> str:
    """The path of libasan, which has to be loaded before Python itself."""
    try:
        path = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"no gcc: {error}") from None
    if not os.path.isabs(path):
        raise Unavailable("gcc has no libasan")
    return path


def command(module: str, *arguments: object) -> list[str]:
    """A module of ours as a process, which finds the package where `environment` says."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def environment(*, watches_python: bool = False) -> dict[str, str]:
    """watches_python: small objects of Python too (large ones always are), at half the speed."""
    return {
        **os.environ,
        "PYTHONPATH": f"{BUILD}:{ROOT}",
        "PYTHONMALLOC": "malloc" if watches_python else "pymalloc",
        "LD_PRELOAD": library(),
        "ASAN_OPTIONS": f"detect_leaks=0:quarantine_size_mb=16:hard_rss_limit_mb={MOST_MB}:max_allocation_size_mb={MOST_MB}",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }


if __name__ == "__main__":
    try:
        build()
    except Unavailable as unavailable:
        print(f"without the sanitize build: {unavailable}", file=sys.stderr)
