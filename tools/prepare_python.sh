#!/bin/sh
# Debian splits Python up: building extensions needs its headers, and virtual environments need ensurepip.
# usage: prepare_python.sh PYTHON; installs what is missing where that is allowed, otherwise says what to install.
set -eu
missing=$("$1" - <<'END'
import importlib.util, os, sys, sysconfig
version = f"python{sys.version_info.major}.{sys.version_info.minor}"
if sys.version_info < (3, 11):
    sys.exit(f"{sys.executable} is {version}; binlog-engine needs Python 3.11 or later: make PYTHON=python3.11")
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    print(f"{version}-dev")
if importlib.util.find_spec("ensurepip") is None:
    print(f"{version}-venv")
END
)
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "this Python lacks what building needs; install" $missing >&2
    exit 1
fi
apt-get -qq update
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends $missing >/dev/null
