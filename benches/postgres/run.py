"""FunnelSQL beside PostgreSQL: the same questions over the same table, each in its own words.

    python3 benches/postgres/run.py [--leads 10000] [--rounds 30] [--binary target/release/funnelsql]

Makes the sample company, serves it with FunnelSQL, loads its events into a fresh PostgreSQL cluster, and asks both
the same questions over the wire from one connection each. Prints the median milliseconds and the ratio; checks that the
numbers are the same where both have them. Needs PostgreSQL's programs on the PATH (or in /usr/lib/postgresql) and psycopg.
Everything listens on 127.0.0.1 and ends with the script.
"""

import argparse
import glob
import io
import os
import pathlib
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

import psycopg

AS_OF = "2026-07-01"

# The journeys of `sales` by hand, `ordered`, with a window of 180 days: the first entry into each stage, of those within
# the window and before a loss; a later stage counts for those before it.
JOURNEYS = f"""
WITH firsts AS (
  SELECT lead_id, min(channel) AS channel,
    min(occurred_at) FILTER (WHERE event = 'lead_created') AS s1,
    min(occurred_at) FILTER (WHERE event = 'first_contact') AS s2,
    min(occurred_at) FILTER (WHERE event = 'need_confirmed') AS s3,
    min(occurred_at) FILTER (WHERE event = 'proposal_sent') AS s4,
    min(occurred_at) FILTER (WHERE event = 'negotiation') AS s5,
    min(occurred_at) FILTER (WHERE event = 'contract_signed') AS s6,
    min(occurred_at) FILTER (WHERE event = 'lost') AS lost_at
  FROM events WHERE occurred_at <= '{AS_OF}' GROUP BY lead_id),
j AS (
  SELECT lead_id, channel, s1, s1 + interval '180 days' <= '{AS_OF}' AS mature, lost_at,
    s6 <= s1 + interval '180 days' AS r6, s5 <= s1 + interval '180 days' AS r5, s4 <= s1 + interval '180 days' AS r4,
    s3 <= s1 + interval '180 days' AS r3, s2 <= s1 + interval '180 days' AS r2, s2, s3, s4, s5, s6
  FROM firsts)
"""

REACHED = [
    "true",
    "r2 OR r3 OR r4 OR r5 OR r6",
    "r3 OR r4 OR r5 OR r6",
    "r4 OR r5 OR r6",
    "r5 OR r6",
    "r6",
]


def conversion(by: str) -> str:
    """Reached, and k of n, for each stage, in PostgreSQL."""
    columns = []
    for at, reached in enumerate(REACHED):
        after = REACHED[at + 1] if at + 1 < len(REACHED) else reached
        columns.append(f"count(*) FILTER (WHERE {reached})")
        columns.append(f"count(*) FILTER (WHERE mature AND ({reached}) AND ({after}))")
        columns.append(f"count(*) FILTER (WHERE mature AND ({reached}))")
    group = f"GROUP BY {by} ORDER BY {by}" if by else ""
    head = f"{by}, " if by else ""
    return f"{JOURNEYS} SELECT {head}{', '.join(columns)} FROM j {group}"


QUESTIONS = {
    "stages": (
        f"SELECT entered, k, n FROM stage_conversion('sales', as_of => '{AS_OF}')",
        conversion(""),
    ),
    "stages by channel": (
        f"SELECT channel, entered, k, n FROM stage_conversion('sales', by => 'channel', as_of => '{AS_OF}')",
        conversion("channel"),
    ),
    "cohorts at equal age": (
        f"SELECT cohort, age, n, k FROM cohort_cycle('sales', ages => [30, 60, 90], as_of => '{AS_OF}')",
        f"{JOURNEYS} SELECT date_trunc('month', s1)::date, age, count(*),"
        " count(*) FILTER (WHERE r6 AND s6 <= s1 + age * interval '1 day')"
        " FROM j CROSS JOIN (VALUES (30), (60), (90)) AS ages(age) GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    "one deal's timeline": (
        f"SELECT * FROM deal_timeline('sales', 42, as_of => '{AS_OF}')",
        f"SELECT occurred_at, event, owner FROM events WHERE lead_id = 42 AND occurred_at <= '{AS_OF}' ORDER BY 1",
    ),
    # What follows has no short SQL.
    "stage_metrics": (f"SELECT * FROM stage_metrics('sales', as_of => '{AS_OF}')", None),
    "stage_times": (f"SELECT * FROM stage_times('sales', as_of => '{AS_OF}')", None),
    "stage_survival": (f"SELECT * FROM stage_survival('sales', as_of => '{AS_OF}')", None),
    "stage_cif": (f"SELECT * FROM stage_cif('sales', as_of => '{AS_OF}')", None),
    "stage_logrank": (f"SELECT * FROM stage_logrank('sales', by => 'channel', as_of => '{AS_OF}')", None),
    "overdue_deals": (f"SELECT * FROM overdue_deals('sales', as_of => '{AS_OF}')", None),
    "followup_sla": (f"SELECT * FROM followup_sla('sales', as_of => '{AS_OF}')", None),
    "metric": (f"SELECT * FROM metric('win_rate', funnel => 'sales', by => 'channel', as_of => '{AS_OF}')", None),
    "data_quality": ("SELECT * FROM data_quality('sales')", None),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name: str) -> str:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    path = found[-1] if found else shutil.which(name)
    if path is None:
        raise SystemExit(f"{name} is not installed")
    return path


def connect(port: int, user: str, database: str) -> psycopg.Connection:
    for _ in range(150):
        try:
            return psycopg.connect(host="127.0.0.1", port=port, user=user, dbname=database, autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.2)
    raise SystemExit(f"nobody answers on port {port}")


def start_postgres(folder: pathlib.Path) -> tuple[subprocess.Popen, int]:
    """A cluster of its own; PostgreSQL doesn't run as root."""
    port = free_port()
    data = folder / "pg"
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        folder.chmod(0o755)
    subprocess.run(
        [program("initdb"), "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, user=user, cwd="/",
    )
    server = subprocess.Popen(
        [program("postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data,
         "-c", "shared_buffers=1GB", "-c", "work_mem=64MB", "-c", "timezone=UTC"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd="/",
    )
    return server, port


def load(ours: psycopg.Connection, theirs: psycopg.Connection) -> int:
    """Copies the events; PostgreSQL gets the index that a table of events has."""
    columns = "lead_id, occurred_at, event, lost_reason, amount, channel, owner"
    rows = ours.execute(f"SELECT {columns} FROM crm.events").fetchall()
    theirs.execute(
        "CREATE TABLE events (lead_id bigint, occurred_at timestamptz, event text, lost_reason text,"
        " amount double precision, channel text, owner text)"
    )
    with theirs.cursor().copy(f"COPY events ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    theirs.execute("CREATE INDEX ON events (lead_id, occurred_at)")
    theirs.execute("VACUUM ANALYZE events")
    return len(rows)


def median_ms(connection: psycopg.Connection, sql: str, rounds: int) -> tuple[float, list]:
    rows = connection.execute(sql).fetchall()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        rows = connection.execute(sql).fetchall()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times), rows


def same(ours: list, theirs: list, question: str) -> bool:
    if question == "stages":
        theirs = [tuple(theirs[0][at : at + 3]) for at in range(0, 18, 3)]
    elif question == "stages by channel":
        theirs = [(row[0], *row[1 + at : 4 + at]) for row in theirs for at in range(0, 18, 3)]
    elif question != "cohorts at equal age":
        return True
    return [tuple(row) for row in ours] == [tuple(row) for row in theirs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--binary", default="target/release/funnelsql")
    options = parser.parse_args()
    binary = str(pathlib.Path(options.binary).resolve())
    servers = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        try:
            port = free_port()
            servers.append(subprocess.Popen(
                [binary, "demo", "--listen", f"127.0.0.1:{port}", "--data-dir", folder / "demo", "--leads", str(options.leads)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            ))
            ours = connect(port, "bench", "funnelsql")
            postgres, port = start_postgres(folder)
            servers.append(postgres)
            theirs = connect(port, "bench", "postgres")
            events = load(ours, theirs)
            version = theirs.execute("SHOW server_version").fetchone()[0]
            print(f"{options.leads} leads, {events} events; PostgreSQL {version}; medians of {options.rounds}, milliseconds\n")
            print("| question | FunnelSQL | PostgreSQL | ratio | same numbers |\n|---|---|---|---|---|")
            for question, (sql, hand_written) in QUESTIONS.items():
                our_ms, our_rows = median_ms(ours, sql, options.rounds)
                if hand_written is None:
                    print(f"| {question} | {our_ms:.1f} | | | |")
                    continue
                their_ms, their_rows = median_ms(theirs, hand_written, options.rounds)
                agrees = "yes" if same(our_rows, their_rows, question) else "NO"
                print(f"| {question} | {our_ms:.1f} | {their_ms:.1f} | {our_ms / their_ms:.2f} | {agrees} |")
        finally:
            for server in servers:
                # PostgreSQL ends without waiting for its clients; FunnelSQL as well.
                server.send_signal(signal.SIGINT)
            for server in servers:
                server.wait(timeout=30)


if __name__ == "__main__":
    main()
