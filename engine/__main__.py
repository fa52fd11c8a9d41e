"""`python -m engine` is the command `binlog-engine`."""

from engine.cli import main

main()
