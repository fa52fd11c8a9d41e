"""Debian's packages, put on the system with apt or unpacked into a folder, checked by the archive's signatures."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.servers.missing import Missing

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
POLICY = Path("/usr/sbin/policy-rc.d")


class Release(NamedTuple):
    """What a folder is made of: packages of one suite of Debian, and the programs that get a wrapper in bin/."""

    title: str
    suite: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]


MYSQL = Release(  # mysql-client has mysqlbinlog
    "Debian sid's MySQL", "sid", ("mysql-server-core", "mysql-client-core", "mysql-client"),
    ("mysqld", "mysql", "mysqlbinlog", "mysqladmin"),
)  # fmt: skip
MARIADB_NEXT = Release(  # mariadb-client has mariadb-binlog
    "Debian 13's MariaDB", "trixie", ("mariadb-server-core", "mariadb-client-core", "mariadb-client"),
    ("mariadbd", "mariadb-binlog"),
)  # fmt: skip
SCRIPTS_ONLY = re.compile(r"perl|libperl|libdb5|libgdbm|debconf|libdb[id]|libterm|mysql-common")
NOT_NEEDED = ["./usr/share/doc", "./usr/share/man", "./usr/share/locale", "*/gconv", "./etc"]


def _run(argv: list[str], folder: Path | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise Missing(f"this machine has no {argv[0]}; only Debian is known here") from None
    if done.returncode:
        output = (done.stderr + done.stdout).strip().splitlines() or ["no output"]
        command = next((word for word in argv[1:] if re.fullmatch("[a-z]+", word)), "")
        raise Missing(f"{argv[0]} {command} failed: {output[-1]}")
    return done.stdout


def install_system_packages(packages: list[str]) -> None:
    """apt-get install, without starting any service.

    Raises:
        Missing: not root, or apt can't.
    """
    if os.geteuid() != 0:
        raise Missing(f"needs root: apt-get install {' '.join(packages)}")
    print(f"installing {' '.join(packages)} with apt", file=sys.stderr)
    policy_made = not POLICY.exists()
    if policy_made:  # invoke-rc.d asks this file; 101 forbids to start
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    install = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=300", "install", "--no-install-recommends", *packages]
    try:
        try:
            _run(install)
        except Missing:  # a fresh machine has no package lists yet, an old one outdated ones
            _run(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "update"])
            _run(install)
    finally:
        if policy_made:
            POLICY.unlink()


def unpack_program(package: str, program: str, into: Path) -> None:
    """One program of a package of the system's own release, put into a folder; its libraries must be there.

    Raises:
        Missing: it can't be downloaded.
    """
    print(f"unpacking {program} of {package} into {into}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", package], Path(scratch))
        (archive,) = Path(scratch).glob("*.deb")
        _unpack(archive, Path(scratch) / "all")
        into.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(scratch) / "all" / program, into / Path(program).name)


def unpack_release(release: Release, home: Path) -> None:
    """A server with every library it needs, libc included, in one folder; the system stays as it is.

    Raises:
        Missing: the suite can't be reached, or has no installable server today.
    """
    print(f"unpacking {release.title} into {home} (about 55 MB to download)", file=sys.stderr)
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch_name:
        scratch = Path(scratch_name)
        archives = _download_closure(release.suite, list(release.packages), scratch)
        new = scratch / "new"
        for archive in archives:
            _unpack(archive, new)
        _write_wrappers(new, release.programs)
        shutil.rmtree(home, ignore_errors=True)
        new.rename(home)


def _mirror() -> str:
    """The mirror that the system uses."""
    try:
        codename = platform.freedesktop_os_release()["VERSION_CODENAME"]  # its security updates have a mirror of their own
    except (OSError, KeyError):
        raise Missing("apt knows no Debian mirror") from None
    release = ["Origin: Debian", f"Codename: {codename}", "Created-By: Packages"]
    known = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *release]).split()
    if not known:
        raise Missing("apt knows no Debian mirror: run apt-get update")
    return known[0]


def _download_closure(suite: str, packages: list[str], scratch: Path) -> list[Path]:
    """The packages with all they depend on, as if nothing were installed."""
    for folder in ("lists/partial", "cache/archives/partial", "no-parts", "archives"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    (scratch / "status").touch()  # empty: apt then resolves everything, from libc up
    options = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": scratch / "no-parts",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": scratch / "no-parts",
        "Dir::State": scratch,
        "Dir::State::lists": scratch / "lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "",  # the _apt account can't write into a user's folder
    }
    apt = ["apt-get", "-qq", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    _run([*apt, "update"])
    plan = _run([*apt, "-s", "--no-install-recommends", "install", *packages])
    wanted = re.findall(r"^Inst (\S+) \((\S+)", plan, re.MULTILINE)
    names = [f"{name}={version}" for name, version in wanted if not SCRIPTS_ONLY.match(name)]
    if not names:
        raise Missing(f"{suite} has no installable {' '.join(packages)} today")
    _run([*apt, "download", *names], scratch / "archives")
    return sorted((scratch / "archives").glob("*.deb"))


def _unpack(archive: Path, into: Path) -> None:
    into.mkdir(exist_ok=True)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as contents:
        excluded = [f"--exclude={pattern}" for pattern in NOT_NEEDED]
        options = ["--no-same-owner", "--keep-directory-symlink", *excluded]
        tar = subprocess.run(["tar", "-x", *options, "-C", str(into)], stdin=contents.stdout)
    if tar.returncode or contents.returncode:
        raise Missing(f"{archive.name} can't be unpacked")


def _write_wrappers(home: Path, programs: tuple[str, ...]) -> None:
    """bin/mysqld and the like: the folder's own dynamic loader and libraries, never the system's."""
    loader = next(path for path in home.rglob("ld-linux-*.so.*") if "share" not in path.parts).relative_to(home)
    libraries = loader_folder = loader.parent
    if loader_folder.name.startswith("lib"):  # a merged /usr may hold the loader in lib64
        libraries = next((home / "usr/lib").glob("*-linux-gnu")).relative_to(home)
    (home / "bin").mkdir()
    for tool in programs:
        program = next(path for folder in ("usr/sbin", "usr/bin") if (path := home / folder / tool).exists())
        wrapper = home / "bin" / tool
        # --argv0 must be the real path: by a bare name MySQL looks itself up and may find Debian's link to MariaDB.
        wrapper.write_text(
            '#!/bin/sh\nR=$(dirname "$(dirname "$(readlink -f "$0")")")\n'
            f'L="$R/{libraries}:$R/{libraries}/mysql/private:$R/usr/lib/mysql/private"\n'
            f'P="$R/{program.relative_to(home)}"\nexec "$R/{loader}" --argv0 "$P" --library-path "$L" "$P" "$@"\n'
        )
        wrapper.chmod(0o755)
    kept = set(programs)
    for other in (home / "usr/bin").iterdir():  # the rest is 100 MB
        if other.name not in kept:
            other.unlink()
