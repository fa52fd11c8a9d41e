"""MariaDB's system-versioned tables: which columns are the begin and the end of a row's life, and what identifies a row."""

from __future__ import annotations

from dataclasses import replace

from engine.schema import TableSchema

# As the server names and types the two that a table declares none of its own for; they stand behind all others.
IMPLICIT = (("start", "row_start"), ("end", "row_end"))
IMPLICIT_TYPE = "timestamp(6)"


def with_implicit_period(schema: TableSchema) -> TableSchema:
    """A schema that FULL metadata tells, which has no word for versioning: by the names and types that only the server's own
    columns are likely to have. For tables of which nobody knows more.
    """
    last = schema.columns[-2:]
    if [column.name for column in last] != [name for _, name in IMPLICIT]:
        return schema
    if any(column.type != IMPLICIT_TYPE or column.nullable for column in last):
        return schema
    marked = (replace(column, system=system, visible=False) for column, (system, _) in zip(last, IMPLICIT, strict=True))
    return replace(schema, columns=(*schema.columns[:-2], *marked))


def with_key_of_current_rows(schema: TableSchema) -> TableSchema:
    """The server puts the end of a row's life behind each key of a versioned table; what names a current row is the rest."""
    key = tuple(index for index in schema.primary_key if schema.columns[index].system != "end")
    return schema if key == schema.primary_key else replace(schema, primary_key=key)
