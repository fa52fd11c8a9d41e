"""Builds the extensions. BINLOG_ENGINE_PROFILE picks how: release (default) or debug (-O0, assertions, bounds checks)."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

PROFILE = os.environ.get("BINLOG_ENGINE_PROFILE", "release")
PROFILES = {
    "release": {"cflags": ["-O3", "-fno-plt", "-fno-strict-aliasing"], "directives": {}},
    "debug": {"cflags": ["-O0", "-g", "-UNDEBUG", "-fno-strict-aliasing"], "directives": {"boundscheck": True}},
}
if PROFILE not in PROFILES:
    raise SystemExit(f"BINLOG_ENGINE_PROFILE={PROFILE}: choose one of {', '.join(PROFILES)}")

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "auto_pickle": False,
    "autotestdict": False,
    "embedsignature": True,
    **PROFILES[PROFILE]["directives"],
}

extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        include_dirs=["engine", "engine/source"],
        depends=[str(header) for header in Path("engine").rglob("*.h")],
        define_macros=[("BINLOG_ENGINE_PROFILE", f'"{PROFILE}"')],
        extra_compile_args=["-std=gnu11", "-Wall", "-Wno-unused-function", *PROFILES[PROFILE]["cflags"]],
    )
    for path in sorted(Path("engine").rglob("*.pyx"))
]

setup(ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES))
