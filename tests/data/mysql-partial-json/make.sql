-- PARTIAL_JSON: updates that log what changed in a document.
SET SESSION binlog_row_value_options = 'PARTIAL_JSON';
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET timestamp = 1767323045;

CREATE DATABASE small CHARACTER SET utf8mb4;
USE small;
CREATE TABLE t (id INT PRIMARY KEY, j JSON, v VARCHAR(9), k JSON);
INSERT INTO t VALUES
  (1, JSON_OBJECT('name', 'a long enough name', 'list', JSON_ARRAY(1, 2, 3), 'text', REPEAT('x', 200)), 'v', JSON_OBJECT('a', REPEAT('y', 100), 'b', 1)),
  (2, JSON_OBJECT('name', 'a long enough name', 'list', JSON_ARRAY(1, 2, 3), 'text', REPEAT('x', 200)), 'v', NULL);
UPDATE t SET j = JSON_SET(j, '$.name', 'b');
UPDATE t SET j = JSON_REPLACE(j, '$.list[1]', 'two'), k = JSON_REMOVE(k, '$.b'), v = 'w';
UPDATE t SET j = JSON_ARRAY_INSERT(j, '$.list[0]', CAST('2026-01-01' AS DATE)) WHERE id = 1;
UPDATE t SET j = JSON_SET(j, '$."odd key"', CAST(1.50 AS DECIMAL(5,2)), '$.more', JSON_OBJECT('deep', JSON_ARRAY(TRUE, NULL, 1e10)));
UPDATE t SET j = JSON_REMOVE(j, '$.name'), k = '[]';
DELETE FROM t WHERE id = 2;
