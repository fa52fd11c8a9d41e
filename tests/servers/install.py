"""`python -m tests.servers.install mariadb mysql`: puts the servers on this machine; quick when they are there.

MariaDB and ZooKeeper come from the system's packages, which needs root; MySQL and the next MariaDB (`mariadb-next`) from newer
releases of Debian into folders, which doesn't.
Exit status: 0 all there, 3 a server can't be had here (one line says why), 2 wrong use.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.servers.missing import Missing

EXIT_MISSING = 3
JARS = Path("/usr/share/java")
SBIN = ["/usr/local/sbin", "/usr/sbin"]  # not in everybody's PATH


def cache() -> Path:
    """Where what we unpack is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "binlog-engine"


def mariadb_tool(name: str) -> str:
    """Path of mariadbd or one of its tools.

    Raises:
        Missing: not installed.
    """
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *SBIN]))
    if path is None:
        raise Missing(f"{name} is not installed: run `python -m tests.servers.install mariadb` as root")
    return path


def mariadb_binlog() -> str:
    """Path of mariadb-binlog, which Debian keeps apart from the server.

    Raises:
        Missing: neither installed nor unpacked.
    """
    unpacked = cache() / "mariadb-binlog"
    return str(unpacked) if unpacked.exists() else mariadb_tool("mariadb-binlog")


def mysql_home() -> Path:
    """The folder whose bin/ has mysqld and mysqlbinlog: MYSQL_HOME, or the one in our cache.

    Raises:
        Missing: it isn't there.
    """
    home = Path(os.environ.get("MYSQL_HOME") or cache() / "mysql")
    if not (home / "bin/mysqld").exists():
        raise Missing(f"no MySQL in {home}: run `python -m tests.servers.install mysql`")
    return home


def mariadb_next_home() -> Path:
    """The folder whose bin/ has the mariadbd of the next long-term release.

    Raises:
        Missing: not unpacked.
    """
    home = cache() / "mariadb-next"
    if not (home / "bin/mariadbd").exists():
        raise Missing(f"no newer MariaDB in {home}: run `python -m tests.servers.install mariadb-next`")
    return home


def zookeeper() -> tuple[str, str]:
    """Path of java, and the class path that ZooKeeper runs with.

    Raises:
        Missing: one of them is not installed.
    """
    java = shutil.which("java")
    jars = [JARS / name for name in ("zookeeper.jar", "slf4j-simple.jar")]  # the first one's manifest names the others
    missing = [str(path) for path in jars if not path.exists()] + ([] if java else ["java"])
    if java is None or missing:
        raise Missing(f"{', '.join(missing)} not there: run `python -m tests.servers.install zookeeper` as root")
    return java, os.pathsep.join(map(str, jars))


def install_mariadb() -> None:
    try:
        mariadb_tool("mariadbd")
        mariadb_tool("mariadb-install-db")
    except Missing:
        from tests.servers import debian

        # The -core packages bring no service, no user and no scripts that start anything.
        debian.install_system_packages(["mariadb-server-core", "mariadb-client-core"])
    try:
        mariadb_binlog()
    except Missing:
        from tests.servers import debian

        try:
            debian.unpack_program("mariadb-client", "usr/bin/mariadb-binlog", cache())
        except Missing as missing:  # only an oracle: the tests that ask it are skipped
            print(f"mariadb-binlog can't be had: {missing}", file=sys.stderr)


def install_mysql() -> None:
    try:
        mysql_home()
    except Missing:
        from tests.servers import debian

        if "MYSQL_HOME" in os.environ:  # the user's own folder is not ours to fill
            raise
        debian.unpack_release(debian.MYSQL, cache() / "mysql")


def install_mariadb_next() -> None:
    try:
        mariadb_next_home()
    except Missing:
        from tests.servers import debian

        debian.unpack_release(debian.MARIADB_NEXT, cache() / "mariadb-next")


def install_zookeeper() -> None:
    try:
        zookeeper()
    except Missing:
        from tests.servers import debian

        # The library alone: no service, no user. It brings no java.
        java = [] if shutil.which("java") else ["default-jre-headless"]
        debian.install_system_packages(["libzookeeper-java", "libslf4j-java", *java])
        zookeeper()


INSTALLERS = {
    "mariadb": install_mariadb,
    "mysql": install_mysql,
    "mariadb-next": install_mariadb_next,
    "zookeeper": install_zookeeper,
}


def main(names: list[str]) -> int:
    if not names or set(names) - set(INSTALLERS):
        print(f"usage: python -m tests.servers.install {' '.join(INSTALLERS)}", file=sys.stderr)
        return 2
    status = 0
    for name in names:
        try:
            INSTALLERS[name]()
        except Missing as missing:
            print(f"{name} can't be had: {missing}", file=sys.stderr)
            status = EXIT_MISSING
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
