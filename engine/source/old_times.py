"""DATETIME, TIMESTAMP and TIME as MariaDB stores them with mysql56_temporal_format=OFF, and has in tables from before 10.1.

With digits of a second they take other bytes than without, and a TABLE_MAP does not tell how many digits there are: so they are
read where the definition is known to have none, and refused otherwise.
"""

from __future__ import annotations

from engine.errors import ServerSetupError
from engine.source.history.definition import TableDefinition
from engine.source.table_map import TableMap, Type

OLD_TIMES = {Type.DATETIME: "DATETIME", Type.TIMESTAMP: "TIMESTAMP", Type.TIME: "TIME"}
MENDED = "SET GLOBAL mysql56_temporal_format=ON; ALTER TABLE {} FORCE; and start after it"


def check_old_times(table_map: TableMap, known: TableDefinition | None) -> None:
    """known: the definition of the map's time, None where there is none.

    Raises:
        ServerSetupError: a column may have, or has, digits of a second.
    """
    name = f"{table_map.schema}.{table_map.table}"
    for i, column in enumerate(table_map.columns):
        if column.type not in OLD_TIMES:
            continue
        if known is None:
            raise ServerSetupError(
                "a time in MariaDB's old format, which can't be read without the table's definition", table=name, column=i,
                type=OLD_TIMES[Type(column.type)],
                remedy="read it through its server, or from its CREATE TABLE on; or " + MENDED.format(name),
            )  # fmt: skip
        if i < len(known.columns) and known.columns[i].size[:1] > (0,):
            raise ServerSetupError(
                "digits of a second in MariaDB's old format", table=name, column=known.columns[i].name,
                type=f"{known.columns[i].type}({known.columns[i].size[0]})", remedy=MENDED.format(name),
            )  # fmt: skip
