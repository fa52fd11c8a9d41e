"""`make bench`: every measurement of this page in one run, on real servers, as one table.

    python -m bench.table [--rows N] [--transactions N] [--json FILE]

Numbers of different machines can't be compared; ratios of one run can.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent
from rich.console import Console
from rich.table import Table

from bench.workloads import insert_orders, insert_orders_one_by_one, make_orders_table, update_orders
from tests.servers.database import Database
from tests.servers.mariadb import MariaDB
from tests.servers.missing import Missing
from tests.servers.mysql import MySQL

PEER_ROWS = 50_000
PEER_TRANSACTIONS = 10_000
TIMEOUT_S = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the bulk workloads")
    parser.add_argument("--transactions", type=int, default=300_000, help="transactions of one row")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = [measure("ring", "bench", "ring", server="-")]
    for make in (MariaDB, MySQL):
        try:
            results += measure_server(make, arguments.rows, arguments.transactions)
        except Missing as missing:
            print(f"{make.name} is left out: {missing}", file=sys.stderr)
    show(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    return 0


def measure_server(make: type[Database], rows: int, transactions: int) -> list[dict[str, Any]]:
    """All workloads on one kind of server, each on a server of its own, so that its binlog holds nothing else."""
    results = []
    workloads = {
        "inserts": (insert_orders, rows),
        "updates": (update_orders, rows // 2),
        "single-row tx": (insert_orders_one_by_one, transactions),
    }
    for workload, (fill, wanted) in workloads.items():
        with make(max_binlog_size="1G", innodb_buffer_pool_size="512M") as server:
            make_orders_table(server.sql, "bench")
            if fill is update_orders:
                insert_orders(server.sql, "bench", wanted)
            server.sql("FLUSH BINARY LOGS")
            start = server.position()
            expected = fill(server.sql, "bench", wanted)
            first = int(start.split(":")[0].rpartition(".")[2])
            files = [str(path) for path in server.binlog_files() if int(path.suffix[1:]) >= first]
            about = {"server": make.name, "workload": workload}
            url = server.url()
            results.append(measure("decode", "bench", "decode", *files, "--rows", str(expected), **about))
            for name in ("drain", "source"):
                results.append(measure(name, "bench", name, url, "--from", start, **about))
            for kind in ("raw", "tuples", "changes"):
                arguments = ("bench", "stream", url, "--from", start, "--as", kind)
                results.append(measure(f"stream {kind}", *arguments, **about))
            peer_rows = PEER_TRANSACTIONS if fill is insert_orders_one_by_one else PEER_ROWS
            results.append({"bench": "mysql-replication", **about, **peer(server, start, min(peer_rows, expected))})
            for result in results:
                if result.get("rows") and result["bench"] != "mysql-replication" and result["workload"] == workload:
                    assert result["rows"] <= expected, result
    return results


def measure(name: str, *arguments: str, **about: str) -> dict[str, Any]:
    """One `binlog-engine` measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", *arguments, "--json"], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise SystemExit(f"{name} failed on {about}: {done.stderr.strip()}")
    result = {**json.loads(done.stdout.splitlines()[-1]), **about, "bench": name}
    title = f"{about.get('server', ''):8} {about.get('workload', ''):14} {name:18}"
    print(f"{title} {result['rows_per_s']:>12,} rows/s {result['mb_per_s']:>8,.0f} MB/s", file=sys.stderr)
    return result


def peer(server: Database, start: str, rows: int) -> dict[str, Any]:
    """mysql-replication on the same binlog: it reads the first `rows` rows."""
    file, offset = start.split(":")
    reader = BinLogStreamReader(
        connection_settings={"host": "127.0.0.1", "port": server.port, "user": "root", "passwd": ""},
        server_id=4_200_000_001, log_file=file, log_pos=int(offset), resume_stream=True, blocking=False,
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent], is_mariadb=server.name == "mariadb",
    )  # fmt: skip
    started, got = time.perf_counter(), 0
    for event in reader:
        got += len(event.rows)
        if got >= rows:
            break
    seconds = time.perf_counter() - started
    reader.close()
    return {"rows": got, "bytes": 0, "seconds": seconds, "rows_per_s": round(got / seconds), "mb_per_s": 0.0}


def show(results: list[dict[str, Any]]) -> None:
    table = Table(title=f"{time.strftime('%Y-%m-%d')}  {platform.machine()}  {os.cpu_count()} cores  Linux {platform.release()}")
    for column in ("server", "workload", "measurement", "rows/s", "MB/s", "of the drain", "× mysql-replication"):
        table.add_column(column, justify="left" if column in ("server", "workload", "measurement") else "right")
    for result in results:
        same = [r for r in results if (r["server"], r.get("workload")) == (result["server"], result.get("workload"))]
        drain = next((r for r in same if r["bench"] == "drain"), None)
        slow = next((r for r in same if r["bench"] == "mysql-replication"), None)
        table.add_row(
            result["server"], result.get("workload", "-"), result["bench"],
            f"{result['rows_per_s']:,}" if result["rows"] else "", f"{result['mb_per_s']:,.0f}" if result["mb_per_s"] else "",
            f"{result['mb_per_s'] / drain['mb_per_s']:.2f}" if drain and result["mb_per_s"] and result is not drain else "",
            f"{result['rows_per_s'] / slow['rows_per_s']:,.0f}" if slow and result["rows"] and result is not slow else "",
        )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
