#!/usr/bin/env python3
"""Drives real Postgres clients against FunnelSQL, and prints what each of them can do.

    tests/clients/run.py [--only psql,asyncpg] [--binary FILE] [--postgres PORT] [--within SECONDS] [--show] [--markdown]

Every client runs the same checks (connect, list, describe, query, parameters, types, stream, cancel, error, and encoding
where it can speak another than UTF-8) against the real server binary and against PostgreSQL 15 with the same tables, and
both have to tell it the same. PostgreSQL is that at --postgres, else one that is started from an installed `initdb`; without
one, a check passes that raises no error. A client that isn't installed is skipped with a message. NODE_MODULES names the
folder over node_modules, PGJDBC the jar, SUPERSET_PYTHON a Python with apache-superset, PGADMIN_PYTHON one with pgadmin4,
SQLX_TARGET the folder where sqlx is built. `--within SECONDS` begins no further client after so long, and says which.
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
CHECKS = ["connect", "list", "describe", "query", "parameters", "types", "stream", "cancel", "error", "encoding"]
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
    options.add_argument("--within", type=float)
    options.add_argument("--show", action="store_true")
    options.add_argument("--markdown", action="store_true")
    options = options.parse_args()
    if not shutil.which("psql"):
        return print("skipped: psql, which loads the tables, is not installed")
    # Whoever ends this ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before it was done"))
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
    failed, table, began = 0, [], time.monotonic()
    for name, run in CLIENTS.items():
        if options.only and name not in options.only.split(","):
            continue
        if options.within and time.monotonic() - began > options.within:
            print(f"{name}: skipped: no time is left for it", flush=True)
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
    if expected is None or told == expected or without_patch(told) == without_patch(expected):
        return "yes", None
    return "no", difference(told, expected)


def without_patch(told):
    """What was told, with each version of PostgreSQL 15 as the first of them: the installed one is newer from time to time."""
    return re.sub(r"\b15(00|\.)\d\d\b", r"15\g<1>00", json.dumps(told))


def difference(told, expected):
    if isinstance(told, dict) and isinstance(expected, dict) and told.keys() == expected.keys():
        parts = [f"{key}: {difference(told[key], expected[key])}" for key in told if told[key] != expected[key]]
        return "; ".join(parts)
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


# Commands of psql whose answer is compared, and others that have to work: they list what each server has of its own.
COMPARED = [
    r"\d", r"\d deals", r"\d+ owners", r"\dt", r"\dv", r"\dm", r"\di", r"\ds", r"\dT", r"\da nosuch", r"\dC integer", r"\dD",
    r"\df nosuch", r"\des", r"\det", r"\deu", r"\dE", r"\dp deals", r"\z deals", r"\drds", r"\dRp", r"\dRs",
    r"\dX", r"\dy", r"\dO nosuch", r"\dF nosuch", r"\dFd nosuch", r"\dFp nosuch", r"\dFt nosuch", r"\dL", r"\dP", r"\dconfig server_encoding",
    r"\dl", r"\dx", r"\do nosuch", r"\dA heap", r"\dAc nosuch", r"\dAf nosuch", r"\dAo nosuch", r"\dAp nosuch", r"\ddp",
    r"\du nosuch", r"\dg nosuch", r"\db", r"\dc nosuch",
]
RUN = [
    r"\d+", r"\sv v_deals", r"\dS", r"\dt+", r"\dtS", r"\dv+", r"\di+", r"\ds+", r"\dT+", r"\dTS", r"\da", r"\dC", r"\dCS", r"\df", r"\df+", r"\dfS lower",
    r"\dn", r"\dn+", r"\dp", r"\du", r"\du+", r"\dg+", r"\l", r"\l+", r"\do", r"\dF", r"\dFd", r"\dFp", r"\dFt", r"\dO", r"\dx+", r"\db+", r"\dc",
    r"\dA", r"\dAc", r"\dAf", r"\dAo", r"\dAp", r"\dconfig", r"\dd", r"\des+", r"\dew", r"\conninfo", r"\timing", r"\dX+", r"\dRp+",
]


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

    def watched():
        """`\\watch` runs until it is interrupted."""
        environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}
        command = ["psql", "-X", "-At", "-d", "funnelsql", "-c", "\\t", "-f", "-"]
        running = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.stdin.write("SELECT 7 \\watch 0.2\n")
        running.stdin.flush()
        time.sleep(1.5)
        running.send_signal(signal.SIGINT)
        running.stdin.close()
        return running.stdout.read().count("7\n") > 2

    def canceled():
        endless = "SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b"
        environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}
        command = ["psql", "-X", "-d", "funnelsql", "-c", endless]
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        return running.communicate(timeout=20)[1]

    def commands():
        """Every backslash command. What PostgreSQL has and we don't is left out of what is compared."""
        told = {}
        for command in COMPARED:
            output = shown(command + "\n")
            told[command] = re.sub(r"\b\d+ (bytes|kB)|\b(heap|permanent)\b", "", output[0]).split("\n") + [output[1]]
        for command in RUN:
            told[command] = shown(command + "\n")[1]
        return told

    def encoded():
        script = "\\encoding GB18030\n\\encoding\nSHOW client_encoding;\n\\encoding UTF8\nSELECT '漏斗';\n"
        words = {"GBK": "漏斗", "GB18030": "漏斗", "BIG5": "漏斗", "LATIN1": "Zürich", "SJIS": "ファネル"}
        python = {"LATIN1": "latin-1", "SJIS": "cp932"}
        told = [shown(script)]
        for name, word in words.items():
            text = f"SELECT '{word}' AS \"{word}\", length('{word}');\nSELECT \"{word}\";\nSELECT chr(128512);\n"
            environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGCLIENTENCODING": name}
            done = subprocess.run(["psql", "-X", "-A", "-d", "funnelsql", "-f", "-"], input=text.encode(python.get(name, name)),
                                  env=environment, capture_output=True, timeout=60)
            hints = re.sub(rb"\n(HINT|LINE).*|\n +\^", b"", done.stderr)
            told.append([name, done.stdout.hex(), re.sub(rb"psql:<stdin>:\d+: ", b"", hints).hex()])
        return told

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
    result["describe"] = [result["describe"], commands()]
    result["query"].append(shown("SELECT owner, active, count(*) FROM deals GROUP BY 1, 2 ORDER BY 1, 2 \\crosstabview\nSELECT 1 AS one \\gset\nSELECT :one;\nSELECT format('SELECT %s', 5) \\gexec\nSELECT 1 AS a \\gx\n"))
    result["query"].append(watched())
    result["encoding"] = encoded()
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


def go(name):
    """pgx and lib/pq, built from probe.go with Debian's packages of them."""

    def run(port):
        package = {"pgx": "golang-github-jackc-pgx-v4-dev", "pq": "golang-github-lib-pq-dev"}[name]
        if not shutil.which("go") or not os.path.exists("/usr/share/gocode/src/github.com/jackc/pgx/v4"):
            return {"skipped": "the drivers are not installed (apt install golang-go golang-github-jackc-pgx-v4-dev golang-github-lib-pq-dev)"}
        with tempfile.TemporaryDirectory() as folder:
            built = os.path.join(folder, "probe")
            environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": os.path.join(tempfile.gettempdir(), "go-cache")}
            command = ["go", "build", "-o", built, os.path.join(HERE, "probe.go")]
            subprocess.run(command, env=environment, check=True, timeout=300)
            told = probe([built, name, str(port)])
        version = subprocess.run(["dpkg-query", "-Wf", "${Version}", package], capture_output=True, text=True).stdout
        return {**told, "client": {"pgx": "pgx ", "pq": "lib/pq "}[name] + version.split("-")[0]}

    return run


def sqlx(port):
    """sqlx, whose probe is a cargo project of its own; SQLX_TARGET is the folder where it is built."""
    target = os.environ.get("SQLX_TARGET", os.path.join(tempfile.gettempdir(), "funnelsql-clients", "sqlx"))
    manifest = os.path.join(HERE, "sqlx", "Cargo.toml")
    if not shutil.which("cargo"):
        return {"skipped": "cargo is not installed"}
    command = ["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", target]
    try:
        built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return {"skipped": "it isn't built within five minutes"}
    if built.returncode:
        # A machine without a registry can't fetch crates; a fault in the probe is a failure.
        lines = [line for line in built.stderr.splitlines() if line.startswith("error")] or [built.stderr[-200:]]
        absent = any(word in built.stderr for word in ["failed to download", "failed to fetch", "failed to get", "Could not resolve"])
        return {"skipped": lines[0]} if absent else {"client": "sqlx", "checks": {"connect": {"failed": lines[0]}}}
    told = probe([os.path.join(target, "debug", "sqlx-probe"), str(port)])
    version = re.search(r'name = "sqlx"\nversion = "(.*)"', open(os.path.join(HERE, "sqlx", "Cargo.lock")).read())[1]
    return {**told, "client": f"sqlx {version}"}


def superset(port):
    """Apache Superset, which wants a Python of its own: SUPERSET_PYTHON."""
    python = os.environ.get("SUPERSET_PYTHON", "")
    if not os.path.exists(python):
        return {"skipped": "SUPERSET_PYTHON names no Python with apache-superset"}
    return probe([python, os.path.join(HERE, "superset_probe.py"), str(port)])


def pgadmin(port):
    """pgAdmin 4, which wants a Python of its own too: PGADMIN_PYTHON."""
    python = os.environ.get("PGADMIN_PYTHON", "")
    if not os.path.exists(python):
        return {"skipped": "PGADMIN_PYTHON names no Python with pgadmin4"}
    return probe([python, os.path.join(HERE, "pgadmin_probe.py"), str(port)])


def pgbench(port):
    """A script as `pgbench -S`: point queries by each of its protocols."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/pgbench"))
    tool = found[-1] if found else shutil.which("pgbench")
    if not tool:
        return {"skipped": "pgbench is not installed (apt install postgresql)"}
    environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}

    def run(protocol):
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write("\\set id random(1, 200)\nSELECT amount FROM deals WHERE id = :id;\n")
            file.flush()
            command = [tool, "-n", "-M", protocol, "-c", "2", "-t", "20", "-f", file.name, "funnelsql"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode or "failed" in done.stdout and "failed transactions: 0" not in done.stdout:
            return {"failed": done.stderr.strip()[-200:]}
        return re.search(r"transactions actually processed: .*", done.stdout)[0]

    checks = {"connect": run("simple"), "query": run("extended"), "parameters": run("prepared")}
    version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout.split()[2]
    return {"client": f"pgbench {version}", "checks": checks}


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
        done = subprocess.run(command, capture_output=True, text=True, timeout=400)
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
    "pgcli": python("pgcli"),
    "dbt": python("dbt"),
    "pgx": go("pgx"),
    "lib/pq": go("pq"),
    "sqlx": sqlx,
    "pgbench": pgbench,
    "superset": superset,
    "pgadmin": pgadmin,
}

if __name__ == "__main__":
    sys.exit(main())
