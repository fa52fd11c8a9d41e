"""The schema history of a source: which columns each table had at each position of its binlog.

    dialect.py    sqlglot with the servers' strings, comments and limits          grammar.py  and with their grammar of DDL
    columns.py    one column definition          definition.py  a table: columns, keys, default character set
    ddl.py        CREATE, DROP, RENAME ...       alter.py       ALTER TABLE          elements.py  what both share
    catalog.py    all tables at one position     history.py     all positions: kept in meta, moved along with the binlog
    agreement.py  a definition against a TABLE_MAP              snapshot.py  the tables as a live server has them now

Without metadata in the binlog (binlog_row_metadata MINIMAL or NO_LOG) it alone knows names, labels and keys. sqlglot is
imported with the first statement or table that needs it (dialect, grammar, columns, elements, ddl, alter need it).
"""
