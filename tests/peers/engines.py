"""The two engines: ClickHouse in this process, FunnelSQL behind its server."""

import datetime
import decimal
import json
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from chdb import session

from logs import CONDITIONS, TIMES

COLUMNS = {
    "grp": "UInt32",
    "arrival": "UInt32",
    **{name: f"Nullable({kind})" for name, kind in TIMES.items()},
    **{f"c{at + 1}": "Nullable(Bool)" for at in range(CONDITIONS)},
    "page": "Nullable(String)",
}

# One thread and one block: ties keep the order of the subquery.
SETTINGS = (
    "SETTINGS max_threads = 1, allow_experimental_funnel_functions = 1, query_plan_remove_redundant_sorting = 0, "
    "output_format_json_quote_64bit_integers = 0"
)


class ClickHouse:
    def __init__(self):
        self.session = session.Session()
        self.run("CREATE DATABASE d ENGINE = Atomic")
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        self.run(f"CREATE TABLE d.log ({columns}) ENGINE = Memory")
        self.version = json.loads(self.run("SELECT version()"))[0]

    def run(self, sql):
        return str(self.session.query(sql, "JSONCompactEachRow"))

    def load(self, folder):
        self.run("TRUNCATE TABLE d.log")
        self.run(f"INSERT INTO d.log SELECT {', '.join(COLUMNS)} FROM file('{folder}/log.parquet', Parquet)")

    def ask(self, sql):
        """The rows by their first column."""
        lines = self.run(f"{sql} {SETTINGS}").splitlines()
        return {row[0]: row[1:] for row in map(json.loads, lines)}


class FunnelSQL:
    """A server over a data directory of its own."""

    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="funnelsql-peers-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.folder / "data"]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.connections = {}
        self.version = self.connection().execute("SELECT version()").fetchone()[0]

    def connect(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                return psycopg.connect(
                    host="127.0.0.1", port=self.port, user="peers", dbname="funnelsql", autocommit=True
                )
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self.server.poll() is not None:
                    raise
                time.sleep(0.05)

    def connection(self, partitions=None):
        """One for each number of partitions; the small batches spread a few rows over all of them."""
        if partitions not in self.connections:
            connection = self.connect()
            if partitions:
                connection.execute(f"SET datafusion.execution.target_partitions = {partitions}")
                connection.execute("SET datafusion.execution.batch_size = 16")
            self.connections[partitions] = connection
        return self.connections[partitions]

    def load(self, folder):
        places = {
            "log": ("log.parquet", ""),
            "shuffled": ("shuffled/", ""),
            "clustered": ("clustered.parquet", "WITH ORDER (grp ASC)"),
        }
        for name, (place, order) in places.items():
            self.connection().execute(f"DROP TABLE IF EXISTS {name}")
            self.connection().execute(
                f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET {order} LOCATION '{folder}/{place}'"
            )

    def ask(self, sql, partitions=None):
        """The rows by their first column, with values as ClickHouse's JSON has them."""
        rows = self.connection(partitions).execute(sql).fetchall()
        return {row[0]: [plain(value) for value in row[1:]] for row in rows}

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.server.terminate()
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def plain(value):
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, (bool, decimal.Decimal)):
        return int(value)
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value
