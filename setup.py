"""Builds the extensions. BINLOG_ENGINE_PROFILE picks how:

release   the default; functions keep their names, lines are not told: that takes a third of the time to compile
debug     -O0, assertions, bounds checks
sanitize  the decoder under gcc's AddressSanitizer and UBSan, for tests/decoder_fuzz; made with --build-lib, beside the others
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

PROFILE = os.environ.get("BINLOG_ENGINE_PROFILE", "release")
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
PROFILES: dict[str, dict] = {
    "release": {"cflags": ["-O3", "-g0", "-fno-plt", "-fno-strict-aliasing"], "directives": {}},
    "debug": {"cflags": ["-O0", "-g", "-UNDEBUG", "-fno-strict-aliasing"], "directives": {"boundscheck": True}},
    "sanitize": {
        "cflags": ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-strict-aliasing", "-fno-wrapv", *SANITIZERS],
        "ldflags": SANITIZERS,
        "directives": {},
        "only": (*(f"engine/_{name}.pyx" for name in ("mapping", "ring", "retained", "waiting")), "engine/source/*.pyx"),
    },
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

MEMORYVIEWS = "engine._cyutility"  # Cython's own code for them, made and compiled once instead of in every module


def extension(name: str, source: Path) -> Extension:
    return Extension(
        name,
        [str(source)],
        include_dirs=["engine", "engine/source"],
        depends=[str(header) for header in Path("engine").rglob("*.h")],
        define_macros=[("BINLOG_ENGINE_PROFILE", f'"{PROFILE}"')],
        extra_compile_args=["-std=gnu11", "-Wall", "-Wno-unused-function", *PROFILES[PROFILE]["cflags"]],
        extra_link_args=PROFILES[PROFILE].get("ldflags", []),
    )


only = PROFILES[PROFILE].get("only", ("*.pyx",))
wanted = [path for path in Path("engine").rglob("*.pyx") if any(path.match(pattern) for pattern in only)]
extensions = [
    extension(MEMORYVIEWS, Path(*MEMORYVIEWS.split(".")).with_suffix(".c")),
    # The long ones first, so that no core waits for the last one.
    *(extension(".".join(path.with_suffix("").parts), path) for path in sorted(wanted, key=lambda path: -path.stat().st_size)),
]

cores = os.cpu_count() or 1
setup(
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, nthreads=cores, shared_utility_qualified_name=MEMORYVIEWS),
    options={"build_ext": {"parallel": cores}},
)
