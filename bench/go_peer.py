"""go-mysql as a peer: bench/peers/go, built once with the machine's Go."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers.install import cache

_BUILD_S = 600
_SOURCE = Path(__file__).parent / "peers" / "go"


def go_peer() -> Path | None:
    """The program; None where there is no Go, or its modules can't be had."""
    digest = hashlib.sha256(b"".join((_SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))).hexdigest()[:8]
    program = cache() / f"go-mysql-peer-{digest}"
    if program.exists():
        return program
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        print("go-mysql is left out: Go is not installed", file=sys.stderr)
        return None
    program.parent.mkdir(parents=True, exist_ok=True)
    argv = [go, "build", "-o", str(program), "."]
    done = subprocess.run(argv, cwd=_SOURCE, capture_output=True, text=True, timeout=_BUILD_S)
    if done.returncode:
        print(f"go-mysql is left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return program
