"""FunnelSQL, ClickHouse (chdb) and DuckDB over the same event logs, in turn, with the same number of threads.

    pip install chdb duckdb numpy psycopg pyarrow
    cargo build --release --workspace
    python3 benches/peers/run.py /tmp/peers --rows 10000000 --rounds 5

The question is that of a funnel: how many users reach each of six steps within 14 days.

    funnel      FunnelSQL: window_funnel, and a count by level
    conversion  FunnelSQL: stage_conversion of a funnel with the same stages
    floor       FunnelSQL: count(*) and max(ts) of each user, the least that grouping the file costs
    chdb        ClickHouse: windowFunnel, and a count by level
    duckdb      DuckDB: one join for each step, and a count by level

Every engine has a process of its own, reads the files in each round anew, and is warmed up by one round that
isn't counted. funnel, chdb and duckdb must give the same answer. Printed are medians, the ratio of each to
`funnel` in the same rounds, and the most memory that the process had while it answered (VmHWM, set back
before each query; Linux).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import workload

ROOT = pathlib.Path(__file__).resolve().parents[2]
WINDOW_S = workload.WINDOW_DAYS * 86_400
CONDITIONS = ", ".join(f"event = '{stage}'" for stage in workload.STAGES)


def peak_mib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


class FunnelSQL:
    """The release build, as a server of its own, asked through psycopg."""

    def __init__(self, paths, threads, memory_limit=None):
        import psycopg

        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name) / "config.toml"
        config.write_text(f'memory_limit = "{memory_limit}"\n' if memory_limit else "")
        port = 5490 + os.getpid() % 500
        self.process = subprocess.Popen([
            ROOT / "target/release/funnelsql", "serve", "--listen", f"127.0.0.1:{port}",
            "--data-dir", f"{self.folder.name}/data", "--config", config,
        ], stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.connection = psycopg.connect(
                    host="127.0.0.1", port=port, user="bench", dbname="funnelsql", autocommit=True)
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        try:
            self.prepare(paths, threads)
        except BaseException:
            self.stop()
            raise

    def prepare(self, paths, threads):
        self.run(f"SET datafusion.execution.target_partitions = {threads}")
        for layout, path in paths.items():
            self.run(f"CREATE EXTERNAL TABLE {layout} STORED AS PARQUET LOCATION '{path}'")
            stages = ", ".join(f"STAGE {stage} WHEN event = '{stage}'" for stage in workload.STAGES)
            self.run(f"""CREATE FUNNEL {layout}_funnel ON {layout} (
                ENTITY user_id, TIME ts, {stages}, WINDOW INTERVAL '{workload.WINDOW_DAYS} days')""")
        if "clustered" in paths:
            self.run(f"""CREATE EXTERNAL TABLE declared STORED AS PARQUET
                         WITH ORDER (user_id ASC) LOCATION '{paths["clustered"]}'""")

    @property
    def pid(self):
        return self.process.pid

    def run(self, sql):
        cursor = self.connection.execute(sql)
        return cursor.fetchall() if cursor.description else []

    def funnel(self, table):
        return self.run(f"""SELECT level, count(*) FROM (
            SELECT user_id, window_funnel(INTERVAL '{workload.WINDOW_DAYS} days', ts, {CONDITIONS}) AS level
            FROM {table} GROUP BY user_id) GROUP BY level ORDER BY level""")

    def conversion(self, table):
        return self.run(f"SELECT stage, entered, passed, lost, rate FROM stage_conversion('{table}_funnel')")

    def floor(self, table):
        return self.run(f"""SELECT count(*), max(m) FROM (
            SELECT user_id, count(*), max(ts) AS m FROM {table} GROUP BY user_id)""")

    def stop(self):
        self.connection.close()
        self.process.terminate()
        self.process.wait(timeout=20)
        self.folder.cleanup()


CHDB = """
import json, sys
from chdb import session
session = session.Session()
session.query("SET max_threads = {threads}")
for line in sys.stdin:
    rows = session.query(json.loads(line), "JSONCompactEachRow").data()
    print(json.dumps([[int(n) for n in json.loads(row)] for row in rows.splitlines()]), flush=True)
"""

DUCKDB = """
import duckdb, json, sys
connection = duckdb.connect()
connection.execute("SET threads = {threads}")
connection.execute("SET enable_progress_bar = false")
for line in sys.stdin:
    print(json.dumps(connection.execute(json.loads(line)).fetchall()), flush=True)
"""


class Child:
    """An engine within Python, in a process of its own."""

    def __init__(self, program, paths, threads):
        self.paths = paths
        self.process = subprocess.Popen(
            [sys.executable, "-c", program.replace("{threads}", str(threads))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self):
        return self.process.pid

    def ask(self, sql):
        self.process.stdin.write(json.dumps(sql) + "\n")
        self.process.stdin.flush()
        return [tuple(row) for row in json.loads(self.process.stdout.readline())]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)


def chdb_funnel(child, layout):
    return child.ask(f"""SELECT level, count() FROM (
        SELECT user_id, windowFunnel({WINDOW_S})(toDateTime(ts), {CONDITIONS}) AS level
        FROM file('{child.paths[layout]}', Parquet) GROUP BY user_id) GROUP BY level ORDER BY level""")


def chdb_exact(child, layout):
    """The same in microseconds: seconds may make two steps equal that aren't."""
    return child.ask(f"""SELECT level, count() FROM (
        SELECT user_id, windowFunnel({WINDOW_S * 1_000_000})(
            toUInt64(toUnixTimestamp64Micro(ts)), {CONDITIONS}) AS level
        FROM file('{child.paths[layout]}', Parquet) GROUP BY user_id) GROUP BY level ORDER BY level""")


def duckdb_funnel(child, layout):
    steps = [f"""s1 AS (SELECT DISTINCT user_id, ts AS start, ts AS at FROM e
                        WHERE event = '{workload.STAGES[0]}')"""]
    for number, stage in enumerate(workload.STAGES[1:], 2):
        steps.append(f"""s{number} AS (
            SELECT s.user_id, s.start, min(e.ts) AS at FROM s{number - 1} s
            JOIN e ON e.user_id = s.user_id AND e.event = '{stage}'
                  AND e.ts >= s.at AND e.ts <= s.start + {WINDOW_S * 1_000_000}
            GROUP BY s.user_id, s.start)""")
    reached = " UNION ALL ".join(
        f"SELECT user_id, {number} AS level FROM s{number}" for number in range(1, len(workload.STAGES) + 1))
    return child.ask(f"""
        WITH log AS (SELECT user_id, event, epoch_us(ts) AS ts FROM '{child.paths[layout]}'),
        e AS (SELECT * FROM log WHERE event IN ({", ".join(f"'{s}'" for s in workload.STAGES)})),
        {", ".join(steps)},
        levels AS (SELECT user_id, max(level) AS level FROM ({reached}) GROUP BY user_id)
        SELECT coalesce(level, 0) AS level, count(*) FROM (SELECT DISTINCT user_id FROM log) users
        LEFT JOIN levels USING (user_id) GROUP BY 1 ORDER BY 1""")


def median(values):
    return statistics.median(values)


def compare(paths, layout, threads, rounds, engines):
    """Seconds and MiB of each question over one layout."""
    ours = FunnelSQL(paths, threads)
    children = {
        name: Child(program, paths, threads)
        for name, program in [("chdb", CHDB), ("duckdb", DUCKDB)] if name in engines
    }
    questions = {
        "funnel": (ours, lambda: ours.funnel(layout)),
        "conversion": (ours, lambda: ours.conversion(layout)),
        "floor": (ours, lambda: ours.floor(layout)),
    }
    if layout == "clustered":
        questions["funnel, declared sorted"] = (ours, lambda: ours.funnel("declared"))
    if "chdb" in children:
        questions["chdb"] = (children["chdb"], lambda: chdb_funnel(children["chdb"], layout))
    if "duckdb" in children:
        questions["duckdb"] = (children["duckdb"], lambda: duckdb_funnel(children["duckdb"], layout))
    try:
        answers = {name: ask() for name, (_, ask) in questions.items()}
        if "chdb" in children:
            answers["chdb"] = chdb_exact(children["chdb"], layout)
        for name, answer in answers.items():
            if name not in ("floor", "conversion", "funnel") and answer != answers["funnel"]:
                sys.exit(f"{layout}: {name} gives {answer}, and we {answers['funnel']}")
        seconds = {name: [] for name in questions}
        memory = {name: 0 for name in questions}
        for _ in range(rounds):
            for name, (engine, ask) in questions.items():
                reset_peak(engine.pid)
                start = time.perf_counter()
                ask()
                seconds[name].append(time.perf_counter() - start)
                memory[name] = max(memory[name], peak_mib(engine.pid))
    finally:
        ours.stop()
        for child in children.values():
            child.stop()
    print(f"\n{layout}: levels {answers['funnel']}")
    print("| question | median s | × funnel | fastest s | peak MiB |")
    print("|---|---|---|---|---|")
    for name in questions:
        ratios = [mine / ours for mine, ours in zip(seconds[name], seconds["funnel"])]
        print(f"| {name} | {median(seconds[name]):.3f} | {median(ratios):.2f} | {min(seconds[name]):.3f} "
              f"| {memory[name]:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", help="where the event logs are, or are made")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--layouts", nargs="+", default=workload.LAYOUTS, choices=workload.LAYOUTS)
    parser.add_argument("--engines", nargs="*", default=["chdb", "duckdb"], choices=["chdb", "duckdb"])
    options = parser.parse_args()
    paths = workload.make(options.folder, options.rows, options.layouts)
    print(f"{options.rows:,} events, {options.threads} threads, {options.rounds} rounds")
    for layout in options.layouts:
        compare(paths, layout, options.threads, options.rounds, options.engines)


if __name__ == "__main__":
    main()
