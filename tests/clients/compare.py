#!/usr/bin/env python3
"""Asks FunnelSQL and PostgreSQL 15 the same, with the same tables, and compares what they answer.

    tests/clients/compare.py [--only metabase,expressions] [--binary FILE] [--postgres PORT] [--show]

The statements are those of queries/*.sql: what tools of that name ask of a catalog and of tables, in our own words after
their public sources. In a file a statement ends with a semicolon at the end of a line; *expressions.sql have one a line.
Compared are columns (names and types), rows in their order, tags and SQLSTATEs. `-- differs: why` before a statement says
that it differs on purpose; one that doesn't differ any more is told as well. `-- setup` runs and isn't compared. OIDs in
answers are compared by what they stand for. Needs psycopg and PostgreSQL's `initdb`.
"""
import argparse
import glob
import os
import re
import sys
import tempfile

import run

HERE = os.path.dirname(os.path.abspath(__file__))
# Types whose values are OIDs, and the names that they stand for.
OIDS = """SELECT oid::text, 'relation ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT oid::text, 'schema ' || nspname FROM pg_namespace
UNION ALL SELECT oid::text, 'database' FROM pg_database WHERE datname = current_database()
UNION ALL SELECT oid::text, 'role ' || rolname FROM pg_roles WHERE rolname = current_user AND oid <> 10
UNION ALL SELECT '10', 'the owner'
UNION ALL SELECT oid::text, 'constraint ' || conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT t.oid::text, 'type ' || typname FROM pg_type t WHERE typnamespace = 'public'::regnamespace"""


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--binary", default=os.path.join(run.ROOT, "target", "debug", "funnelsql"))
    options.add_argument("--postgres", type=int)
    options.add_argument("--only")
    options.add_argument("--show", action="store_true")
    options = options.parse_args()
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return print("skipped: psycopg is not installed (pip install 'psycopg[binary]')")
    with tempfile.TemporaryDirectory() as folder:
        started = []
        try:
            port = run.serve(options.binary, folder, started)
            other = options.postgres or run.postgres(folder, started)
            if not other:
                return print("skipped: there is no PostgreSQL to compare with (apt install postgresql)")
            for at in [port, other]:
                run.load(at)
            return report(options, Server(port), Server(other))
        finally:
            for stop in reversed(started):
                stop()


def report(options, mine, theirs):
    asked = equal = listed = 0
    wrong = []
    for path in sorted(glob.glob(os.path.join(HERE, "queries", "*.sql"))):
        name = os.path.basename(path)[:-4]
        if options.only and name not in options.only.split(","):
            continue
        mine.connect(), theirs.connect()
        counts = [0, 0]
        for sql, reason, setup in statements(path):
            ours, others = mine.ask(sql), theirs.ask(sql)
            if setup:
                continue
            counts[0] += 1
            why = difference(ours, others)
            counts[1] += why is None
            if why and reason:
                listed += 1
            elif why or reason:
                wrong.append(name)
                print(f"  {name}: {' '.join(sql.split())[:150 if not options.show else 1500]}\n    {why or 'does not differ any more: ' + reason}")
        asked, equal = asked + counts[0], equal + counts[1]
        print(f"{name:20} {counts[1]}/{counts[0]}", flush=True)
    print(f"{equal} of {asked} statements are answered as by PostgreSQL, {listed} differ on purpose, {len(wrong)} otherwise")
    return 1 if wrong else 0


def statements(path):
    """Each statement, why it differs, and whether it only prepares what follows."""
    reason, setup, lines = None, False, []
    one_a_line = path.endswith("expressions.sql")
    for line in open(path):
        if line.startswith("-- differs: "):
            reason = line[len("-- differs: "):].strip()
        elif line.startswith("-- setup"):
            setup = True
        elif not line.startswith("--") and line.strip():
            lines.append(line)
            if one_a_line or line.rstrip().endswith(";"):
                yield "".join(lines).strip().rstrip(";"), reason, setup
                reason, setup, lines = None, False, []


class Server:
    def __init__(self, port):
        self.dsn = f"host=127.0.0.1 port={port} user=postgres dbname=funnelsql sslmode=disable options='-c timezone=UTC'"
        self.names = {}
        self.connect()
        names = dict(self.ask(OIDS)[0]["rows"])
        # Each has its own version.
        names[self.ask("SHOW server_version_num")[0]["rows"][0][0]] = "the version"
        self.names = names

    def connect(self):
        from psycopg import pq

        self.pq = pq
        self.connection = pq.PGconn.connect(self.dsn.encode())

    def ask(self, sql):
        pq = self.pq
        if self.connection.status != pq.ConnStatus.OK:
            self.connect()
        self.connection.send_query(sql.encode())
        told = []
        while (result := self.connection.get_result()) is not None:
            told.append(self.told(result))
        if self.connection.transaction_status == pq.TransactionStatus.INERROR:
            self.connection.exec_(b"ROLLBACK")
        return told

    def told(self, result):
        pq = self.pq
        if result.status == pq.ExecStatus.FATAL_ERROR:
            code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            return {"error": code, "message": (result.error_message or b"").decode()[:200].strip()}
        columns = [[result.fname(at).decode(), result.ftype(at)] for at in range(result.nfields)]
        rows = [[self.value(result, row, at) for at in range(result.nfields)] for row in range(result.ntuples)]
        return {"tag": (result.command_status or b"").decode(), "columns": columns, "rows": rows}

    def value(self, result, row, at):
        value = result.get_value(row, at)
        text = value if value is None else value.decode()
        is_oid = result.ftype(at) in (26, 2205, 2206) or (text or "").isdigit() and len(text) > 4
        return self.names.get(text, text) if is_oid else text


def difference(ours, theirs):
    if len(ours) != len(theirs):
        return f"{len(ours)} results where PostgreSQL has {len(theirs)}: {str(ours)[:200]}"
    for mine, other in zip(ours, theirs):
        if "error" in mine or "error" in other:
            if mine.get("error") != other.get("error"):
                return f"{mine.get('message') or 'no error'} where PostgreSQL says {other.get('message') or other['rows'][:2]}"
            continue
        if mine["columns"] != other["columns"]:
            pairs = [(a, b) for a, b in zip(mine["columns"], other["columns"]) if a != b]
            return f"columns {pairs or [mine['columns'], other['columns']]}"
        if mine["tag"] != other["tag"] and len(mine["rows"]) == len(other["rows"]):
            return f"tag {mine['tag']} where PostgreSQL has {other['tag']}"
        if mine["rows"] != other["rows"]:
            extra = [row for row in mine["rows"] if row not in other["rows"]][:2]
            missing = [row for row in other["rows"] if row not in mine["rows"]][:2]
            if not extra and not missing:
                return "the same rows in another order"
            if len(extra) == len(missing) == 1:
                names = [name for name, _ in mine["columns"]]
                cells = [(n, a, b) for n, a, b in zip(names, extra[0], missing[0]) if a != b]
                return f"(column, ours, PostgreSQL's): {cells}"
            return f"{len(mine['rows'])} rows where PostgreSQL has {len(other['rows'])}; ours alone {extra}, its alone {missing}"
    return None


if __name__ == "__main__":
    sys.exit(main())
