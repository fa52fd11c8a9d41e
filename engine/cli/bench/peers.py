"""`bench peers URL`: other decoders beside this engine, on the same binlog of the same server, in one run."""

from __future__ import annotations

import json as json_module
import os
import shutil
import subprocess
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from engine.cli.bench.binlog_end import end_of_binlog
from engine.cli.bench.machine import machine
from engine.cli.bench.result import check_equal, print_json, show_table
from engine.cli.bench.server_url import JsonOption, UrlArgument, source_config
from engine.cli.bench.stream import Consume, Streaming, streamed
from engine.errors import EngineError

_SERVER_ID = 4_200_000_001
_TIMEOUT_S = 600
_PIECE_BYTES = 1 << 20
_PYTHON_ROWS = 30_000  # mysql-replication reads so many: more would tell no more, and take minutes
_MARKS = (b"\n### INSERT INTO ", b"\n### UPDATE ", b"\n### DELETE FROM ")  # before each row that the servers' tools print
_TOOLS = {"mysql": "mysqlbinlog", "mariadb": "mariadb-binlog"}


def peers(
    url: UrlArgument,
    rows: Annotated[int, typer.Option(help="How many changes there are from the start on.", min=1)],
    from_: Annotated[str, typer.Option("--from", help='Where to start: "binlog.000001:4"')] = "binlog.000001:4",
    tool: Annotated[Path | None, typer.Option(help="mysqlbinlog or mariadb-binlog; otherwise the one in PATH.")] = None,
    go_mysql: Annotated[Path | None, typer.Option(help="Program built from bench/peers/go; left out if it isn't there.")] = None,
    json: JsonOption = False,
) -> None:
    """mysql-replication, the server's own binlog tool and go-mysql, and this engine's consumers, each on the same binlog.

    Each decodes every row; each one's rows are counted. The tool also writes them as text, which here nobody reads.
    """
    end = end_of_binlog(url)
    flavour = end.server.split()[0]
    account = source_config(url, "latest").account()
    file, offset = from_.split(":")
    results: list[dict[str, Any]] = []
    for consume in (Consume.RAW, Consume.CHANGES):
        run = streamed(url, from_, end, Streaming(consume))
        check_equal("changes consumed", run.rows, rows)
        results.append({"peer": f"binlog-engine, {consume}", "rows": rows, "samples_s": run.samples})
    if go_mysql is not None:
        results.append({"peer": "go-mysql", **_go_mysql(go_mysql, account, flavour, file, offset, rows)})
    program = tool or shutil.which(_TOOLS[flavour])
    if program is not None:
        results.append({"peer": _TOOLS[flavour], **_tool(Path(program), account, file, offset, rows)})
    results.append({"peer": "mysql-replication", **_mysql_replication(account, flavour, file, offset, min(rows, _PYTHON_ROWS))})
    for result in results:
        result["rows_per_s"] = round(result["rows"] / result["samples_s"][0])
    if json:
        print_json({"bench": "peers", "server": end.server, "results": results, **machine()})
        return
    table = Table(title=f"peers, {end.server}", title_justify="left")
    for column in ("decoder", "rows", "seconds", "rows/s", "× mysql-replication"):
        table.add_column(column, justify="left" if column == "decoder" else "right")
    slow = results[-1]["rows_per_s"]
    for result in results:
        rate = result["rows_per_s"]
        seconds = result["samples_s"][0]
        table.add_row(result["peer"], f"{result['rows']:,}", f"{seconds:.3f}", f"{rate:,}", f"{rate / slow:,.0f}")
    show_table(table)


def _mysql_replication(account: dict[str, Any], flavour: str, file: str, offset: str, rows: int) -> dict[str, Any]:
    """It reads at least so many rows, in one process."""
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what it passes to PyMySQL
        reader = BinLogStreamReader(
            connection_settings={**account, "passwd": account["password"]}, server_id=_SERVER_ID, log_file=file,
            log_pos=int(offset), resume_stream=True, blocking=False, is_mariadb=flavour == "mariadb",
            only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        )  # fmt: skip
        begun, got = time.perf_counter(), 0
        for event in reader:
            got += len(event.rows)
            if got >= rows:
                break
        seconds = time.perf_counter() - begun
        reader.close()
    if got < rows:
        raise EngineError("bench: mysql-replication read too few rows", got=got, expected=rows)
    return {"rows": got, "samples_s": [seconds]}


def _tool(program: Path, account: dict[str, Any], file: str, offset: str, rows: int) -> dict[str, Any]:
    """From the live server, as text with the rows in it."""
    argv = [
        str(program), "--no-defaults", "--read-from-remote-server", f"--host={account['host']}", f"--port={account['port']}",
        f"--user={account['user']}", "--verbose", "--base64-output=DECODE-ROWS", "--verify-binlog-checksum",
        f"--start-position={offset}", "--to-last-log", file,
    ]  # fmt: skip
    begun = time.perf_counter()
    count, carried = 0, b""
    environment = {**os.environ, "MYSQL_PWD": account["password"]}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while piece := process.stdout.read(_PIECE_BYTES):
            text = carried + piece
            cut = text.rfind(b"\n")  # marks begin with a line end: what follows the last one is looked at next time
            count += sum(text.count(mark, 0, cut) for mark in _MARKS)
            carried = text[cut:]
        count += sum(carried.count(mark) for mark in _MARKS)
        error = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise EngineError("bench: the server's binlog tool failed", program=program, error=error[-500:])
    check_equal(f"rows that {program.name} shows", count, rows)
    return {"rows": count, "samples_s": [time.perf_counter() - begun]}


def _go_mysql(program: Path, account: dict[str, Any], flavour: str, file: str, offset: str, rows: int) -> dict[str, Any]:
    options = {"flavor": flavour, "file": file, "offset": offset, "rows": rows, **account}
    argv = [str(program), *(f"-{name}={value}" for name, value in options.items())]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode:
        raise EngineError("bench: go-mysql failed", program=program, error=done.stderr[-500:])
    found = json_module.loads(done.stdout)
    check_equal("rows that go-mysql read", found["rows"], rows)
    return {"rows": found["rows"], "samples_s": [found["seconds"]]}
