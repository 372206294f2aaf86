"""The sqlite3 shell: some 100,000 rows, indexes, joins, sorting, text and JSON functions."""

from support import check, check_equal, test

SCRIPT = """
PRAGMA cache_size = -20000;
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, price REAL, note TEXT, extra TEXT);
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT, data BLOB);
BEGIN;
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO orders SELECT i, i * 7919 % 5003, (i * 104729 % 100003) / 100.0, printf('note %0*d', i % 90 + 1, i),
    json_object('i', i, 'list', json_array(i, i % 7, 'x' || i)) FROM n;
WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 5002)
INSERT INTO customers SELECT i, 'customer ' || hex(i * 65537), zeroblob(i % 3000) FROM n;
COMMIT;
CREATE INDEX by_customer ON orders(customer, price);
CREATE INDEX by_note ON orders(note);
SELECT count(*), sum(price), max(note), sum(length(extra)) FROM orders;
SELECT c.name, count(*), round(avg(o.price), 4), group_concat(o.id) FROM customers c JOIN orders o ON o.customer = c.id
    WHERE c.id % 500 = 3 GROUP BY c.id ORDER BY 3 DESC;
SELECT note, length(note) FROM orders ORDER BY substr(note, -4), note DESC LIMIT 20;
SELECT count(DISTINCT upper(substr(note, 1, 40)) || customer % 100) FROM orders;
SELECT sum(json_extract(extra, '$.list[1]')), max(json_extract(extra, '$.list[2]')) FROM orders;
SELECT customer, price, rank() OVER (PARTITION BY customer % 10 ORDER BY price DESC, id) AS r FROM orders
    WHERE customer < 200 ORDER BY r, customer, price LIMIT 30;
UPDATE orders SET note = note || ' and ' || replace(extra, '"', '') WHERE id % 5 = 0;
DELETE FROM orders WHERE customer % 4 = 1;
SELECT count(*), sum(length(note)), min(note), max(note) FROM orders;
SELECT group_concat(name, '') FROM (SELECT name FROM customers ORDER BY name LIMIT 3000);
VACUUM;
PRAGMA integrity_check;
"""


@test(timeout=120, needs=["sqlite3"])
def sqlite(case):
    script = case.write("script.sql", SCRIPT.format(rows=case.size(200_000, 1_000_000)))
    shell = case.program("sqlite3")
    in_memory = case.run_both([shell, ":memory:"], input=script)
    check(in_memory.endswith("ok\n"), "sqlite3: integrity_check", in_memory)
    in_file = case.run([shell, "-cmd", "PRAGMA synchronous = OFF", case.path("database")], input=script).out
    check_equal(in_file, in_memory, "sqlite3: output with a database in a file")
