"""DATETIME, TIMESTAMP and TIME as MariaDB stores them with mysql56_temporal_format=OFF, and has in tables from before 10.1.

With digits of a second they take other bytes than without, and a TABLE_MAP does not tell how many digits there are: so they are
read where the table's definition is known, and refused otherwise.
"""

from __future__ import annotations

from engine.errors import ServerSetupError
from engine.source.history.agreement import OLD_TIMES
from engine.source.history.definition import TableDefinition
from engine.source.table_map import TableMap, Type


def check_old_times(table_map: TableMap, known: TableDefinition | None) -> None:
    """known: the definition of the map's time, with as many columns; None where there is none.

    Raises:
        ServerSetupError: a column may have digits of a second that nobody tells.
    """
    name = f"{table_map.schema}.{table_map.table}"
    for i, column in enumerate(table_map.columns):
        if column.type not in OLD_TIMES:
            continue
        if known is None or known.columns[i].type != OLD_TIMES[Type(column.type)]:
            raise ServerSetupError(
                "a time in MariaDB's old format, which can't be read without the table's definition", table=name, column=i,
                type=OLD_TIMES[Type(column.type)].upper(),
                remedy="read it through its server, or from its CREATE TABLE on; or SET GLOBAL mysql56_temporal_format=ON; "
                f"ALTER TABLE {name} FORCE; and start after it",
            )  # fmt: skip
