"""How fast data comes in and is read again: FunnelSQL beside PostgreSQL, DuckDB and ClickHouse.

    python3 benches/load/run.py [--rows 10000000] [--rounds 3] [--binary target/release/funnelsql] [--only copy,import,scan,foreign]

copy     `COPY … FROM STDIN` of one CSV, by the same client, into a table here and an unlogged table of PostgreSQL
import   the same file by `funnelsql import`, DuckDB's `read_csv` and ClickHouse's `file()`, each into its own kept table
scan     queries over the table, and over the very same Parquet files without their log
foreign  a funnel over a table of PostgreSQL where it lies, and over a copy that is pulled first (a tenth of the rows)

The engines are asked in turn, each round; medians of seconds and the ratio of each round's. The numbers are compared.
Needs PostgreSQL's programs, psycopg, pyarrow, duckdb and chdb. Everything listens on 127.0.0.1 and ends with the script.
"""

import argparse
import importlib.util
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

import pyarrow as pa
import pyarrow.csv

BENCHES = pathlib.Path(__file__).parent.parent


def neighbour(file: str):
    """Another bench's script as a module."""
    spec = importlib.util.spec_from_file_location(file.replace("/", "_").removesuffix(".py"), BENCHES / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


postgres = neighbour("postgres/run.py")
workload = neighbour("peers/workload.py")

THREADS = 2
COLUMNS = "event_id bigint, user_id bigint, event text, channel text, occurred_at timestamp, amount numeric(12,2)"
CHANNELS = ["web", "展会", "phone", "partner"]
CHUNK = 1 << 20

FUNNEL = """CREATE FUNNEL {name} ON {table} (ENTITY user_id, TIME occurred_at, WINDOW INTERVAL '14 days', DIMENSIONS (channel),
  STAGE visit WHEN event = 'visit', STAGE signup WHEN event = 'signup', STAGE activate WHEN event = 'activate',
  STAGE quote WHEN event = 'quote', STAGE "order" WHEN event = 'order', STAGE repeat_order WHEN event = 'repeat_order')"""
SCANS = {
    "count": "SELECT count(*) FROM {table}",
    "one day": "SELECT count(*), sum(amount) FROM {table} WHERE occurred_at >= '2026-02-01' AND occurred_at < '2026-02-02'",
    "by channel": "SELECT channel, count(*), sum(amount) FROM {table} GROUP BY channel ORDER BY channel",
    "by user": "SELECT count(*), max(n) FROM (SELECT user_id, count(*) AS n FROM {table} GROUP BY user_id) u",
    "funnel": "SELECT stage, entered FROM stage_conversion('{funnel}', as_of => '2026-07-01')",
}


def csv_of(folder: pathlib.Path, rows: int) -> pathlib.Path:
    """An event log in the order of time, with a name in Chinese and amounts that are often empty."""
    import numpy as np

    random = np.random.default_rng(7)
    users, events, times = workload.scattered(rows, random)
    amounts = random.integers(100, 1_000_000, rows)
    table = pa.table({
        "event_id": np.arange(rows),
        "user_id": users.astype(np.int64),
        "event": pa.DictionaryArray.from_arrays(pa.array(events), pa.array(workload.NAMES)).cast(pa.string()),
        "channel": pa.DictionaryArray.from_arrays(pa.array((users % len(CHANNELS)).astype(np.int8)), pa.array(CHANNELS)).cast(pa.string()),
        "occurred_at": pa.array(times, pa.timestamp("us")).cast(pa.timestamp("ms"), safe=False),
        "amount": pa.array(amounts / 100, mask=events % 2 == 0),
    })
    path = folder / "events.csv"
    pa.csv.write_csv(table, path, pa.csv.WriteOptions(quoting_style="needed"))
    return path


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copied(connection, table: str, path: pathlib.Path) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as copy:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                copy.write(chunk)


def report(title: str, times: dict[str, list[float]]) -> None:
    """A row for each engine; ratios are to the first one, within each round."""
    print(f"\n| {title} | s | ratio |\n|---|---|---|")
    first = next(iter(times.values()))
    for name, seconds in times.items():
        ratio = statistics.median(other / mine for other, mine in zip(seconds, first))
        print(f"| {name} | {statistics.median(seconds):.2f} | {ratio:.2f} |", flush=True)


def bench_copy(ours, theirs, path: pathlib.Path, rounds: int) -> None:
    times = {"FunnelSQL": [], "PostgreSQL, unlogged": []}
    for _ in range(rounds):
        ours.execute("DROP TABLE IF EXISTS events")
        ours.execute(f"CREATE TABLE events ({COLUMNS})")
        times["FunnelSQL"].append(timed(lambda: copied(ours, "events", path)))
        theirs.execute("DROP TABLE IF EXISTS events")
        theirs.execute(f"CREATE UNLOGGED TABLE events ({COLUMNS})")
        times["PostgreSQL, unlogged"].append(timed(lambda: copied(theirs, "events", path)))
    sums = "SELECT count(*), sum(amount), min(occurred_at)::text, count(DISTINCT channel) FROM events"
    assert ours.execute(sums).fetchone() == theirs.execute(sums).fetchone(), "not the same rows"
    report("COPY … FROM STDIN (CSV)", times)


def bench_import(binary: str, folder: pathlib.Path, path: pathlib.Path, rounds: int) -> None:
    import duckdb
    from chdb import session

    def ours(place: pathlib.Path) -> None:
        subprocess.run([binary, "import", path, "--into", "public.events", "--data-dir", place],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def duck(place: pathlib.Path) -> None:
        with duckdb.connect(str(place / "events.duckdb"), config={"threads": THREADS}) as connection:
            connection.execute(f"CREATE TABLE events AS FROM read_csv('{path}', sample_size = -1)")

    def click(place: pathlib.Path) -> None:
        with session.Session(str(place)) as connection:
            connection.query(f"""CREATE TABLE default.events ENGINE = MergeTree ORDER BY tuple() AS
              SELECT * FROM file('{path}', CSVWithNames) SETTINGS max_threads = {THREADS}, max_insert_threads = {THREADS}""")

    times = {"funnelsql import": [], "DuckDB read_csv": [], "ClickHouse file()": []}
    for _ in range(rounds):
        for (name, seconds), work in zip(times.items(), [ours, duck, click]):
            place = folder / "import"
            place.mkdir()
            seconds.append(timed(lambda: work(place)))
            shutil.rmtree(place)
    report("a file into a new table", times)


def bench_scan(ours, data: pathlib.Path, rounds: int) -> None:
    folder = max((data / "delta").iterdir(), key=lambda table: sum(file.stat().st_size for file in table.rglob("*.parquet")))
    bare = data.parent / "bare"
    bare.mkdir()
    for file in folder.rglob("*.parquet"):
        (bare / file.name).hardlink_to(file)
    ours.execute(f"CREATE EXTERNAL TABLE bare STORED AS PARQUET LOCATION '{bare}/'")
    for table in ["events", "bare"]:
        ours.execute(FUNNEL.format(name=f"of_{table}", table=table))
    for question, sql in SCANS.items():
        times = {"bare Parquet": [], "the table": []}
        answers = set()
        for _ in range(rounds + 2):
            for (_, seconds), table in zip(times.items(), ["bare", "events"]):
                query = sql.format(table=table, funnel=f"of_{table}")
                seconds.append(timed(lambda: answers.add(str(ours.execute(query).fetchall()))))
        assert len(answers) == 1, f"{question}: {answers}"
        report(question, times)


def bench_foreign(ours, theirs, port: int, rounds: int) -> None:
    theirs.execute("CREATE UNLOGGED TABLE IF NOT EXISTS part AS SELECT * FROM events WHERE event_id % 10 = 0")
    theirs.execute("ANALYZE part")
    ours.execute("CREATE SERVER pg FOREIGN DATA WRAPPER postgres_fdw "
                 f"OPTIONS (host '127.0.0.1', port '{port}', dbname 'postgres', sslmode 'disable')")
    ours.execute("CREATE USER MAPPING FOR CURRENT_USER SERVER pg OPTIONS (user 'bench', password 'x')")
    ours.execute("IMPORT FOREIGN SCHEMA public LIMIT TO (part) FROM SERVER pg INTO public")
    ours.execute(FUNNEL.format(name="of_part", table="part"))
    ask = SCANS["funnel"].format(funnel="of_part")
    answers = set()

    def pulled() -> None:
        ours.execute("CREATE TABLE pulled AS SELECT * FROM part")
        ours.execute(FUNNEL.format(name="of_pulled", table="pulled"))
        answers.add(str(ours.execute(SCANS["funnel"].format(funnel="of_pulled")).fetchall()))
        ours.execute("DROP FUNNEL of_pulled")
        ours.execute("DROP TABLE pulled")

    times = {"where it lies": [], "pulled whole, then asked": []}
    for _ in range(rounds):
        times["where it lies"].append(timed(lambda: answers.add(str(ours.execute(ask).fetchall()))))
        times["pulled whole, then asked"].append(timed(pulled))
    assert len(answers) == 1, answers
    report("a funnel over a foreign table", times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", default="target/release/funnelsql")
    parser.add_argument("--only", default="copy,import,scan,foreign")
    options = parser.parse_args()
    binary = str(pathlib.Path(options.binary).resolve())
    only = options.only.split(",")
    servers = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        path = csv_of(folder, options.rows)
        print(f"{options.rows} rows, {path.stat().st_size / 1e6:.0f} MB of CSV, {THREADS} threads, medians of {options.rounds}")
        if "import" in only:
            bench_import(binary, folder, path, options.rounds)
        try:
            port = postgres.free_port()
            servers.append(subprocess.Popen([binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", folder / "data"],
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            ours = postgres.connect(port, "funnelsql", "funnelsql")
            cluster, port = postgres.start_postgres(folder)
            servers.append(cluster)
            theirs = postgres.connect(port, "bench", "postgres")
            # The others need its rows.
            bench_copy(ours, theirs, path, options.rounds if "copy" in only else 1)
            if "scan" in only:
                bench_scan(ours, folder / "data", options.rounds)
            if "foreign" in only:
                bench_foreign(ours, theirs, port, options.rounds)
        finally:
            for server in servers:
                server.send_signal(signal.SIGINT)
            for server in servers:
                server.wait(timeout=30)


if __name__ == "__main__":
    main()
