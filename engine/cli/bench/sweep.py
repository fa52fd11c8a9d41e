"""`bench sweep URL`: one setting after the other is varied, the others left as they are; a report shows what each does."""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli.bench.binlog_end import End, end_of_binlog
from engine.cli.bench.engine_run import Transport
from engine.cli.bench.latency import CONNECTIONS, Writer, latency_schema, measured_latency
from engine.cli.bench.machine import machine
from engine.cli.bench.result import check_equal, refuse_debug_build
from engine.cli.bench.server_url import FromOption, RepeatOption, UrlArgument
from engine.cli.bench.stream import Streaming, streamed
from engine.cli.bench.sweep_report import report
from engine.errors import ConfigError

_LATENCY_S = 2.0


@dataclass(frozen=True)
class Factor:
    """A setting and its values, the usual one among them; `table` and `key` are the config's, `fixed` goes with all values."""

    name: str
    table: str
    key: str
    usual: str
    values: tuple[str, ...]
    about: str
    fixed: tuple[tuple[str, int], ...] = ()

    def transport(self, value: str) -> Transport:
        """How the consumer connects with this value."""
        return Transport(value) if self.table == "transport" else Transport.TCP

    def tables(self, value: str) -> dict[str, dict[str, Any]]:
        """The tables of the config with this value, as `bench_config` takes them."""
        if self.table == "transport":
            return {}
        setting: Any = int(value) if value.isdigit() else value
        if value == "kernel":
            return {}
        if self.key == "store.size":
            return {"destination": {"store": {"size": setting}}}
        return {self.table: {self.key: setting, **dict(self.fixed)}}


_BUFFERS = ("kernel", "64KiB", "256KiB", "1MiB", "4MiB")
FACTORS = {
    factor.name: factor
    for factor in (
        Factor(
            "source ring", "source", "ring", "8MiB", ("1MiB", "2MiB", "4MiB", "8MiB", "16MiB", "64MiB"),
            "Between decoder and sinks. Small enough for the processor's cache is fast; large rides out a sink's pause.",
        ),
        Factor(
            "store size", "destination", "store.size", "256MiB", ("4MiB", "16MiB", "64MiB", "256MiB"),
            "Of each partition. It bounds how far a consumer may be behind before the source has to wait.",
        ),
        Factor(
            "batch rows", "destination", "batch_rows", "10000", ("10", "100", "1000", "10000", "100000"),
            "A batch has at most so many changes. Each batch costs a frame, an ack and a write of meta.",
        ),
        Factor(
            "batch bytes", "destination", "batch_bytes", "4MiB", ("64KiB", "256KiB", "1MiB", "4MiB", "16MiB"),
            "A batch has at most so many bytes, whichever limit comes first.",
        ),
        Factor(
            "partitions", "destination", "partitions", "1", ("1", "2", "4", "8", "16"),
            "Ordered parts that consumers can share. Rows are routed one by one, so runs to copy get shorter.",
        ),
        Factor(
            "sinks, of 8 partitions", "destination", "sinks", "1", ("1", "2", "4"),
            "Processes that filter and route. More of them help only where cores are free.", (("partitions", 8),),
        ),
        Factor(
            "wait: spin_us", "destination", "spin_us", "10", ("0", "10", "100", "1000"),
            "How long a sink looks for records before it sleeps. Looking longer saves a wake-up, and takes processor time.",
        ),
        Factor(
            "send buffer", "server", "send_buffer", "kernel", _BUFFERS,
            "SO_SNDBUF of the consumer's connection. The kernel's own grows as needed.",
        ),
        Factor(
            "receive buffer", "source", "receive_buffer", "kernel", _BUFFERS,
            "SO_RCVBUF of the connection to the database. The kernel's own grows as needed.",
        ),
        Factor(
            "transport", "transport", "", "tcp", ("tcp", "unix"),
            "How a consumer on the same machine connects. A unix socket leaves out TCP's work.",
        ),
    )
}  # fmt: skip


def sweep(
    url: UrlArgument,
    from_: FromOption = "earliest",
    factor: Annotated[list[str], typer.Option(help="Which settings to vary; may be given again. All, if none.")] = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="Where the report goes: one HTML file that needs nothing else.")] = Path("sweep.html"),
    json: Annotated[Path | None, typer.Option(help="Also write the results here, for `bench compare`.")] = None,
    latency_rate: Annotated[int, typer.Option(help="Measure latency, too, at so many commits a second; 0: don't.", min=0)] = 0,
    repeat: RepeatOption = 3,
) -> None:
    """Vary ring, store, batch, partitions, sinks, waiting, socket buffers and transport; write a report with plots.

    Streams the server's binlog up to where it ends now, once for each value and repetition. With --latency-rate it also
    commits to a schema of its own on the server.
    """
    refuse_debug_build()
    if unknown := [name for name in factor if name not in FACTORS]:
        raise ConfigError("unknown setting", factor=", ".join(unknown), known=", ".join(FACTORS))
    end = end_of_binlog(url)
    chosen = [FACTORS[name] for name in factor or FACTORS]
    results = _throughput(url, from_, end, chosen, repeat)
    if latency_rate:  # afterwards, since it makes the binlog longer
        with latency_schema(url) as writer:
            for result in results:
                _add_latency(result, url, latency_rate, writer)
    about = {"server": end.server, "repeat": repeat, "latency_rate": latency_rate, **machine()}
    out.write_text(report(chosen, results, about))
    if json:
        json.write_text(json_module.dumps({"bench": "sweep", "results": results, **about}, indent=1))
    print(f"{out}: {len(results)} measurements of {len(chosen)} settings")


def _throughput(url: str, start: str, end: End, factors: list[Factor], repeat: int) -> list[dict[str, Any]]:
    """One entry per value: the seconds of every repetition, and memory. All give the same answer."""
    results: list[dict[str, Any]] = []
    for factor in factors:
        for value in factor.values:
            how = Streaming(transport=factor.transport(value), tables=factor.tables(value))
            runs = [streamed(url, start, end, how) for _ in range(repeat)]
            for run in runs:
                answer = (run.rows, run.more["checksum"])
                check_equal("changes of a run", answer, (results[0]["rows"], results[0]["checksum"]) if results else answer)
            samples = [sample for run in runs for sample in run.samples]
            results.append(
                {
                    "bench": "sweep", "factor": factor.name, "value": value, "rows": runs[0].rows, "bytes": runs[0].bytes,
                    "checksum": runs[0].more["checksum"], "samples_s": [round(sample, 6) for sample in samples],
                    "peak_mb": runs[-1].more["peak_mb"],
                }
            )  # fmt: skip
            print(f"{factor.name} = {value}: {max(run.rows_per_s for run in runs):,} rows/s", file=sys.stderr)
    return results


def _add_latency(result: dict[str, Any], url: str, rate: int, writer: Writer) -> None:
    factor, value = FACTORS[result["factor"]], result["value"]
    transport, tables = factor.transport(value), factor.tables(value)
    result["latency"] = measured_latency(url, writer, rate, _LATENCY_S, CONNECTIONS, transport, **tables)
    median = result["latency"]["from_sent_us"]["p50"]
    print(f"{factor.name} = {value}: median {median:,.0f} µs at {rate:,} commits/s", file=sys.stderr)
