#!/bin/sh
# SPDX-License-Identifier: MIT
# sqlite3 loads a million rows, indexes them, joins and sorts.
. "$(dirname "$0")/common.sh"

need sqlite3 sqlite3
cat >"$work/program.sql" <<'SQL'
PRAGMA cache_size = -60000;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, value INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
  INSERT INTO item SELECT i, 'name ' || (i * 7919 % 1000003), i * 31 % 1009 FROM n;
CREATE INDEX item_name ON item(name);
SELECT count(*), sum(value), sum(length(name)) FROM item;
SELECT value, count(*) FROM item GROUP BY value ORDER BY 2 DESC, 1 LIMIT 5;
SELECT name FROM item ORDER BY value, name DESC LIMIT 5;
SELECT count(*) FROM item a JOIN item b ON b.name = 'name ' || a.value WHERE a.id < 100000;
SELECT length(group_concat(name)) FROM item;
DELETE FROM item WHERE id % 3 = 0;
VACUUM;
PRAGMA integrity_check;
SQL
cat >"$work/program.sh" <<SCRIPT
rm -f '$work/base'
exec sqlite3 '$work/base' <'$work/program.sql'
SCRIPT
compare sh "$work/program.sh"
was_there sqlite3
