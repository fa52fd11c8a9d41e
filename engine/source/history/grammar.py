"""The servers' grammar of DDL, as sqlglot's parser takes it: statements, elements of CREATE TABLE, clauses of ALTER TABLE.

sqlglot's own grammar is one for thirty databases: it takes a column that is called `any` for something else and INT8 for a
TINYINT, has no `FLOAT UNSIGNED`, puts the COLLATE behind a DEFAULT into the default, and hands back much of ALTER as text.
What a row's columns don't depend on (defaults, checks, expressions, partitions, options) is passed over here by its form and
not parsed: so it takes no time, can't be nested too deeply, and new options of new versions do no harm.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.parsers.mysql import MySQLParser
from sqlglot.tokens import TokenType

END_OF_ELEMENT = (TokenType.COMMA, TokenType.R_PAREN)
KEY_WORDS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"}
CONSTRAINT_KINDS = {"PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "REFERENCES"}
INDEXES = {
    "PRIMARY": exp.PrimaryKey, "UNIQUE": exp.UniqueColumnConstraint,
    **dict.fromkeys(("INDEX", "KEY", "FULLTEXT", "SPATIAL", "VECTOR"), exp.IndexColumnConstraint),
}  # fmt: skip
QUERIES = {"SELECT", "WITH", "VALUES", "TABLE"}
KINDS = {"TABLE": "TABLE", "TABLES": "TABLE", "DATABASE": "DATABASE", "SCHEMA": "DATABASE", "INDEX": "INDEX"}
DATABASE_OPTIONS = {"DEFAULT", "CHARACTER", "CHARSET", "CHAR", "COLLATE", "ENCRYPTION", "READ", "COMMENT"}
TYPES = {
    "INT1": "tinyint", "TINYINT": "tinyint", "BOOL": "tinyint", "BOOLEAN": "tinyint", "INT2": "smallint", "SMALLINT": "smallint",
    "INT3": "mediumint", "MIDDLEINT": "mediumint", "MEDIUMINT": "mediumint", "INT": "int", "INTEGER": "int", "INT4": "int",
    "INT8": "bigint", "BIGINT": "bigint", "DECIMAL": "decimal", "DEC": "decimal", "NUMERIC": "decimal", "FIXED": "decimal",
    "NUMBER": "number", "FLOAT": "float", "FLOAT4": "float", "DOUBLE": "double", "FLOAT8": "double", "REAL": "real",
    "BIT": "bit", "DATE": "date", "TIME": "time", "DATETIME": "datetime", "TIMESTAMP": "timestamp", "YEAR": "year",
    "CHAR": "char", "CHARACTER": "char", "VARCHAR": "varchar", "VARCHARACTER": "varchar", "VARCHAR2": "varchar",
    "NCHAR": "national char", "NVARCHAR": "national varchar", "NATIONAL": "national char", "BINARY": "binary",
    "VARBINARY": "varbinary", "RAW": "varbinary", "TINYTEXT": "tinytext", "TEXT": "text", "MEDIUMTEXT": "mediumtext",
    "LONG": "mediumtext", "LONGTEXT": "longtext", "CLOB": "longtext", "TINYBLOB": "tinyblob", "BLOB": "blob",
    "MEDIUMBLOB": "mediumblob", "LONGBLOB": "longblob", "ENUM": "enum", "SET": "set", "JSON": "json", "GEOMETRY": "geometry",
    "POINT": "point", "LINESTRING": "linestring", "POLYGON": "polygon", "MULTIPOINT": "multipoint",
    "MULTILINESTRING": "multilinestring", "MULTIPOLYGON": "multipolygon", "GEOMETRYCOLLECTION": "geomcollection",
    "GEOMCOLLECTION": "geomcollection", "UUID": "uuid", "INET4": "inet4", "INET6": "inet6", "VECTOR": "vector",
    "SERIAL": "serial",
}  # fmt: skip
VARYING = {"VARYING", "VARCHAR", "VARCHARACTER"}

# What begins an option of a table, or a clause of ALTER TABLE that changes nothing but, perhaps, character sets.
OPTIONS = {
    "ALGORITHM", "ANALYZE", "AUTOEXTEND_SIZE", "AUTO_INCREMENT", "AVG_ROW_LENGTH", "CHECK", "CHECKSUM", "COALESCE", "COMMENT",
    "COMPRESSION", "CONNECTION", "DATA", "DELAY_KEY_WRITE", "DISABLE", "DISCARD", "ENABLE", "ENCRYPTED", "ENCRYPTION",
    "ENCRYPTION_KEY_ID", "ENGINE", "ENGINE_ATTRIBUTE", "EXCHANGE", "FORCE", "IETF_QUOTES", "IMPORT", "INDEX", "INSERT_METHOD",
    "KEY_BLOCK_SIZE", "LOCK", "MAX_ROWS", "MIN_ROWS", "NOWAIT", "OPTIMIZE", "ORDER", "PACK_KEYS", "PAGE_CHECKSUM",
    "PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "PARTITION", "PASSWORD", "REBUILD", "REMOVE", "REORGANIZE", "REPAIR",
    "ROW_FORMAT", "SECONDARY_ENGINE", "SECONDARY_ENGINE_ATTRIBUTE", "SECONDARY_LOAD", "SECONDARY_UNLOAD", "SEQUENCE",
    "START", "STATS_AUTO_RECALC", "STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "STORAGE", "TABLESPACE", "TRANSACTIONAL",
    "TRUNCATE", "UNION", "WAIT", "WITH", "WITHOUT",
} | DATABASE_OPTIONS  # fmt: skip


class Grammar(MySQLParser):
    """Makes sqlglot's own nodes: Create, Alter, Drop, and Block for RENAME, whose pairs are carried out one by one."""

    STATEMENT_PARSERS = {
        TokenType.CREATE: lambda self: self._parse_create(), TokenType.ALTER: lambda self: self._parse_alter(),
        TokenType.DROP: lambda self: self._parse_drop(), TokenType.RENAME: lambda self: self._renames(),
    }  # fmt: skip
    EXPRESSION_PARSERS = {exp.ColumnDef: lambda self: self._parse_column_def(None)}
    ALTER_PARSERS = {
        "ADD": lambda self: self._add_clause(), "DROP": lambda self: self._drop_clause(),
        "MODIFY": lambda self: self._modify_clause(), "CHANGE": lambda self: self._modify_clause(renames=True),
        "ALTER": lambda self: self._alter_clause(), "RENAME": lambda self: self._rename_clause(),
        "CONVERT": lambda self: self._convert_clause(),
    }  # fmt: skip
    PROPERTY_PARSERS = {
        **{word: lambda self: self._charset(exp.CharacterSetProperty, default=False)
           for word in ("CHARACTER", "CHARSET", "CHAR")},
        "COLLATE": lambda self: exp.CollateProperty(this=self._value()),
    }  # fmt: skip
    RESERVED_CONSTRAINT_KINDS = CONSTRAINT_KINDS
    CONSTRAINT_PARSERS = {
        **{word: lambda self: self._charset(exp.CharacterSetColumnConstraint) for word in ("CHARACTER", "CHARSET", "CHAR")},
        "ASCII": lambda self: exp.CharacterSetColumnConstraint(this=exp.var("latin1")),
        "UNICODE": lambda self: exp.CharacterSetColumnConstraint(this=exp.var("ucs2")),
        "BYTE": lambda self: exp.CharacterSetColumnConstraint(this=exp.var("binary")),
        "COLLATE": lambda self: exp.CollateColumnConstraint(this=self._value()),
        "NOT": lambda self: self._not_null(),
        "NULL": lambda self: exp.NotNullColumnConstraint(allow_null=True),
        **{word: lambda self: self._passed_over()
           for word in ("DEFAULT", "COMMENT", "CHECK", "REFERENCES", "COLUMN_FORMAT", "STORAGE")},
        "ON": lambda self: self._on(),
        "SERIAL": lambda self: self._serial_default(),
        "GENERATED": lambda self: self._match_text_seq("ALWAYS", "AS") and self._generated(),
        "AS": lambda self: self._generated(),
        "AUTO_INCREMENT": lambda self: exp.AutoIncrementColumnConstraint(),
        "PRIMARY": lambda self: self._match_text_seq("KEY") and exp.PrimaryKeyColumnConstraint(),
        "KEY": lambda self: exp.PrimaryKeyColumnConstraint(),
        "UNIQUE": lambda self: self._unique_column(),
        "INVISIBLE": lambda self: exp.InvisibleColumnConstraint(),
    }  # fmt: skip

    # ---- statements ------------------------------------------------------------------------------------------------

    def _parse_create(self) -> Any:
        replaces = self._match_text_seq("OR", "REPLACE")
        words = self._words("ONLINE", "OFFLINE", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR")
        kind = self._kind()
        exists = self._exists()
        if kind == "TABLE":
            return self._create_table(exists, replaces)
        if kind == "INDEX":
            return self._create_index("UNIQUE" in words, exists, replaces)
        if kind == "DATABASE":
            name = exp.Table(db=self._name())
            return exp.Create(this=name, kind=kind, exists=exists, properties=self._options())
        return self._nothing()

    def _parse_alter(self) -> Any:
        self._words("ONLINE", "OFFLINE", "IGNORE")
        kind = self._kind()
        exists = self._exists()
        if kind == "DATABASE":
            named = bool(self._curr) and not self._match_texts(DATABASE_OPTIONS, advance=False)
            name = exp.Table(db=self._name()) if named else None
            return exp.Alter(this=name, kind=kind, options=self._options().expressions)
        if kind != "TABLE":
            return self._nothing()
        name = self._table()
        while self._match_text_seq("NOWAIT") or (self._match_text_seq("WAIT") and self._taken()):
            pass
        actions: list[exp.Expr] = []
        while self._curr:
            if not self._match(TokenType.COMMA):
                actions += self._clause()
        return exp.Alter(this=name, kind=kind, exists=exists, actions=actions)

    def _parse_drop(self, exists: bool = False, kind: str | None = None) -> Any:
        self._words("ONLINE", "OFFLINE")
        kind = self._kind()
        exists = self._exists()
        tables: list[exp.Expr] = []
        cluster = None
        if kind == "TABLE":
            tables = self._parse_csv(self._table)
        elif kind == "DATABASE":
            tables = [exp.Table(db=self._name())]
        elif kind == "INDEX":
            tables = [exp.Table(this=self._name())]
            self._expect("ON")
            cluster = self._table()
        else:
            return self._nothing()
        self._rest()
        return exp.Drop(kind=kind, exists=exists, tables=tables, cluster=cluster)

    def _renames(self) -> Any:
        if self._kind() != "TABLE":
            return self._nothing()
        self._exists()
        return exp.Block(expressions=self._parse_csv(self._rename))

    def _rename(self) -> exp.Expr:
        self._exists()
        old = self._table()
        self._match_text_seq("NOWAIT")
        if self._match_text_seq("WAIT"):
            self._taken()
        self._expect("TO")
        return exp.Alter(this=old, kind="TABLE", actions=[exp.AlterRename(this=self._table())])

    def _create_table(self, exists: bool, replaces: bool) -> exp.Expr:
        name = self._table()
        this: exp.Expr = name
        model = None
        if self._match_text_seq("LIKE") or self._match_text_seq("(", "LIKE"):
            model = self._table()
        elif not self._at_query() and self._match(TokenType.L_PAREN):
            this = exp.Schema(this=name, expressions=self._parse_csv(self._element))
            self._match_r_paren()
        properties = exp.Properties(expressions=[exp.LikeProperty(this=model)]) if model else self._options()
        query = bool(self._curr) and model is None
        self._rest()
        return exp.Create(
            this=this, kind="TABLE", exists=exists, replace=replaces, properties=properties,
            expression=exp.Command(this="SELECT") if query else None,
        )  # fmt: skip

    def _create_index(self, unique: bool, exists: bool, replaces: bool) -> exp.Expr:
        name = self._name()
        while self._curr and not self._match_text_seq("ON"):
            self._skip()
        table = self._table()
        columns = self._key_parts()
        self._rest()
        index = exp.Index(this=name, table=table, params=exp.IndexParameters(columns=columns))
        return exp.Create(this=index, kind="INDEX", unique=unique, exists=exists, replace=replaces)

    def _options(self) -> exp.Properties:
        """Those of a table or a database: character sets, row versions, nothing of the others. Ends before a query."""
        found: list[exp.Expr] = []
        while self._curr and not self._at_query():
            if option := self._option():
                found.append(option)
        return exp.Properties(expressions=found)

    def _option(self) -> exp.Expr | None:
        if self._match_texts(self.PROPERTY_PARSERS):
            return self.PROPERTY_PARSERS[self._prev.text.upper()](self)
        if self._match_text_seq("WITH", "SYSTEM", "VERSIONING"):
            return exp.WithSystemVersioningProperty(on=True)
        if self._match_text_seq("PARTITION", "BY"):
            while self._curr and not self._match_texts({"AS", "SELECT", "IGNORE", "REPLACE"}, advance=False):
                self._skip()
        elif not self._match_text_seq("DEFAULT"):
            self._skip()
            if self._match(TokenType.EQ):
                self._skip()
        return None

    def _at_query(self) -> bool:
        """Whether the rows that come fill the table: CREATE TABLE ... [IGNORE | REPLACE] [AS] SELECT."""
        if self._match_text_seq("WITH", "SYSTEM", advance=False):
            return False
        if self._match(TokenType.L_PAREN, advance=False):
            follows = self._next.text.upper()
            return self._next.token_type == TokenType.L_PAREN or (
                self._next.token_type != TokenType.IDENTIFIER and follows in QUERIES
            )
        return self._match_texts(QUERIES | {"AS", "IGNORE", "REPLACE"}, advance=False)

    # ---- elements of CREATE TABLE, and of ALTER TABLE's ADD ----------------------------------------------------------

    def _element(self) -> exp.Expr:
        return self._key() if self._at_key() else self._parse_column_def(None)

    def _at_key(self) -> bool:
        """Whether a key, a constraint or a PERIOD comes, and not a column."""
        if self._match_text_seq("VECTOR", advance=False):
            return self._next.token_type == TokenType.L_PAREN or self._next.text.upper() in ("INDEX", "KEY")
        return self._match_texts(KEY_WORDS, advance=False) or self._match_text_seq("PERIOD", "FOR", advance=False)

    def _key(self) -> exp.Expr:
        """One of INDEXES' nodes, or a PERIOD; a CHECK for what doesn't matter."""
        name = None
        if self._match_text_seq("CONSTRAINT") and not self._match_texts(CONSTRAINT_KINDS, advance=False):
            self._exists()
            name = self._name()
        key: exp.Expr = exp.CheckColumnConstraint()
        if self._match_text_seq("PERIOD", "FOR"):
            if not self._match_text_seq("SYSTEM_TIME"):
                columns = exp.Tuple(expressions=[])
                key = exp.PeriodForSystemTimeConstraint(this=self._name(), expression=columns)
                columns.set("expressions", self._key_parts())
        elif self._match_texts(INDEXES):
            node = INDEXES[self._prev.text.upper()]
            self._words("INDEX", "KEY")
            exists = self._exists()
            if not self._match(TokenType.L_PAREN, advance=False) and not self._match_text_seq("USING", advance=False):
                name = self._name()
            self._to_group()
            key = node(this=exp.Schema(this=name, expressions=self._key_parts()), exists=exists)
        self._to_end_of_element()
        return key

    def _key_parts(self) -> list[exp.Expr]:
        return self._parse_wrapped_csv(self._key_part)

    def _key_part(self) -> exp.Expr:
        """Identifier, ColumnPrefix, Paren for an expression, PeriodForSystemTimeConstraint for one WITHOUT OVERLAPS."""
        part: exp.Expr
        if self._match(TokenType.L_PAREN, advance=False):
            self._skip()
            part = exp.Paren(this=exp.var("expression"))
        else:
            part = self._name()
            if self._match(TokenType.L_PAREN):
                part = exp.ColumnPrefix(this=part, expression=self._number())
                self._match_r_paren()
            elif self._match_text_seq("WITHOUT", "OVERLAPS"):
                part = exp.PeriodForSystemTimeConstraint(this=part)
        self._to_end_of_element()
        return part

    def _parse_column_def(self, this: exp.Expr | None, computed_column: bool = True) -> Any:
        """`name type attributes [FIRST | AFTER name]`."""
        name = this or self._name()
        kind = self._parse_types(schema=True)
        constraints: list[exp.Expr] = []
        position = None
        while self._curr and not self._match_set(END_OF_ELEMENT, advance=False):
            if self._match_text_seq("FIRST"):
                position = exp.ColumnPosition(position="FIRST")
            elif self._match_text_seq("AFTER"):
                position = exp.ColumnPosition(this=self._name(), position="AFTER")
            elif self._match_text_seq("PARTITION", "BY", advance=False):  # of the table, behind ALTER's last clause
                self._rest()
            elif constraint := self._parse_column_constraint():
                constraints.append(constraint)
            else:
                self._skip()
        return exp.ColumnDef(this=name, kind=kind, constraints=constraints, position=position)

    def _parse_types(
        self, check_func: bool = False, schema: bool = False, allow_identifiers: bool = True, with_collation: bool = False
    ) -> Any:
        """A type with its numbers or labels; kind: one of TYPES' values, with ` unsigned` behind it where it is."""
        word = self._taken().upper()
        if self._match(TokenType.DOT):  # MariaDB's SHOW CREATE tells mariadb_schema.date from Oracle's DATE in this way
            kind = f"{word.lower()}.{TYPES.get(self._taken().upper(), '')}"
        elif word not in TYPES or self._prev.token_type == TokenType.IDENTIFIER:
            self.raise_error(f"the type {word} is not known")
        else:
            kind = self._several_words(word, TYPES[word])
        arguments: list[exp.Expr] = []
        if self._match(TokenType.L_PAREN):
            arguments = self._parse_csv(self._label if kind in ("enum", "set") else self._number)
            self._match_r_paren()
        numeric = self._words("UNSIGNED", "SIGNED", "ZEROFILL")
        if numeric & {"UNSIGNED", "ZEROFILL"}:
            kind += " unsigned"
        return exp.DataType(this=exp.DType.USERDEFINED, kind=kind, expressions=arguments)

    def _several_words(self, word: str, kind: str) -> str:
        if word == "NATIONAL":
            varying = self._taken().upper() in VARYING or self._match_texts(VARYING)
            return "national varchar" if varying else kind
        if word == "LONG":
            if self._match_text_seq("VARBINARY"):
                return "mediumblob"
            if self._next.text.upper() != "SET":  # of LONG CHARACTER SET x
                self._words("CHAR", "CHARACTER", "VARCHAR", "VARCHARACTER", "VARYING")
            return kind
        if word == "DOUBLE":
            self._match_text_seq("PRECISION")
        elif word in ("CHAR", "CHARACTER", "NCHAR") and self._match_texts(VARYING):
            return kind.replace("char", "varchar")
        return kind

    def _label(self) -> exp.Expr:
        """Literal, HexString or BitString (their digits); strings that stand side by side are one."""
        if self._match_set((TokenType.HEX_STRING, TokenType.BIT_STRING)):
            return (exp.HexString if self._prev.token_type == TokenType.HEX_STRING else exp.BitString)(this=self._prev.text)
        pieces: list[str] = []
        while self._match(TokenType.STRING):
            pieces.append(self._prev.text)
        if not pieces:
            self.raise_error("a label expected")
        return exp.Literal.string("".join(pieces))

    # ---- attributes --------------------------------------------------------------------------------------------------

    def _charset(self, node: type[exp.Expr], **more: Any) -> exp.Expr | None:
        """`CHARACTER SET x`, `CHAR SET = x`, `CHARSET x`, behind the first word; more: of the node."""
        if self._prev.text.upper() != "CHARSET" and not self._match_text_seq("SET"):
            return None
        return node(this=self._value(), **more)

    def _not_null(self) -> exp.Expr | None:
        return exp.NotNullColumnConstraint() if self._match_text_seq("NULL") else None

    def _passed_over(self) -> exp.Expr:
        """An attribute whose value, one token or what stands in parentheses, says nothing about the column: all are COMMENTs."""
        self._match_texts(("-", "+"))
        self._skip()
        if self._prev.token_type != TokenType.STRING:  # CURRENT_TIMESTAMP(6), REFERENCES t (x)
            while self._match(TokenType.DOT) and self._curr:
                self._advance()
            if self._match(TokenType.L_PAREN, advance=False):
                self._skip()
        return exp.CommentColumnConstraint()

    def _on(self) -> exp.Expr:
        """ON UPDATE CURRENT_TIMESTAMP; of REFERENCES: ON DELETE SET NULL, ON UPDATE NO ACTION."""
        self._words("UPDATE", "DELETE")
        if self._words("SET", "NO"):
            self._skip()
            return exp.CommentColumnConstraint()
        return self._passed_over()

    def _serial_default(self) -> exp.Expr | None:
        if not self._match_text_seq("DEFAULT", "VALUE"):
            return None
        return exp.GeneratedAsIdentityColumnConstraint(this=True)

    def _generated(self) -> exp.Expr:
        if self._match_text_seq("ROW"):
            return exp.GeneratedAsRowColumnConstraint(start=self._taken().upper() == "START")
        return self._passed_over()

    def _unique_column(self) -> exp.Expr:
        self._match_text_seq("KEY")
        return exp.UniqueColumnConstraint()

    # ---- clauses of ALTER TABLE --------------------------------------------------------------------------------------

    def _clause(self) -> list[exp.Expr]:
        """One clause, to the comma behind it; several nodes for ADD (a INT, b INT), none where it changes nothing."""
        if self._match_text_seq("PARTITION", advance=False) or (
            self._next.text.upper() == "PARTITION" and self._next.token_type != TokenType.IDENTIFIER
            and not self._match_text_seq("CONVERT", advance=False)
        ) or self._match_text_seq("ORDER", "BY"):  # fmt: skip
            self._rest()  # they stand alone or last, and have commas of their own
            return []
        word = self._curr.text
        found: Any = None
        if self._next.token_type != TokenType.EQ and self._match_texts(self.ALTER_PARSERS):
            found = self.ALTER_PARSERS[self._prev.text.upper()](self)
        elif self._next.token_type == TokenType.EQ or self._match_texts(OPTIONS, advance=False):
            found = []
            while self._curr and not self._match(TokenType.COMMA, advance=False):
                found.append(self._option())
        else:
            self.raise_error(f"the clause {word} is not known")
        self._to_end_of_element()
        return [node for node in (found if isinstance(found, list) else [found]) if node is not None]

    def _add_clause(self) -> Any:
        if self._match_text_seq("SYSTEM", "VERSIONING"):
            return exp.WithSystemVersioningProperty(on=True)
        if self._at_key():
            return exp.AddConstraint(expressions=[self._key()])
        self._match_text_seq("COLUMN")
        exists = self._exists()
        if not self._match(TokenType.L_PAREN):
            columns = [self._parse_column_def(None)]
        else:
            columns = self._parse_csv(self._element)
            self._match_r_paren()
        for column in columns:
            if isinstance(column, exp.ColumnDef):
                column.set("exists", exists)
        return [each if isinstance(each, exp.ColumnDef) else exp.AddConstraint(expressions=[each]) for each in columns]

    def _drop_clause(self) -> exp.Expr | None:
        """Drop of kind COLUMN or INDEX, DropPrimaryKey, or the end of row versions."""
        if self._match_text_seq("PRIMARY", "KEY"):
            return exp.DropPrimaryKey()
        if self._match_text_seq("SYSTEM", "VERSIONING"):
            return exp.WithSystemVersioningProperty(on=False)
        if self._match_texts(("FOREIGN", "CHECK"), advance=False) or self._match_text_seq("PERIOD", "FOR", advance=False):
            return None
        kind = "INDEX" if self._words("INDEX", "KEY", "CONSTRAINT") else "COLUMN"
        self._match_text_seq("COLUMN")
        exists = self._exists()
        return exp.Drop(kind=kind, exists=exists, tables=[self._name()])

    def _modify_clause(self, renames: bool = False) -> exp.Expr:
        self._match_text_seq("COLUMN")
        exists = self._exists()
        old = self._name() if renames else None
        column = self._parse_column_def(None)
        column.set("exists", exists)
        return exp.ModifyColumn(this=column, rename_from=old)

    def _alter_clause(self) -> exp.Expr | None:
        """AlterColumn where it shows or hides it; defaults, indexes and constraints don't matter."""
        if self._match_texts(("INDEX", "KEY", "CHECK", "CONSTRAINT"), advance=False) and self._next.text.upper() != "SET":
            return None
        self._match_text_seq("COLUMN")
        exists = self._exists()
        name = self._name()
        if not self._match_text_seq("SET") or not self._match_texts(("VISIBLE", "INVISIBLE")):
            return None
        return exp.AlterColumn(this=name, visible=self._prev.text.upper(), exists=exists)

    def _rename_clause(self) -> exp.Expr:
        kind = self._words("COLUMN", "INDEX", "KEY")
        if not kind:
            self._match_texts(("TO", "AS", "="))
            return exp.AlterRename(this=self._table())
        exists = self._exists()
        old = self._name()
        self._expect("TO")
        if kind == {"COLUMN"}:
            return exp.RenameColumn(this=old, to=self._name(), exists=exists)
        return exp.RenameIndex(this=old, to=self._name())

    def _convert_clause(self) -> exp.Expr | None:
        """AlterSet for CONVERT TO CHARACTER SET; MariaDB's partitions that become tables: Clone, and back: SwapTable."""
        if self._match_text_seq("PARTITION"):
            self._taken()
            self._expect("TO")
            self._expect("TABLE")
            return exp.Clone(this=self._table())
        if self._match_text_seq("TABLE"):
            return exp.SwapTable(this=self._table())
        self._expect("TO")
        options = [self._option(), self._option() if self._match_text_seq("COLLATE", advance=False) else None]
        return exp.AlterSet(expressions=[option for option in options if option])

    # ---- pieces ------------------------------------------------------------------------------------------------------

    def _kind(self) -> str:
        """TABLE, DATABASE or INDEX; "" for everything else."""
        return KINDS[self._prev.text.upper()] if self._match_texts(KINDS) else ""

    def _exists(self) -> bool:
        return self._match_text_seq("IF", "EXISTS") or self._match_text_seq("IF", "NOT", "EXISTS")

    def _words(self, *words: str) -> set[str]:
        """Which of these words come, in whatever order."""
        found = set()
        while self._match_texts(words):
            found.add(self._prev.text.upper())
        return found

    def _expect(self, word: str) -> None:
        if not self._match_text_seq(word):
            self.raise_error(f"{word} expected")

    def _taken(self) -> str:
        """The text of the token that comes."""
        if not self._curr:
            self.raise_error("the statement ends too early")
        self._advance()
        return self._prev.text

    def _name(self) -> exp.Expr:
        if not (name := self._parse_id_var()):
            self.raise_error("a name expected")
        return name or exp.Identifier()  # never: errors are raised

    def _table(self) -> exp.Table:
        """`table`, `.table` or `schema.table`."""
        self._match(TokenType.DOT)
        first = self._name()
        return exp.Table(this=self._name(), db=first) if self._match(TokenType.DOT) else exp.Table(this=first)

    def _value(self) -> exp.Expr:
        """Of an option, with or without `=`: a word, a name or a string."""
        self._match(TokenType.EQ)
        return exp.var(self._taken())

    def _number(self) -> exp.Expr:
        if not self._match(TokenType.NUMBER):
            self.raise_error("a number expected")
        return exp.Literal.number(self._prev.text)

    def _skip(self) -> None:
        """Past one token, or one group in parentheses."""
        depth = 0
        while self._curr:
            depth += (self._curr.token_type == TokenType.L_PAREN) - (self._curr.token_type == TokenType.R_PAREN)
            self._advance()
            if depth <= 0:
                return
        self.raise_error("a parenthesis without its partner")

    def _to_end_of_element(self) -> None:
        while self._curr and not self._match_set(END_OF_ELEMENT, advance=False):
            self._skip()

    def _to_group(self) -> None:
        while self._curr and not self._match(TokenType.L_PAREN, advance=False):
            self._advance()

    def _rest(self) -> None:
        self._advance(self._tokens_size - self._index)

    def _nothing(self) -> exp.Expr:
        """For a statement that isn't about tables: a view, a user, a temporary table."""
        self._rest()
        return exp.Command(this="")
