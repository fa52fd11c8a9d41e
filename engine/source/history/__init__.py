"""The schema history of a source: which columns each table had at each position of its binlog.

    tokens.py     a statement's words, as the server would read them
    columns.py    one column definition          definition.py  a table: columns, keys, default character set
    ddl.py        CREATE, DROP, RENAME ...       alter.py       ALTER TABLE
    catalog.py    all tables at one position     history.py     all positions: kept in meta, moved along with the binlog
    agreement.py  a definition against a TABLE_MAP              snapshot.py  the tables as a live server has them now

Without metadata in the binlog (binlog_row_metadata MINIMAL or NO_LOG) it alone knows names, labels and keys.
"""
