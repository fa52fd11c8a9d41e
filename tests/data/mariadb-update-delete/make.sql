-- Updates and deletes of every shape: keys that change, NULLs that come and go, rows by the hundred, tables without a key.
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET timestamp = 1767323045;
CREATE DATABASE changes CHARACTER SET utf8mb4;
USE changes;
CREATE TABLE plain (id INT PRIMARY KEY, a INT, b VARCHAR(40), c DECIMAL(10,2));
CREATE TABLE composite (x INT, y VARCHAR(20), z INT, v TEXT, PRIMARY KEY (y, x));
CREATE TABLE keyless (a INT, b VARCHAR(10));
CREATE TABLE uniquely (a INT NOT NULL UNIQUE, b INT);
CREATE TABLE untransactional (id INT PRIMARY KEY, v INT) ENGINE = MyISAM;
CREATE TABLE large (id INT PRIMARY KEY, v LONGTEXT, b LONGBLOB);

INSERT INTO plain VALUES (1, 1, 'one', 1.10), (2, 2, 'two', 2.20), (3, 3, NULL, NULL), (4, NULL, 'four', -4.40);
UPDATE plain SET a = a + 10 WHERE id = 1;
UPDATE plain SET b = 'now there' WHERE id = 3;
UPDATE plain SET b = NULL, c = NULL WHERE id = 2;
UPDATE plain SET a = a WHERE id = 1;  -- changes nothing: no event
UPDATE plain SET id = id + 100 ORDER BY id DESC;
DELETE FROM plain WHERE id = 104;
REPLACE INTO plain VALUES (101, 7, 'replaced', 7);
INSERT INTO plain VALUES (102, 8, 'eight', 8) ON DUPLICATE KEY UPDATE a = 88, b = 'was there';
INSERT IGNORE INTO plain VALUES (102, 9, 'ignored', 9);

BEGIN;
INSERT INTO composite VALUES (1, 'a', 1, 'v'), (2, 'a', 2, NULL), (1, 'b', 3, ''), (1, 'd', 4, 'ü');
UPDATE composite SET z = -z WHERE y = 'a';
UPDATE composite SET y = 'c', x = 9 WHERE x = 1 AND y = 'b';
DELETE FROM composite WHERE x = 2;
UPDATE plain SET a = 1000 WHERE id = 103;
COMMIT;

BEGIN;
INSERT INTO plain VALUES (200, 0, 'kept', 0);
SAVEPOINT s;
INSERT INTO plain VALUES (201, 0, 'undone', 0);
UPDATE plain SET b = 'undone' WHERE id = 200;
ROLLBACK TO s;
INSERT INTO plain VALUES (202, 0, 'kept', 0);
COMMIT;

BEGIN;
INSERT INTO plain VALUES (300, 0, 'undone', 0);
ROLLBACK;

XA START 'x', 'y', 7;
INSERT INTO plain VALUES (400, 0, 'xa one phase', 0);
XA END 'x', 'y', 7;
XA COMMIT 'x', 'y', 7 ONE PHASE;
XA START 'two';
UPDATE plain SET b = 'xa two phases' WHERE id = 400;
XA END 'two';
XA PREPARE 'two';
XA COMMIT 'two';
XA START 'never';
DELETE FROM plain WHERE id = 400;
XA END 'never';
XA PREPARE 'never';
XA ROLLBACK 'never';

INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (2, NULL), (NULL, NULL);
UPDATE keyless SET b = 'y' WHERE a = 1 LIMIT 1;
DELETE FROM keyless WHERE a IS NULL;
INSERT INTO uniquely VALUES (1, 1), (2, NULL);
UPDATE uniquely SET a = 5 WHERE a = 1;
DELETE FROM uniquely WHERE a = 2;

INSERT INTO untransactional VALUES (1, 1), (2, 2), (3, 3);
UPDATE untransactional SET v = v * 10;
DELETE FROM untransactional WHERE id = 2;

-- More rows than one event holds (binlog_row_event_max_size is 8 KiB).
INSERT INTO plain WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 1999) SELECT i, i * 2, CONCAT('row ', i), i / 4 FROM n;
UPDATE plain SET a = -a, b = CONCAT(b, '!') WHERE id BETWEEN 1000 AND 1499;
DELETE FROM plain WHERE id BETWEEN 1250 AND 1949;

-- A row larger than an event should be; and one update that shrinks it.
INSERT INTO large VALUES (1, REPEAT('large ', 8000), REPEAT(x'00ff', 10000)), (2, NULL, '');
UPDATE large SET v = 'small' WHERE id = 1;
UPDATE large SET v = REPEAT('é', 20000) WHERE id = 2;
DELETE FROM large WHERE id = 1;
