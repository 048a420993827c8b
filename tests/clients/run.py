#!/usr/bin/env python3
"""Drives real Postgres clients against FunnelSQL, and prints what each of them can do.

    tests/clients/run.py [--only psql,asyncpg] [--binary FILE] [--postgres PORT] [--show] [--markdown]

Every client runs the same checks (connect, list, describe, query, parameters, types, stream, cancel, error) against the
real server binary and against PostgreSQL 15 with the same tables, and both have to tell it the same. PostgreSQL is that
at --postgres, else one that is started from an installed `initdb`; without one, a check passes that raises no error. A
client that isn't installed is skipped with a message. NODE_MODULES names the folder over node_modules, PGJDBC the jar.
"""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CHECKS = ["connect", "list", "describe", "query", "parameters", "types", "stream", "cancel", "error"]
SCHEMA = [
    "CREATE TABLE owners (owner text NOT NULL, team text)",
    """CREATE TABLE deals (id bigint NOT NULL, owner text, amount numeric(12,2), closed_on date, active boolean,
       created_at timestamptz, score double precision, tags text[], props jsonb)""",
    "ALTER TABLE owners ADD CONSTRAINT owners_pkey PRIMARY KEY (owner)",
    "ALTER TABLE deals ADD CONSTRAINT deals_pkey PRIMARY KEY (id)",
    "ALTER TABLE deals ADD CONSTRAINT deals_owner_fkey FOREIGN KEY (owner) REFERENCES owners (owner)",
    "COMMENT ON TABLE deals IS 'What was sold'",
    "COMMENT ON COLUMN deals.amount IS 'In euros'",
    "INSERT INTO owners VALUES ('ana', 'north'), ('bo', 'south'), ('程', 'south')",
    """INSERT INTO deals SELECT g, CASE g % 3 WHEN 0 THEN 'ana' WHEN 1 THEN 'bo' ELSE '程' END, (g * 10.25)::numeric(12,2),
       date '2026-01-01' + (g % 60)::int, g % 2 = 0, timestamptz '2026-01-01 08:00+00' + g * interval '1 hour', g / 4.0::float8,
       ARRAY['a', 'b'], '{"k": 1}'::jsonb FROM generate_series(1::bigint, 200::bigint) AS g""",
    "CREATE VIEW v_deals AS SELECT id, owner, amount FROM deals WHERE active",
]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--binary", default=os.path.join(ROOT, "target", "debug", "funnelsql"))
    options.add_argument("--postgres", type=int)
    options.add_argument("--only")
    options.add_argument("--show", action="store_true")
    options.add_argument("--markdown", action="store_true")
    options = options.parse_args()
    if not shutil.which("psql"):
        return print("skipped: psql, which loads the tables, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        started = []
        try:
            port = serve(options.binary, folder, started)
            other = options.postgres or postgres(folder, started)
            for at in [port, other]:
                if at:
                    load(at)
            if other:
                shown = psql(other, "-Atc", "SHOW server_version", database="postgres").stdout
                FDW.update(port=other, version=shown.split()[0])
            return report(options, port, other)
        finally:
            for stop in reversed(started):
                stop()


def report(options, port, other):
    failed, table = 0, []
    for name, run in CLIENTS.items():
        if options.only and name not in options.only.split(","):
            continue
        mine = run(port)
        if "skipped" in mine:
            print(f"{name}: skipped: {mine['skipped']}", flush=True)
            continue
        theirs = run(other) if other else None
        cells = []
        for check in CHECKS:
            told = mine["checks"].get(check)
            cell, why = judged(told, theirs and theirs["checks"].get(check))
            cells.append(cell)
            if why:
                failed += 1
                print(f"  {mine['client']}: {check}: {why}")
            elif options.show and told is not None:
                print(f"  {mine['client']}: {check}: {json.dumps(told, ensure_ascii=False)[:300]}")
        table.append([mine["client"]] + cells)
        print(f"{mine['client']:34} " + " ".join(f"{check} {cell}" for check, cell in zip(CHECKS, cells)), flush=True)
    if options.markdown:
        print("\n| Client | " + " | ".join(CHECKS) + " |\n|---" * 1 + "|---" * len(CHECKS) + "|")
        for row in table:
            print("| " + " | ".join(row) + " |")
    print(f"{len(table)} clients, {failed} checks differ" + ("" if other else "; no PostgreSQL to compare with"))
    return 1 if failed else 0


def judged(told, expected):
    """A cell of the table, and what is wrong."""
    if told is None:
        return "–", None
    if isinstance(told, dict) and "failed" in told:
        same = isinstance(expected, dict) and "failed" in expected
        return ("–", None) if same else ("no", told["failed"])
    if expected is None or told == expected:
        return "yes", None
    return "no", difference(told, expected)


def difference(told, expected):
    if isinstance(told, list) and isinstance(expected, list) and len(told) == len(expected):
        for mine, theirs in zip(told, expected):
            if mine != theirs:
                return difference(mine, theirs)
    return f"{json.dumps(told, ensure_ascii=False)[:200]} where PostgreSQL says {json.dumps(expected, ensure_ascii=False)[:200]}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(binary, folder, started):
    port, log = free_port(), open(os.path.join(folder, "log"), "w")
    command = [binary, "serve", "--data-dir", os.path.join(folder, "data"), "--listen", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, stdout=log, stderr=log)
    started.append(lambda: (server.terminate(), server.wait()))
    answers(port)
    return port


def postgres(folder, started):
    """A PostgreSQL of its own, as the user postgres where we are root."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    initdb = found[-1] if found else shutil.which("initdb")
    if not initdb:
        return None
    tools, data, port = os.path.dirname(initdb), os.path.join(folder, "postgres"), free_port()
    # psql's folder of sockets has to be reached by its user.
    os.chmod(folder, 0o755)
    os.mkdir(data)
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(data, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run(as_user + [initdb, "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"], check=True, **quiet)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "timezone=UTC", "-k", data, "-p", str(port)]
    server = subprocess.Popen(as_user + [os.path.join(tools, "postgres"), "-D", data] + settings, **quiet)
    started.append(lambda: (server.send_signal(signal.SIGINT), server.wait()))
    answers(port, "postgres")
    psql(port, "-c", "CREATE DATABASE funnelsql", database="postgres")
    return port


def answers(port, database="funnelsql"):
    for _ in range(150):
        if psql(port, "-c", "SELECT 1", database=database).returncode == 0:
            return
        time.sleep(0.2)
    raise SystemExit(f"the server at port {port} doesn't answer")


def psql(port, *arguments, database="funnelsql", text=None):
    environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGTZ": "UTC"}
    command = ["psql", "-X", "-d", database, "-P", "pager=off", *arguments]
    return subprocess.run(command, input=text, env=environment, capture_output=True, text=True, timeout=120)


def load(port):
    for statement in SCHEMA:
        done = psql(port, "-q", "-v", "ON_ERROR_STOP=1", "-c", statement)
        if done.returncode:
            raise SystemExit(f"port {port}: {done.stderr.strip()}\n{statement}")


def psql_client(port):
    """psql itself: its commands, a file copied, a statement interrupted."""

    def shown(script):
        done = psql(port, "-At", "-f", "-", text=script)
        # Objects have other numbers here, and rows no sizes.
        own = lambda text: re.sub(r"\b(funnelsql|postgres)$", "owner", text.replace("|funnelsql|", "|owner|").replace("|postgres|", "|owner|"), flags=re.M)
        return [own(done.stdout), re.sub(r"psql:<stdin>:\d+: ", "", done.stderr)]

    def copied():
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "deals.csv")
            done = psql(port, "-c", rf"\copy (SELECT id, owner FROM deals ORDER BY id LIMIT 3) TO '{file}' CSV HEADER")
            return [done.stdout, done.stderr, open(file).read()]

    def canceled():
        endless = "SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b"
        environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}
        command = ["psql", "-X", "-d", "funnelsql", "-c", endless]
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        return running.communicate(timeout=20)[1]

    script = {
        "connect": "SELECT current_setting('server_version_num');\n\\conninfo".split("\n")[0],
        "list": "\\dt\n\\dv\n\\d\n\\dt public.*\n",
        "describe": "\\d deals\n\\d+ deals\n\\d v_deals\n\\d owners\n\\dd\n\\d+ v_deals\n",
        "query": "SELECT owner, count(*) FROM deals GROUP BY owner ORDER BY owner;\nSELECT 1 AS a, 'x' AS b, 1.5 AS c \\gdesc\n",
        "parameters": "\\set who ana\nPREPARE p(text) AS SELECT count(*) FROM deals WHERE owner = $1;\nEXECUTE p(:'who');\n",
        "types": __import__("probes").TYPES + ";\n",
        "stream": "\\set FETCH_COUNT 500\nSELECT g FROM generate_series(1, 3000) AS g;\n",
        "error": "SELECT nothing FROM deals;\n\\echo :SQLSTATE\n\\errverbose\n".rsplit("\\errverbose", 1)[0],
    }
    result = {name: shown(text) for name, text in script.items()}
    result["error"] = result["error"][0]
    result["stream"] = [result["stream"], copied()]
    result["cancel"] = canceled()
    version = subprocess.run(["psql", "--version"], capture_output=True, text=True).stdout.split()[2]
    return {"client": f"psql {version}", "checks": result}


def python(name):
    return lambda port: probe([sys.executable, os.path.join(HERE, "probes.py"), name, str(port)])


def node(name):
    if not shutil.which("node"):
        return lambda port: {"skipped": "node is not installed"}
    return lambda port: probe(["node", os.path.join(HERE, "probe.mjs"), name, str(port)])


def jdbc(port):
    jar = os.environ.get("PGJDBC", "/usr/share/java/postgresql.jar")
    if not shutil.which("java") or not os.path.exists(jar):
        return {"skipped": "java or pgjdbc is not installed (apt install default-jdk-headless libpostgresql-jdbc-java)"}
    return probe(["java", "-cp", jar, os.path.join(HERE, "Probe.java"), str(port)])


def fdw(port):
    """A PostgreSQL that reads the tables through postgres_fdw."""
    if not FDW.get("port"):
        return {"skipped": "there is no PostgreSQL to read from"}
    name = f"server_{port}"
    run = lambda sql: psql(FDW["port"], "-At", "-v", "ON_ERROR_STOP=1", "-c", sql, database="postgres")
    run("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    run(f"""CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname 'funnelsql')""")
    run(f"CREATE USER MAPPING FOR postgres SERVER {name} OPTIONS (user 'postgres', password_required 'false')")
    run(f"CREATE SCHEMA {name}")
    told = lambda sql: (lambda done: done.stdout if done.returncode == 0 else {"failed": done.stderr.strip()[:200]})(run(sql))
    checks = {
        "list": told(f"IMPORT FOREIGN SCHEMA public LIMIT TO (deals, owners) FROM SERVER {name} INTO {name}"),
        "describe": told(f"""SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
            WHERE attrelid = '{name}.deals'::regclass AND attnum > 0 ORDER BY attnum"""),
        "query": told(f"SELECT owner, count(*), sum(amount) FROM {name}.deals GROUP BY owner ORDER BY owner"),
        "parameters": told(f"SELECT d.id, o.team FROM {name}.deals d JOIN {name}.owners o USING (owner) WHERE d.amount > 2000 ORDER BY 1"),
        "types": told(f"SELECT * FROM {name}.deals ORDER BY id LIMIT 3"),
        "stream": told(f"SELECT count(*) FROM (SELECT a.id FROM {name}.deals a, {name}.deals b OFFSET 0) s"),
    }
    return {"client": f"postgres_fdw of PostgreSQL {FDW['version']}", "checks": checks}


FDW = {}


def probe(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        return {"client": command[-2], "checks": {"connect": {"failed": "it doesn't end"}}}
    lines = done.stdout.strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        return {"client": command[-2], "checks": {"connect": {"failed": (done.stderr or done.stdout)[-300:]}}}


CLIENTS = {
    "psql": psql_client,
    "psycopg3": python("psycopg3"),
    "asyncpg": python("asyncpg"),
    "sqlalchemy": python("sqlalchemy"),
    "jdbc": jdbc,
    "pg": node("pg"),
    "postgres.js": node("postgres"),
    "psycopg2": python("psycopg2"),
    "pg8000": python("pg8000"),
    "pandas": python("pandas"),
    "polars-adbc": python("polars-adbc"),
    "polars-connectorx": python("polars-connectorx"),
    "psqlodbc": python("psqlodbc"),
    "postgres_fdw": fdw,
}

if __name__ == "__main__":
    sys.exit(main())
