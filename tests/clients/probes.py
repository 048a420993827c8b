#!/usr/bin/env python3
"""What one Python client sees of a Postgres server: `probes.py CLIENT PORT` prints one JSON object.

The runner (run.py) starts it once against FunnelSQL and once against PostgreSQL, and compares. Each check of a client is
a function that returns what the client was told, in words that JSON has.
"""
import asyncio
import json
import sys
import threading
import time

HOST, USER, DATABASE = "127.0.0.1", "postgres", "funnelsql"

TYPES = """SELECT true AS b, 1::smallint AS i2, 2::int AS i4, 3::bigint AS i8, 1.5::real AS f4, 2.5::float8 AS f8,
 1.25::numeric(10,2) AS n, 'text' AS t, 'vc'::varchar(5) AS v, '\\xdead'::bytea AS y, date '2026-01-31' AS d,
 time '10:20:30' AS h, timestamp '2026-01-31 10:20:30.5' AS ts, timestamptz '2026-01-31 10:20:30+00' AS tz,
 interval '1 day 02:00:00' AS iv, 'c9f0f895-fb98-4b3a-8d5c-0b0a2f6f9d11'::uuid AS u, '{"a": [1, null]}'::jsonb AS j,
 ARRAY[1, NULL, 3] AS ai, ARRAY['a b', 'c'] AS at, NULL::int AS z"""
QUERY = "SELECT owner, count(*) AS deals, sum(amount) AS amount FROM deals GROUP BY owner ORDER BY owner"
SERIES = "SELECT g, g * 2 AS h FROM generate_series(1, 20000) AS g"
ENDLESS = "SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b"
WRONG = "SELECT nothing FROM deals"
TABLES = "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 2"
COLUMNS = """SELECT column_name, data_type, is_nullable FROM information_schema.columns
 WHERE table_name = 'deals' ORDER BY ordinal_position"""


def shown(value):
    """A value with its type, so that 1 and '1' differ."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [shown(item) for item in value]
    if isinstance(value, memoryview):
        value = bytes(value)
    return f"{type(value).__name__} {value!r}"


def rows(found):
    return [[shown(value) for value in row] for row in found]


def outcomes(functions, shown=lambda text: text.splitlines()[0][:200]):
    """What each check was told, or what is shown of its failure."""
    result = {}
    for name, function in functions.items():
        try:
            result[name] = function()
        except Exception as error:  # what a client says is the finding
            result[name] = {"failed": shown(f"{type(error).__name__}: {error}")}
    return result


def checks(client, functions):
    return client, outcomes(functions)


def later(function, seconds=0.5):
    timer = threading.Timer(seconds, function)
    timer.start()
    return timer


def dbapi(module, connect, placeholder, code, cancel, stream=None, positional=True):
    """The checks of a driver that follows Python's DB-API."""
    connection = connect()

    def run(sql, *parameters):
        cursor = connection.cursor()
        cursor.execute(sql, parameters) if parameters else cursor.execute(sql)
        return cursor

    def query():
        cursor = run(QUERY)
        return [[column[0] for column in cursor.description], rows(cursor.fetchall())]

    def parameters():
        sql = f"SELECT id, amount, created_at FROM deals WHERE owner = {placeholder} AND amount > {placeholder} ORDER BY id"
        return rows(run(sql, "ana", 500).fetchall())

    def failure():
        try:
            run(WRONG)
        except module.Error as error:
            return code(error)
        finally:
            connection.rollback()
        return "no error"

    def canceled():
        timer, began = later(lambda: cancel(connection)), time.time()
        try:
            run(ENDLESS)
        except module.Error as error:
            return [code(error), time.time() - began < 5]
        finally:
            timer.cancel()
            connection.rollback()
        return "no error"

    def streamed():
        if stream:
            return stream(connection)
        return shown(sum(row[0] for row in run(SERIES)))

    functions = {
        "connect": lambda: shown(run("SELECT current_setting('server_version_num')").fetchone()[0]),
        "list": lambda: rows(run(TABLES).fetchall()),
        "describe": lambda: rows(run(COLUMNS).fetchall()),
        "query": query,
        "parameters": parameters,
        "types": lambda: rows(run(TYPES).fetchall()),
        "stream": streamed,
        "error": failure,
    }
    if cancel:
        functions["cancel"] = canceled
    return functions


def psycopg3(port):
    import psycopg

    connect = lambda: psycopg.connect(host=HOST, port=port, user=USER, dbname=DATABASE)

    def stream(connection):
        with connection.cursor(name="series") as cursor:
            cursor.itersize = 500
            cursor.execute(SERIES)
            total = sum(row[0] for row in cursor)
        with connection.cursor().copy("COPY (SELECT id, owner FROM deals ORDER BY id LIMIT 3) TO STDOUT") as copy:
            copied = [bytes(block).decode() for block in copy]
        connection.commit()
        return [total, "".join(copied)]

    functions = dbapi(
        psycopg, connect, "%s", lambda error: error.sqlstate, lambda connection: connection.cancel(), stream
    )
    plain = functions["types"]

    def binary():
        with connect() as connection:
            cursor = connection.cursor(binary=True)
            cursor.execute(TYPES + " WHERE %s = 1", (1,))
            return rows(cursor.fetchall())

    def encoded(name, word):
        """A text there and back in an encoding: in a statement, a parameter, binary, a column's name, an error, a copy."""
        with psycopg.connect(host=HOST, port=port, user=USER, dbname=DATABASE, client_encoding=name) as connection:
            told = [connection.info.parameter_status("client_encoding"), connection.info.encoding]
            cursor = connection.cursor()
            cursor.execute(f"SELECT '{word}' AS \"{word}\", length('{word}'), convert_to('{word}', 'UTF8')")
            told += [cursor.description[0].name, rows(cursor.fetchall())]
            told.append(rows(cursor.execute("SELECT %s::text, %s::text[], ARRAY[%s]::text[]", (word, [word, None], word)).fetchall()))
            binary = connection.cursor(binary=True)
            told.append(rows(binary.execute("SELECT %b::text, %b::text[]", (word, [word])).fetchall()))
            with cursor.copy(f"COPY (SELECT '{word}' AS a, 1 AS b) TO STDOUT (FORMAT csv, HEADER)") as copy:
                told.append(b"".join(copy).hex())
            cursor.execute("CREATE TEMP TABLE words (word text)")
            with cursor.copy("COPY words FROM STDIN") as copy:
                copy.write(f"{word}\n".encode(connection.info.encoding))
            told.append(rows(cursor.execute("SELECT word, convert_to(word, 'UTF8') FROM words").fetchall()))
            for wrong in [f'SELECT "{word}"', "SELECT chr(128512)", f"SELECT '{word}' || chr(128512)"]:
                try:
                    cursor.execute(wrong).fetchall()
                    told.append("no error")
                except psycopg.Error as error:
                    # What PostgreSQL says about a column it says with a hint of its own.
                    told.append([error.sqlstate, str(error.diag.message_primary)])
                    connection.rollback()
            return told

    words = {"GBK": "漏斗", "GB18030": "漏斗€", "EUC_CN": "漏斗", "BIG5": "漏斗", "SJIS": "ファネルｱ", "EUC_JP": "ファネル",
             "EUC_KR": "깔때기", "UHC": "깔때기", "LATIN1": "Zürich", "LATIN9": "Œuvre €", "WIN1252": "Œuvre €",
             "WIN1251": "Воронка", "KOI8R": "Воронка", "ISO_8859_7": "Χωνί", "UTF8": "漏斗😀"}

    functions["types"] = lambda: [plain(), binary()]
    functions["encoding"] = lambda: {name: encoded(name, word) for name, word in words.items()}
    return checks(f"psycopg {psycopg.__version__}", functions)


def psycopg2(port):
    import psycopg2 as module

    connect = lambda: module.connect(host=HOST, port=port, user=USER, dbname=DATABASE)

    def stream(connection):
        with connection.cursor(name="series") as cursor:
            cursor.execute(SERIES)
            total = sum(row[0] for row in cursor)
        connection.commit()
        return total

    functions = dbapi(module, connect, "%s", lambda error: error.pgcode, lambda connection: connection.cancel(), stream)
    return checks(f"psycopg2 {module.__version__.split()[0]}", functions)


def pg8000(port):
    import pg8000.dbapi as module

    connect = lambda: module.connect(host=HOST, port=port, user=USER, database=DATABASE)
    functions = dbapi(module, connect, "%s", lambda error: error.args[0].get("C"), None)
    return checks(f"pg8000 {__import__('importlib.metadata').metadata.version('pg8000')}", functions)


def asyncpg(port):
    import asyncpg as module

    loop = asyncio.new_event_loop()
    wait = loop.run_until_complete
    connection = wait(module.connect(host=HOST, port=port, user=USER, database=DATABASE))

    async def streamed():
        async with connection.transaction():
            return sum([row["g"] async for row in connection.cursor(SERIES, prefetch=500)])

    async def canceled():
        try:
            await connection.fetch(ENDLESS, timeout=0.5)
        except asyncio.TimeoutError:
            return ["timeout", await connection.fetchval("SELECT 7")]
        return "no error"

    def failure():
        try:
            wait(connection.fetch(WRONG))
        except module.PostgresError as error:
            return [error.sqlstate, type(error).__name__]
        return "no error"

    def query():
        statement = wait(connection.prepare(QUERY))
        names = [[attribute.name, attribute.type.name] for attribute in statement.get_attributes()]
        return [names, rows(map(tuple, wait(statement.fetch())))]

    sql = "SELECT id, amount, created_at FROM deals WHERE owner = $1 AND amount > $2 AND id = ANY($3) ORDER BY id"
    fetch = lambda sql, *values: rows(map(tuple, wait(connection.fetch(sql, *values))))
    functions = {
        "connect": lambda: str(connection.get_server_version()[:2]),
        "list": lambda: fetch(TABLES),
        "describe": lambda: fetch(COLUMNS),
        "query": query,
        "parameters": lambda: fetch(sql, "ana", 500, list(range(100))),
        "types": lambda: fetch(TYPES),
        "stream": lambda: wait(streamed()),
        "cancel": lambda: wait(canceled()),
        "error": failure,
    }
    return checks(f"asyncpg {module.__version__}", functions)


def sqlalchemy(port, driver="psycopg2"):
    import sqlalchemy as module

    engine = module.create_engine(f"postgresql+{driver}://{USER}@{HOST}:{port}/{DATABASE}")
    connection = engine.connect()
    inspector = module.inspect(engine)
    run = lambda sql, **values: connection.execute(module.text(sql), values)
    deals = lambda: module.Table("deals", module.MetaData(), autoload_with=engine)

    def described():
        columns = [[c["name"], str(c["type"]), c["nullable"], c["comment"]] for c in inspector.get_columns("deals")]
        return [
            columns,
            inspector.get_pk_constraint("deals")["constrained_columns"],
            [[k["constrained_columns"], k["referred_table"]] for k in inspector.get_foreign_keys("deals")],
            inspector.get_table_comment("deals"),
            [str(c.type) for c in deals().columns],
        ]

    def parameters():
        table = deals()
        query = module.select(table.c.id, table.c.amount).where(table.c.owner == "ana", table.c.id.in_([1, 2, 3, 4, 5]))
        return rows(map(tuple, connection.execute(query.order_by(table.c.id))))

    def failure():
        try:
            run(WRONG)
        except module.exc.DBAPIError as error:
            return [type(error).__name__, error.orig.pgcode]
        finally:
            connection.rollback()
        return "no error"

    def streamed():
        found = connection.execution_options(yield_per=500).execute(module.text(SERIES))
        return sum(row[0] for row in found)

    functions = {
        "connect": lambda: str(connection.dialect.server_version_info[:1]),
        "list": lambda: [sorted(inspector.get_table_names()), inspector.get_view_names(), inspector.get_sequence_names()],
        "describe": described,
        "query": lambda: rows(map(tuple, run(QUERY))),
        "parameters": parameters,
        "types": lambda: rows(map(tuple, run(TYPES.replace(":", "\\:")))),
        "stream": streamed,
        "error": failure,
    }
    return checks(f"SQLAlchemy {module.__version__} ({driver})", functions)


def pandas(port):
    import pandas as module
    import sqlalchemy as orm

    engine = orm.create_engine(f"postgresql+psycopg2://{USER}@{HOST}:{port}/{DATABASE}")
    frame = lambda sql, **options: module.read_sql(orm.text(sql), engine, **options)
    told = lambda found: [[str(kind) for kind in found.dtypes], found.astype(str).values.tolist()]
    chunks = lambda: sum(len(part) for part in module.read_sql(orm.text(SERIES), engine, chunksize=5000))
    functions = {
        "connect": lambda: told(frame("SELECT 1 AS one")),
        "list": lambda: told(frame(TABLES)),
        "describe": lambda: [str(kind) for kind in module.read_sql_table("deals", engine).dtypes],
        "query": lambda: told(frame(QUERY)),
        "parameters": lambda: told(frame("SELECT id FROM deals WHERE owner = :o ORDER BY id", params={"o": "ana"})),
        "stream": chunks,
    }
    return checks(f"pandas {module.__version__} (SQLAlchemy)", functions)


def polars(port, engine="adbc"):
    import polars as module

    uri = f"postgresql://{USER}@{HOST}:{port}/{DATABASE}"
    read = lambda sql: module.read_database_uri(sql, uri, engine=engine)
    told = lambda found: [[str(kind) for kind in found.dtypes], [[str(v) for v in row] for row in found.rows()]]
    plain = "SELECT id, owner, amount::float8 AS amount, closed_on, active, created_at FROM deals ORDER BY id LIMIT 5"
    functions = {
        "connect": lambda: told(read("SELECT 1 AS one")),
        "list": lambda: told(read(TABLES)),
        "describe": lambda: told(read(COLUMNS)),
        "query": lambda: told(read(QUERY.replace("sum(amount)", "sum(amount)::float8"))),
        "types": lambda: told(read(plain)),
        "stream": lambda: read(SERIES).height,
    }
    return checks(f"polars {module.__version__} ({engine})", functions)


def psqlodbc(port):
    import pyodbc as module

    text = "DRIVER={PostgreSQL Unicode};SERVER=%s;PORT=%s;UID=%s;DATABASE=%s;UseDeclareFetch=1;Fetch=500"
    connect = lambda: module.connect(text % (HOST, port, USER, DATABASE), autocommit=True)
    functions = dbapi(module, connect, "?", lambda error: error.args[0], None)
    connection = connect()
    tables = lambda: sorted([t.table_schem, t.table_name, t.table_type] for t in connection.cursor().tables(schema="public"))
    columns = lambda: [[c.column_name, c.type_name, c.nullable] for c in connection.cursor().columns(table="deals")]
    functions.update({"list": tables, "describe": columns})
    version = connection.getinfo(module.SQL_DRIVER_VER)
    return checks(f"psqlODBC {version}", functions)


def pgcli(port):
    """The code of pgcli that asks the server: completions and backslash commands."""
    from pgcli.packages.prioritization import PrevalenceCounter  # noqa: F401, only pgcli has it
    from pgcli.pgexecute import PGExecute
    from pgspecial.main import PGSpecial

    server = PGExecute(DATABASE, USER, "", HOST, str(port))
    special = PGSpecial()

    def run(sql):
        told = []
        for title, found, headers, status, _, succeeded, _ in server.run(sql, special):
            found = found if isinstance(found, (list, str, type(None))) else list(found)
            told.append([title, [list(map(shown, row)) for row in found or []], headers, status])
            if not succeeded:
                raise RuntimeError(status)
        return told

    functions = {
        "connect": lambda: str(server.server_version.split(".")[0]),
        "list": lambda: [
            sorted(name for schema, name in server.tables() if schema == "public"),
            [name for schema, name in server.views() if schema == "public"],
            DATABASE in server.databases(),
            "public" in server.schemata(),
        ],
        "describe": lambda: [
            sorted(map(list, (column for column in server.table_columns() if column[0] == "public" and column[1] == "deals"))),
            [list(key) for key in server.foreignkeys()],
            run(r"\d deals"),
        ],
        "query": lambda: run(QUERY),
        "types": lambda: run(TYPES),
        "stream": lambda: len(run(SERIES)[0][1]),
        "error": lambda: failing(run),
    }

    def failing(run):
        try:
            run(WRONG)
        except Exception as error:
            return "does not exist" in str(error)
        return "no error"

    return checks(f"pgcli {__import__('pgcli').__version__}", functions)


def dbt(port):
    """A project of two views over the tables: `dbt debug`, `run`, `test`, `docs generate`."""
    import os
    import subprocess
    import tempfile

    from importlib.metadata import version

    import dbt.adapters.postgres  # noqa: F401
    import psycopg2

    folder = tempfile.mkdtemp()
    files = {
        "dbt_project.yml": "name: shop\nversion: '1.0.0'\nprofile: shop\n",
        "profiles.yml": f"shop: {{target: dev, outputs: {{dev: {{type: postgres, host: {HOST}, port: {port}, user: {USER},"
        f" password: x, dbname: {DATABASE}, schema: public, threads: 1}}}}}}\n",
        "models/totals.sql": "select owner, count(*) as deals, sum(amount) as amount from {{ source('shop', 'deals') }} group by owner",
        "models/best.sql": "select owner from {{ ref('totals') }} where amount > (select avg(amount) from {{ ref('recent') }})",
        "models/recent.sql": "{{ config(materialized='ephemeral') }} select amount from {{ source('shop', 'deals') }} where id > 100",
        "models/schema.yml": "version: 2\nsources: [{name: shop, schema: public, tables: [{name: deals}]}]\nmodels:\n"
        "  - {name: totals, description: By owner, columns: [{name: owner, tests: [unique, not_null]}]}\n",
    }
    for name, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    tool = os.path.join(os.path.dirname(sys.executable), "dbt")

    def run(*words):
        command = [tool, "--no-use-colors", "--no-send-anonymous-usage-stats", *words, "--project-dir", folder, "--profiles-dir", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        if done.returncode:
            raise RuntimeError(" ".join(line for line in done.stdout.splitlines() if "rror" in line)[:180] or done.stderr[-180:])
        return [line.split("Done. ")[1] for line in done.stdout.splitlines() if "Done. " in line]

    def relations():
        with psycopg2.connect(host=HOST, port=port, user=USER, dbname=DATABASE) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT * FROM totals ORDER BY owner")
            return rows(cursor.fetchall())

    def clean(told):
        with psycopg2.connect(host=HOST, port=port, user=USER, dbname=DATABASE) as connection:
            connection.cursor().execute("DROP VIEW IF EXISTS best; DROP VIEW IF EXISTS totals")
        return told

    functions = {
        "connect": lambda: run("debug"),
        "query": lambda: [run("run"), relations()],
        "list": lambda: run("run"),
        "describe": lambda: clean([run("test"), len(run("docs", "generate"))]),
    }
    return checks(f"dbt-postgres {version('dbt-postgres')} (dbt {version('dbt-core')})", functions)


CLIENTS = {
    "pgcli": pgcli,
    "dbt": dbt,
    "psycopg3": psycopg3,
    "psycopg2": psycopg2,
    "asyncpg": asyncpg,
    "pg8000": pg8000,
    "sqlalchemy": sqlalchemy,
    "pandas": pandas,
    "polars-adbc": lambda port: polars(port, "adbc"),
    "polars-connectorx": lambda port: polars(port, "connectorx"),
    "psqlodbc": psqlodbc,
}


def main():
    name, port = sys.argv[1:3]
    try:
        version, result = CLIENTS[name](int(port))
    except ImportError as error:
        return print(json.dumps({"skipped": f"{error.name or error} is not installed"}))
    except Exception as error:
        version, result = name, {"connect": {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}}
    print(json.dumps({"client": version, "checks": result}))


if __name__ == "__main__":
    main()
