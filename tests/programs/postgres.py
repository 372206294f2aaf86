"""PostgreSQL: initdb, pgbench and queries, as the user postgres where this is root. The server forks a process a
connection, and parallel workers."""

import os
import shutil
import signal

from support import check, check_equal, free_port, test
from takeover import Watch

SETTINGS = {"listen_addresses": "127.0.0.1", "fsync": "off", "shared_buffers": "32MB", "max_connections": "30",
            "max_parallel_workers_per_gather": "2", "parallel_setup_cost": "0", "parallel_tuple_cost": "0",
            "min_parallel_table_scan_size": "0", "log_statement": "none", "dynamic_shared_memory_type": "mmap"}
BALANCED = """SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
    AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)
    AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)"""
QUERIES = {
    "SELECT sum(i), count(DISTINCT i % 1000), max(md5(i::text)) FROM generate_series(1, 200000) AS i":
        "20000100000|1000|",
    "SELECT length(string_agg(repeat('x', i % 100), ',' ORDER BY i)) FROM generate_series(1, 100000) AS i": "5049999",
    "SELECT count(*), sum((j->>'n')::int) FROM (SELECT jsonb_build_object('n', i, 'l', jsonb_build_array(i, 'a')) AS j "
    "FROM generate_series(1, 50000) AS i) AS x": "50000|1250025000",
    "SELECT count(*) FROM pgbench_accounts AS a JOIN pgbench_accounts AS b ON a.aid = b.aid + 1": None,
    "SELECT sum(length(regexp_replace(i::text, '[1-5]+', 'odd', 'g'))) > 0 FROM generate_series(1, 50000) AS i": "t",
}


@test(timeout=240, needs=["initdb", "postgres", "pgbench", "psql"])
def postgres(case):
    data, sockets = case.path("data"), case.path("sockets")
    user = []
    os.mkdir(data), os.mkdir(sockets)
    if os.geteuid() == 0:
        user = [case.program("setpriv"), "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        for path in data, sockets:
            shutil.chown(path, "postgres", "postgres")
    scale = case.size(2, 20)
    port = free_port()
    client = {"PGHOST": sockets, "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}

    def tool(name, *arguments):
        done = case.run([*user, case.program(name), *arguments], env=client, cwd="/")
        return done.out

    def ask(query):
        return tool("psql", "-XAtc", query).strip()

    case.run([*user, case.program("initdb"), "-D", data, "-U", "postgres", "--no-sync", "--locale=C.UTF-8"], cwd="/",
             sees=["initdb", "postgres"], strict=False)
    argv = [*user, case.program("postgres"), "-D", data, "-p", str(port), "-k", sockets]
    for setting in SETTINGS.items():
        argv += ["-c", "=".join(setting)]

    def ready():
        case.run([*user, case.program("pg_isready")], env=client, neap=False, cwd="/")
        return True

    with case.start(argv, ready, name="postgres", stop=signal.SIGINT) as server:
        watch = Watch(server.pid, case.library)
        tool("pgbench", "-i", "-q", "-s", str(scale))
        tool("pgbench", "-n", "-c", "4", "-j", "2", "-t", str(case.size(300, 10_000)))
        check_equal(ask(BALANCED), "t", "pgbench's sums agree")
        check_equal(ask("SELECT count(*) FROM pgbench_history"), str(4 * case.size(300, 10_000)), "pgbench's history")
        for query, expected in QUERIES.items():
            if expected is None:
                expected = str(100_000 * scale - 1)
            got = ask(query)
            check(got == expected or expected.endswith("|") and got.startswith(expected), f"postgres: {query}: {got}")
        tool("pgbench", "-n", "-S", "-c", "8", "-j", "2", "-C", "-t", str(case.size(20, 200)))  # a process each
        watch.stop()
        check(watch.taken["postgres"] > 10 and not watch.without, f"postgres: processes without neap: {watch.without}")
        check_equal(ask("VACUUM (PARALLEL 2) pgbench_accounts"), "VACUUM", "vacuum")
        log = server.log()
        check("terminated by signal" not in log and "PANIC" not in log, "postgres: a process crashed", log)
