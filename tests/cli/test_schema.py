"""`binlog-engine schema`: what it refuses, and what it shows of a history that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.cli import app
from engine.errors import ConfigError, EngineError
from engine.instance import Instance
from engine.meta.open import open_meta
from engine.position import Identity
from engine.source.history.draft import Session
from engine.source.history.history import Moment, SchemaHistory

SESSION = Session("shop", collation=8)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "engine.toml"
    path.write_text(
        f"[server]\ndata_dir = {str(tmp_path / 'data')!r}\n"
        '[sources.archive]\nfiles = ["/nowhere/binlog.0*"]\n[destinations.all]\n'
    )
    return path


def run(config: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["schema", str(config), *arguments])
    if done.exception is not None and isinstance(done.exception, EngineError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_the_tables_and_the_versions_of_one_are_shown(config: Path) -> None:
    meta = open_meta("file", Instance(config.parent / "data"))
    history = SchemaHistory(meta)
    number = meta.source_number("archive", "binlog")
    statements = ["CREATE TABLE a (id INT PRIMARY KEY)", "CREATE TABLE b LIKE a", "ALTER TABLE a ADD n INT UNSIGNED",
                  "DROP TABLE b", "ALTER TABLE a WOBBLE"]  # fmt: skip
    for i, statement in enumerate(statements):
        history.learn(statement, SESSION, [("shop", "a")], Moment(number, "binlog", Identity(1, 100 + i, 1, 0)))
    meta.sync()
    meta.close()
    (line,) = run(config, "show").splitlines()
    assert line.startswith(
        "archive: shop.a from binlog.000001:104:1 on: unknown: a statement can't be followed: the clause WOBBLE"
    )
    versions = [json.loads(line) for line in run(config, "show", "archive", "shop.a", "--json").splitlines()]
    assert [len(version.get("columns", [])) for version in versions] == [1, 2, 0]
    assert versions[1]["columns"][1] == {"name": "n", "type": "int", "unsigned": True}
    assert versions[1]["sql"] == statements[2]
    text = run(config, "show", "archive", "shop.b")
    assert "1 columns, by CREATE TABLE b LIKE a" in text
    assert "gone, by DROP TABLE b" in text


def test_what_show_prints_can_be_set(config: Path, tmp_path: Path) -> None:
    columns = tmp_path / "columns.json"
    columns.write_text('[{"name": "id", "type": "bigint", "unsigned": true}, {"name": "e", "type": "enum", "labels": ["x"]}]')
    for _ in range(2):
        run(config, "set", "archive", "shop.a", "--at", "binlog.000003:77:2", "--columns", str(columns))
        shown = run(config, "show", "archive", "--json")
        assert json.loads(shown)["from"] == "binlog.000003:77:2"
        assert json.loads(shown)["columns"][1] == {"name": "e", "type": "enum", "labels": ["x"]}
        columns.write_text(shown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "shop"], "no such source.*known=archive"),
        (["reread", "archive", "shop.a", "--at", "binlog.000001:4"], "no server to ask"),
        (["set", "archive", "shop.a", "--at", "binlog.000001:4", "--columns", "/nowhere/at/all"], "can't be read"),
        (["set", "archive", "shop.a", "--at", "binlog.000001:4", "--columns", "CONFIG"], "these are no columns"),
        (["set", "archive", "shop.a", "--at", "binlog.000001", "--columns", "GOOD"], "not a position"),
        (["set", "archive", "shop", "--at", "binlog.000001:4", "--columns", "GOOD"], "not a table"),
    ],
)
def test_wrong_input_is_named(config: Path, arguments: list[str], message: str) -> None:
    good = config.with_name("good.json")
    good.write_text('[{"name": "id", "type": "int"}]')
    files = {"CONFIG": str(config), "GOOD": str(good)}
    with pytest.raises(ConfigError, match=message):
        run(config, *(files.get(argument, argument) for argument in arguments))
