"""`binlog-engine check CONFIG`: the config, and what each server must have."""

from __future__ import annotations

import glob
import ipaddress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.config import Config, load_config, parse_address
from engine.errors import EngineError

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def check(config: Annotated[Path, typer.Argument(help="The config file, such as conf/engine.toml.")]) -> None:
    """Check the config and the servers it names; say the SQL or setting that mends what is missing."""
    from engine.source.server_check import Finding, check_server

    settings = load_config(config)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[green]ok[/]       {config}: {len(settings.sources)} sources, {len(settings.destinations)} destinations")
    findings: list[tuple[str, Finding]] = []
    for name, source in settings.sources.items():
        if source.url or source.urls:
            try:
                findings += [(name, finding) for finding in check_server(source, name)]
            except EngineError as error:
                findings.append((name, Finding("error", error.what, "", str(error))))
        else:
            findings += [(name, finding) for finding in _check_files(settings, name)]
    findings += [("server", finding) for finding in _check_listening(settings)]
    for name, finding in findings:
        found = f": {finding.found}" if finding.found else ""
        console.print(f"[{_STYLES[finding.level]}]{finding.level:8}[/] ", end="")
        console.print(f"{name}: {finding.what}{found}", markup=False)
        if finding.remedy and finding.level != "ok":
            console.print(f"         → {finding.remedy}", markup=False)
    errors = sum(finding.level == "error" for _, finding in findings)
    if errors:
        console.print(f"[bold red]{errors} error{'s' if errors > 1 else ''}[/]: the engine can't run like this")
        raise typer.Exit(1)
    console.print("[green]ready[/]")


def _check_listening(settings: Config) -> list:
    """What a server that others can reach should have: tokens, and TLS under them."""
    from engine.server.rights import Rights
    from engine.server.tls import server_context
    from engine.source.server_check import Finding

    server = settings.server
    findings = []
    try:
        Rights(settings.tokens)
        if server.tls_cert and server.tls_key:
            server_context(server.tls_cert, server.tls_key, server.tls_client_ca)
    except EngineError as error:
        findings.append(Finding("error", error.what, "", str(error)))
    for address in server.listen:
        kind, host, _ = parse_address(address)
        if kind == "unix" or _is_loopback(host):
            continue
        if not settings.tokens and not (kind == "tls" and server.tls_client_ca):
            remedy = "add [tokens.NAME] with a token_file, or tls_client_ca; or listen on 127.0.0.1"
            findings.append(Finding("warning", f"{address}: whoever reaches it may read everything", "", remedy))
        if kind == "tcp":
            remedy = "listen on tls:// with tls_cert and tls_key, or on 127.0.0.1"
            findings.append(Finding("warning", f"{address}: changes and tokens travel in the clear", "", remedy))
    return findings


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_files(settings: Config, name: str) -> list:
    from engine.source.server_check import Finding

    findings = []
    for pattern in settings.sources[name].files or ():
        found = glob.glob(pattern)
        remedy = "" if found else "no file has this name; correct `files`"
        findings.append(Finding("ok" if found else "error", f"binlog files {pattern}", f"{len(found)} found", remedy))
    return findings
