#!/usr/bin/env python3
"""Replays what recorded Postgres clients send against FunnelSQL, and compares with what PostgreSQL answered.

    tests/clients/replay.py [--recordings FOLDER] [--binary FILE] [--only CLIENT] [--show] [--out FOLDER]

Starts the binary on a free loopback port over an empty data directory, loads the recordings' fixture, runs their
replay tool and prints its score. Says `skipped: …` where the recordings or psycopg are absent.
"""
import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--recordings", default=os.path.join(ROOT, "..", "shared", "pgclients"))
    options.add_argument("--binary", default=os.path.join(ROOT, "target", "debug", "funnelsql"))
    options.add_argument("--only")
    options.add_argument("--out")
    options.add_argument("--show", action="store_true")
    options = options.parse_args()
    tool = os.path.join(options.recordings, "tools", "replay.py")
    if not os.path.exists(tool):
        return print(f"skipped: no recordings in {options.recordings}")
    try:
        from psycopg import pq
    except ImportError:
        return print("skipped: psycopg is not installed (pip install 'psycopg[binary]')")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        log = open(os.path.join(folder, "log"), "w")
        data = os.path.join(folder, "data")
        command = [options.binary, "serve", "--data-dir", data, "--listen", f"127.0.0.1:{port}"]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            dsn = f"host=127.0.0.1 port={port} user=postgres dbname=funnelsql sslmode=disable"
            load(connect(pq, dsn), os.path.join(options.recordings, "fixture.sql"), options.show)
            replay = [sys.executable, tool, dsn]
            replay += ["--only", options.only] if options.only else []
            replay += ["--out", options.out] if options.out else []
            replay += ["--show"] if options.show else []
            sys.stdout.flush()
            return subprocess.run(replay, check=False).returncode
        finally:
            server.terminate()
            server.wait()
            faults = open(log.name).read()
            if "panicked" in faults or "bug" in faults:
                print(faults[-2000:])


def connect(pq, dsn):
    for _ in range(100):
        connection = pq.PGconn.connect(dsn.encode())
        if connection.status == pq.ConnStatus.OK:
            return connection
        time.sleep(0.1)
    raise SystemExit("the server doesn't answer")


def load(connection, fixture, show):
    """Statement by statement: one that the server doesn't take must not keep the others out."""
    text = re.sub(r"^--.*\n", "", open(fixture).read(), flags=re.M)
    for statement in re.split(r";\n", text):
        if not statement.strip():
            continue
        result = connection.exec_(statement.encode())
        if show and result.error_message:
            print(f"  fixture: {' '.join(statement.split())[:70]} | {result.error_message.decode().splitlines()[0]}")


if __name__ == "__main__":
    sys.exit(main())
