"""The demo's config file: conf/engine.toml with another source, a free port and a data dir of its own."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[1] / "conf/engine.toml"
PASSWORD_VARIABLE = "SHOP_PASSWORD"


def derive(source: dict[str, Any], schema: str, port: int, data_dir: Path) -> dict[str, Any]:
    """conf/engine.toml's source `shop` and destination `orders`, for this source and database."""
    settings = tomllib.loads(CONFIG.read_text())
    settings["server"] |= {"listen": f"tcp://127.0.0.1:{port}", "data_dir": str(data_dir)}
    ours = {name: value for name, value in settings["sources"]["shop"].items() if name not in ("url", "password_env", "start")}
    settings["sources"] = {"shop": ours | source}
    orders = settings["destinations"]["orders"]
    orders["include"] = [pattern.replace("shop", schema, 1) for pattern in orders["include"]]
    settings["destinations"] = {"orders": orders}
    return settings


def to_toml(settings: dict[str, Any], prefix: str = "") -> str:
    """As much of TOML as a config needs; JSON writes strings, numbers, booleans and lists in the same way."""
    plain = {name: value for name, value in settings.items() if not _is_section(name, value)}
    lines = [f"{name} = {_value(value)}" for name, value in plain.items()]
    if prefix and (plain or not settings):
        lines.insert(0, f"\n[{prefix}]")
    for name, value in settings.items():
        if name not in plain:
            lines.append(to_toml(value, f"{prefix}.{name}" if prefix else name))
    return "\n".join(lines) + ("" if prefix else "\n")


def _is_section(name: str, value: Any) -> bool:
    return isinstance(value, dict) and name != "store"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_value(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
