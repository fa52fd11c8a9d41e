"""Things that servers do to rows beyond plain statements: more rows of docs/fidelity.md, each a list of SQL statements.

A statement that begins with `!` changes rows without the binlog showing them (ALTER, TRUNCATE, RENAME, DROP): what SELECT
shows is compared before it and taken over after it. All others must be told by the stream alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.fidelity.capabilities import CAPABILITIES, supported
from tests.fidelity.column_types import ALL, MARIADB, MARIADB_NEXT, MYSQL

SCHEMA = "fidelity_scenario"


@dataclass(frozen=True)
class Scenario:
    """not_logged: what the server itself leaves out of its binlog, so that no reader can know it."""

    servers: frozenset[str]
    statements: tuple[str, ...]
    needs: tuple[str, ...] = ()
    not_logged: str = ""
    fault: str = ""  # what the engine gets wrong today

    @property
    def supported(self) -> bool:
        return all(map(supported, self.needs))

    @property
    def refusal(self) -> str:
        return "|".join(CAPABILITIES[name] for name in self.needs)


T = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50))"
NUMBERS = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT n FROM s"
MANY_ROWS = f"INSERT INTO t SELECT n, CONCAT('v', n) FROM ({NUMBERS}) AS numbers"
PARENT = "CREATE TABLE parent (id INT PRIMARY KEY)"
CHILD = (
    "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)"
)
CASCADE = (
    PARENT, CHILD, "INSERT INTO parent VALUES (1), (2), (3)", "INSERT INTO child VALUES (10, 1), (11, 1), (20, 2), (30, 3)",
    "UPDATE parent SET id = 33 WHERE id = 3", "DELETE FROM parent WHERE id = 1",
)  # fmt: skip
DOCUMENT = (
    "JSON_OBJECT('name', 'a long enough name', 'list', JSON_ARRAY(1, 2, 3), 'text', REPEAT('x', 300),"
    " 'd', CAST(1.50 AS DECIMAL(5,2)))"
)

SCENARIOS: dict[str, Scenario] = {
    "savepoints": Scenario(
        ALL,
        (
            T,
            "BEGIN",
            "INSERT INTO t VALUES (1, 'kept')",
            "SAVEPOINT a",
            "INSERT INTO t VALUES (2, 'undone')",
            "UPDATE t SET v = 'undone' WHERE id = 1",
            "ROLLBACK TO SAVEPOINT a",
            "INSERT INTO t VALUES (3, 'kept')",
            "SAVEPOINT a",
            "DELETE FROM t",
            "ROLLBACK TO SAVEPOINT a",
            "RELEASE SAVEPOINT a",
            "COMMIT",
        ),
    ),
    "rolled back and empty transactions": Scenario(
        ALL,
        (
            T,
            "BEGIN",
            "INSERT INTO t VALUES (1, 'undone')",
            "ROLLBACK",
            "BEGIN",
            "COMMIT",
            "INSERT INTO t VALUES (2, 'kept')",
            "UPDATE t SET v = v",
            "DELETE FROM t WHERE id = 99",
        ),
    ),
    "rolled back, with a table that is not transactional": Scenario(
        MARIADB,
        (
            T,
            "CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM",
            "BEGIN",
            "INSERT INTO t VALUES (1, 'undone')",
            "INSERT INTO m VALUES (1)",
            "ROLLBACK",
            "INSERT INTO m VALUES (2)",
            "UPDATE m SET id = 3 WHERE id = 2",
        ),
    ),
    "MyISAM, MEMORY": Scenario(
        ALL,
        (
            "CREATE TABLE m (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
            "CREATE TABLE h (id INT PRIMARY KEY, v INT) ENGINE=MEMORY",
            "INSERT INTO m VALUES (1, 1), (2, 2)",
            "INSERT INTO h VALUES (1, 1), (2, 2)",
            "UPDATE m SET v = 5",
            "DELETE FROM h WHERE id = 1",
        ),
    ),
    "INSERT ... ON DUPLICATE KEY UPDATE, REPLACE, INSERT IGNORE": Scenario(
        ALL,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, v INT)",
            "INSERT INTO t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)",
            "INSERT INTO t VALUES (1, 9, 9), (4, 4, 4) ON DUPLICATE KEY UPDATE v = v + 100, id = id + 10",
            "REPLACE INTO t VALUES (2, 3, 7)",
            "INSERT IGNORE INTO t VALUES (4, 4, 8), (5, 5, 5)",
        ),
    ),
    "update of several tables, of keys and of swapped keys": Scenario(
        ALL,
        (
            T,
            "CREATE TABLE o (id INT PRIMARY KEY, v VARCHAR(50))",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
            "INSERT INTO o VALUES (1, 'x'), (2, 'y')",
            "UPDATE t JOIN o USING (id) SET t.v = o.v, o.v = 'z'",
            "UPDATE t SET id = id + 1 ORDER BY id DESC",
            "DELETE t, o FROM t JOIN o USING (id)",
            "UPDATE t SET id = -id",
        ),
    ),
    "triggers": Scenario(
        ALL,
        (
            T,
            "CREATE TABLE audit (n INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(90))",
            "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW INSERT INTO audit (what) VALUES (CONCAT('insert ', NEW.id))",
            "CREATE TRIGGER b BEFORE UPDATE ON t FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '!')",
            "CREATE TRIGGER c AFTER DELETE ON t FOR EACH ROW DELETE FROM audit WHERE n = OLD.id",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
            "UPDATE t SET v = 'c'",
            "DELETE FROM t WHERE id = 1",
        ),
    ),
    "procedures, events of several statements": Scenario(
        ALL,
        (
            T,
            "CREATE PROCEDURE p() BEGIN INSERT INTO t VALUES (1, 'a'); UPDATE t SET v = 'b'; END",
            "CALL p()",
            "CREATE FUNCTION f() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (2, 'f'); RETURN 3; END",
            "CREATE TABLE u (id INT PRIMARY KEY)",
            "INSERT INTO u VALUES (f())",
            "DROP PROCEDURE p",
            "DROP FUNCTION f",
        ),
    ),
    "LOAD DATA": Scenario(ALL, (T, "LOAD DATA LOCAL INFILE '{file}' INTO TABLE t FIELDS TERMINATED BY ','")),
    "CREATE TABLE ... SELECT": Scenario(
        ALL,
        (
            T,
            MANY_ROWS,
            "CREATE TABLE copy SELECT * FROM t WHERE id % 2 = 0",
            "CREATE TABLE keyed (id INT PRIMARY KEY) SELECT id, v FROM t",
            "INSERT INTO copy VALUES (-1, 'more')",
        ),
    ),
    "CREATE TABLE ... LIKE": Scenario(ALL, (T, "CREATE TABLE u LIKE t", "INSERT INTO u VALUES (1, 'a')")),
    "foreign keys with cascades": Scenario(MYSQL, CASCADE),
    "tables without primary key": Scenario(
        ALL,
        (
            "CREATE TABLE t (a INT, b VARCHAR(9))",
            "INSERT INTO t VALUES (1, 'a'), (1, 'a'), (NULL, NULL), (2, 'b')",
            "UPDATE t SET b = 'c' WHERE a = 1 LIMIT 1",
            "DELETE FROM t WHERE a = 1 LIMIT 1",
            "UPDATE t SET a = 3 WHERE a IS NULL",
        ),
    ),
    "a unique key instead of a primary key": Scenario(
        ALL,
        (
            "CREATE TABLE t (a INT NOT NULL UNIQUE, b VARCHAR(9))",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
            "UPDATE t SET a = a + 10",
            "DELETE FROM t WHERE a = 11",
        ),
    ),
    "generated invisible primary key": Scenario(
        MYSQL,
        (
            "SET SESSION sql_generate_invisible_primary_key = ON",
            "CREATE TABLE t (a INT)",
            "INSERT INTO t VALUES (1), (1), (2)",
            "UPDATE t SET a = 5 WHERE a = 1 LIMIT 1",
            "DELETE FROM t WHERE a = 1",
            "SET SESSION sql_generate_invisible_primary_key = OFF",
        ),
    ),
    "generated columns": Scenario(
        ALL,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, a INT, s INT AS (a + 1) STORED, v INT AS (a + 2) VIRTUAL, x VARCHAR(20) AS"
            " (CONCAT('n', a)) VIRTUAL, KEY (v))",
            "INSERT INTO t (id, a) VALUES (1, 1), (2, NULL)",
            "UPDATE t SET a = a + 10",
            "DELETE FROM t WHERE id = 2",
        ),
        not_logged="MariaDB 11.8 leaves generated columns out of updates and deletes; 10.11 logs a virtual column of an"
        " AUTO_INCREMENT key as if the key were 0",
    ),
    "invisible columns": Scenario(
        ALL,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, a INT DEFAULT 7 INVISIBLE, b INT)",
            "INSERT INTO t (id, b) VALUES (1, 1)",
            "INSERT INTO t (id, a, b) VALUES (2, 2, 2)",
            "UPDATE t SET a = 9",
        ),
    ),
    "columns added and dropped instantly": Scenario(
        ALL,
        (
            T,
            "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
            "!ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 5, ALGORITHM=INSTANT",
            "UPDATE t SET v = 'c' WHERE id = 1",
            "!ALTER TABLE t ADD COLUMN f VARCHAR(9) DEFAULT 'first' FIRST, ALGORITHM=INSTANT",
            "INSERT INTO t VALUES ('f', 3, 'd', 8)",
            "!ALTER TABLE t DROP COLUMN v, ALGORITHM=INSTANT",
            "UPDATE t SET n = n + 1",
            "DELETE FROM t WHERE id = 2",
        ),
    ),
    "ALTER that moves, renames and converts columns": Scenario(
        ALL,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20) CHARACTER SET latin1)",
            "INSERT INTO t VALUES (1, 1, 'é')",
            "!ALTER TABLE t MODIFY b VARCHAR(20) CHARACTER SET utf8mb4 FIRST, CHANGE a c BIGINT UNSIGNED",
            "INSERT INTO t VALUES ('日本', 2, 18446744073709551615)",
            "!ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (c)",
            "UPDATE t SET b = 'x'",
            "!ALTER TABLE t CONVERT TO CHARACTER SET gbk",
            "INSERT INTO t VALUES ('中文', 5, 6)",
        ),
    ),
    "TRUNCATE, RENAME of several tables, swaps": Scenario(
        ALL,
        (
            T,
            "CREATE TABLE u (a INT, id INT PRIMARY KEY)",
            "INSERT INTO t VALUES (1, 'a')",
            "INSERT INTO u VALUES (1, 2)",
            "!RENAME TABLE t TO tmp, u TO t, tmp TO u",
            "INSERT INTO t VALUES (3, 4)",
            "INSERT INTO u VALUES (5, 'b')",
            "!TRUNCATE t",
            "INSERT INTO t VALUES (7, 8)",
            "!DROP TABLE u",
            T.replace("TABLE t", "TABLE u"),
            "INSERT INTO u VALUES (9, 'c')",
        ),
    ),
    "partitioned tables": Scenario(
        ALL,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10),"
            " PARTITION b VALUES LESS THAN (100))",
            "CREATE TABLE x (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 1), (50, 2)",
            "UPDATE t SET id = 60 WHERE id = 1",
            "INSERT INTO x VALUES (5, 5)",
            "!ALTER TABLE t EXCHANGE PARTITION a WITH TABLE x",
            "DELETE FROM t WHERE id = 5",
            "!ALTER TABLE t TRUNCATE PARTITION b",
            "INSERT INTO t VALUES (70, 7)",
            "!ALTER TABLE t ADD PARTITION (PARTITION c VALUES LESS THAN (1000))",
            "INSERT INTO t VALUES (700, 7)",
        ),
    ),
    "temporary tables": Scenario(
        ALL,
        (
            T,
            "CREATE TEMPORARY TABLE tmp (id INT PRIMARY KEY, v VARCHAR(9))",
            "INSERT INTO tmp VALUES (1, 'a'), (2, 'b')",
            "INSERT INTO t SELECT * FROM tmp",
            "UPDATE tmp SET v = 'z'",
            "ALTER TABLE tmp ADD COLUMN n INT",
            "UPDATE t JOIN tmp USING (id) SET t.v = tmp.v",
            "DROP TEMPORARY TABLE tmp",
        ),
    ),
    "quoted, Unicode and mixed-case names": Scenario(
        ALL,
        (
            "CREATE TABLE `näme with ``q``, 名.x` (`Id` INT, `col.umn` INT, `名` VARCHAR(10), `UPPER` INT, `a b` INT,"
            " PRIMARY KEY (`名`, `Id`))",
            "INSERT INTO `näme with ``q``, 名.x` VALUES (1, 2, 'a', 3, 4), (2, NULL, 'b', 4, 5)",
            "UPDATE `näme with ``q``, 名.x` SET `UPPER` = 9",
            "CREATE TABLE `Mixed` (`select` INT PRIMARY KEY)",
            "INSERT INTO `Mixed` VALUES (1)",
        ),
    ),
    "ANSI_QUOTES, NO_BACKSLASH_ESCAPES, other client charsets": Scenario(
        ALL,
        (
            "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
            'CREATE TABLE "t" (id INT PRIMARY KEY, "a""b" VARCHAR(20))',
            "INSERT INTO t VALUES (1, '\\')",
            "SET SESSION sql_mode = ''",
            "SET NAMES latin1",
            "!ALTER TABLE t COMMENT = 'x'",
            "INSERT INTO t VALUES (2, x'c3a9')",
            "SET NAMES utf8mb4",
            "INSERT INTO t VALUES (3, 'é')",
        ),
    ),
    "rows of more than 16 MiB": Scenario(
        ALL,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, c LONGTEXT)",
            "INSERT INTO t VALUES (1, REPEAT(x'00ff', 9000000), REPEAT('é', 3000000))",
            "UPDATE t SET c = 'short'",
            "INSERT INTO t VALUES (2, REPEAT('z', 16777215), ''), (3, REPEAT('z', 16777216), NULL)",
            "DELETE FROM t WHERE id = 1",
        ),
    ),
    "a LONGBLOB of 64 MB": Scenario(
        MYSQL | MARIADB_NEXT,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB)",
            "INSERT INTO t VALUES (1, REPEAT('0123456789abcdef', 4194304))",
        ),
    ),
    "transactions larger than the engine's memory": Scenario(
        ALL,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50))",
            "BEGIN",
            MANY_ROWS,
            *[f"INSERT INTO t SELECT id + {900 * 2**i}, v FROM t" for i in range(4)],
            "UPDATE t SET v = CONCAT(v, ' changed')",
            "COMMIT",
        ),
    ),
    "partial updates of JSON": Scenario(
        MYSQL,
        (
            "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'",
            "CREATE TABLE t (id INT PRIMARY KEY, j JSON, k JSON)",
            f"INSERT INTO t VALUES (1, {DOCUMENT}, {DOCUMENT}), (2, {DOCUMENT}, NULL)",
            "UPDATE t SET j = JSON_SET(j, '$.name', 'b')",
            "UPDATE t SET j = JSON_REPLACE(j, '$.list[1]', 'two'), k = JSON_REMOVE(k, '$.list[0]')",
            "UPDATE t SET j = JSON_REMOVE(j, '$.name')",
            "UPDATE t SET j = JSON_ARRAY_INSERT(j, '$.list[0]', CAST('2026-01-01' AS DATE))",
            "UPDATE t SET k = JSON_SET(k, '$.text', 1), j = '[]'",
            "SET SESSION binlog_row_value_options = ''",
        ),
        needs=("partial JSON",),
    ),
    "XA transactions": Scenario(
        ALL,
        (
            T,
            "XA START 'a'",
            "INSERT INTO t VALUES (1, 'a')",
            "XA END 'a'",
            "XA PREPARE 'a'",
            "XA COMMIT 'a'",
            "XA START 'b'",
            "INSERT INTO t VALUES (2, 'b')",
            "XA END 'b'",
            "XA PREPARE 'b'",
            "XA ROLLBACK 'b'",
            "XA START 'c'",
            "INSERT INTO t VALUES (3, 'c')",
            "XA END 'c'",
            "XA COMMIT 'c' ONE PHASE",
            "INSERT INTO t VALUES (4, 'd')",
        ),
        needs=("XA",),
    ),
    "compressed columns": Scenario(
        MARIADB,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(3000) COMPRESSED, b MEDIUMBLOB COMPRESSED)",
            "INSERT INTO t VALUES (1, REPEAT('abc', 900), REPEAT('xyz', 90000)), (2, '', ''), (3, 'é', NULL)",
            "UPDATE t SET a = 'new' WHERE id = 1",
        ),
        needs=("compressed columns",),
    ),
    "system-versioned tables": Scenario(
        MARIADB,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
            "INSERT INTO t VALUES (1, 1), (2, 2)",
            "UPDATE t SET v = v + 10",
            "DELETE FROM t WHERE id = 1",
            "REPLACE INTO t VALUES (2, 7)",
            "INSERT INTO t VALUES (1, 5) ON DUPLICATE KEY UPDATE v = 6",
            "UPDATE t SET id = id + 100",
            "DELETE HISTORY FROM t",
            "DELETE FROM t WHERE id = 101",
        ),
    ),
    "system-versioned tables with a period of their own, without a key, with long unique keys": Scenario(
        MARIADB,
        (
            "CREATE TABLE own (id INT PRIMARY KEY, v INT, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START,"
            " w INT WITHOUT SYSTEM VERSIONING, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e))"
            " WITH SYSTEM VERSIONING",
            "CREATE TABLE keyless (v INT) WITH SYSTEM VERSIONING",
            "CREATE TABLE hashed (id INT PRIMARY KEY, b BLOB UNIQUE) WITH SYSTEM VERSIONING",
            "INSERT INTO own (id, v, w) VALUES (1, 1, 1), (2, 2, 2)",
            "INSERT INTO keyless VALUES (1), (1), (2)",
            "INSERT INTO hashed VALUES (1, 'a'), (2, 'b')",
            "UPDATE own SET v = 5, w = 6 WHERE id = 1",
            "UPDATE own SET w = 7",
            "UPDATE keyless SET v = 3 WHERE v = 1 LIMIT 1",
            "UPDATE hashed SET b = 'c' WHERE id = 1",
            "DELETE FROM own WHERE id = 2",
            "DELETE FROM keyless WHERE v = 1",
            "DELETE FROM hashed WHERE id = 2",
        ),
    ),
    "system versioning in partitions, added and dropped": Scenario(
        MARIADB,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
            "ALTER TABLE t ADD SYSTEM VERSIONING",
            "UPDATE t SET v = v + 10",
            "SET SESSION system_versioning_alter_history = KEEP",
            "!ALTER TABLE t ADD COLUMN n INT DEFAULT 4 AFTER id",
            "UPDATE t SET n = 5 WHERE id = 1",
            "DELETE FROM t WHERE id = 2",
            "ALTER TABLE t DROP SYSTEM VERSIONING",
            "UPDATE t SET v = v + 10",
            "CREATE TABLE p (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING"
            " PARTITION BY SYSTEM_TIME LIMIT 2 (PARTITION p0 HISTORY, PARTITION p1 HISTORY, PARTITION pc CURRENT)",
            "INSERT INTO p VALUES (1, 1), (2, 2), (3, 3)",
            "UPDATE p SET v = v + 10",
            "DELETE FROM p WHERE id = 1",
            "BEGIN",
            "INSERT INTO p VALUES (1, 5)",
            "UPDATE p SET v = 6",
            "DELETE FROM p WHERE id = 2",
            "COMMIT",
            "SET SESSION system_versioning_alter_history = DEFAULT",
        ),
    ),
    "unique keys over long columns": Scenario(
        MARIADB,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, b BLOB UNIQUE)",
            "INSERT INTO t VALUES (1, 'a'), (2, REPEAT('b', 5000))",
            "UPDATE t SET b = 'c' WHERE id = 1",
        ),
    ),
    "sequences": Scenario(
        MARIADB,
        (
            "CREATE SEQUENCE s START WITH 10 INCREMENT BY 5 CACHE 2",
            "CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(s), v INT)",
            "INSERT INTO t (v) VALUES (1), (2), (3)",
            "SELECT SETVAL(s, 100)",
            "INSERT INTO t (v) VALUES (4)",
        ),
    ),
    "vectors": Scenario(
        MARIADB_NEXT,
        (
            "CREATE TABLE t (id INT PRIMARY KEY, v VECTOR(4) NOT NULL, VECTOR INDEX (v))",
            "INSERT INTO t VALUES (1, VEC_FromText('[1,2,3,4]'))",
            "UPDATE t SET v = VEC_FromText('[0,0,0,-1]')",
        ),
    ),
    "views, routines, grants and administration between changes": Scenario(
        ALL,
        (
            T,
            "CREATE VIEW w AS SELECT id FROM t",
            "CREATE USER IF NOT EXISTS 'fid'@'%' IDENTIFIED BY 'x'",
            "GRANT SELECT ON *.* TO 'fid'@'%'",
            "INSERT INTO t VALUES (1, 'a')",
            "ANALYZE TABLE t",
            "OPTIMIZE TABLE t",
            "FLUSH TABLES",
            "INSERT INTO w VALUES (2)",
            "DROP VIEW w",
            "DROP USER 'fid'@'%'",
            "FLUSH BINARY LOGS",
            "INSERT INTO t VALUES (3, 'c')",
        ),
    ),
}


def scenarios_of(server: str) -> list[str]:
    return [name for name, scenario in SCENARIOS.items() if server in scenario.servers]


CASCADES_NOT_LOGGED = "MariaDB does not log what a cascade does to child tables: no reader of the binlog can know it"

# What the server does not write into its binlog, so that every reader of it lacks it: shown, not hidden.
MARIADB_CASCADES = Scenario(MARIADB, CASCADE, not_logged=CASCADES_NOT_LOGGED)
