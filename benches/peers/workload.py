"""The event logs that the engines are compared on: Parquet files, made from a fixed seed.

    python3 benches/peers/workload.py FOLDER [--rows 10000000]

Three layouts of one kind of log: 12 events per user on average, 12 event names, 90 days, zstd, row groups of
1 M rows.

    ordered    in the order of time, as a log is written; the six stages are 10/8/6/4/3/2 % of the events
    clustered  the same rows in the order of user and time, as a table clustered by user is kept
    deep       in the order of time; most users pass most stages, and nearly every event is of a stage

Columns: user_id (bigint), event (text), ts (timestamp, microseconds, UTC).
"""

import argparse
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STAGES = ["visit", "signup", "activate", "quote", "order", "repeat_order"]
OTHERS = ["search", "scroll", "open_mail", "support_chat", "page_view", "logout"]
NAMES = np.array(STAGES + OTHERS)
SHARES = np.array([0.10, 0.08, 0.06, 0.04, 0.03, 0.02])
DAYS = 90
WINDOW_DAYS = 14
EVENTS_PER_USER = 12
ROW_GROUP = 1_000_000
START_US = 1_767_225_600_000_000  # 2026-01-01 00:00 UTC
DAY_US = 86_400_000_000
LAYOUTS = ["ordered", "clustered", "deep"]


def scattered(rows, random):
    """Users and event numbers of a log in which every row is drawn by itself, in the order of time."""
    users = random.integers(0, max(rows // EVENTS_PER_USER, 1), rows, dtype=np.int32)
    others = (1 - SHARES.sum()) / len(OTHERS)
    shares = np.concatenate([SHARES, np.full(len(OTHERS), others)])
    events = random.choice(len(NAMES), rows, p=shares).astype(np.int8)
    times = np.sort(random.integers(0, DAYS * DAY_US, rows, dtype=np.int64)) + START_US
    return users, events, times


def deep(rows, random):
    """A log in which nine users of ten go on at each stage, each stage some days after the one before."""
    users = max(rows // EVENTS_PER_USER, 1)
    depth = np.minimum(random.geometric(0.1, users), len(STAGES))
    start = random.integers(0, (DAYS - WINDOW_DAYS) * DAY_US, users, dtype=np.int64)
    parts = []
    clock = start
    for stage in range(len(STAGES)):
        reached = np.flatnonzero(depth > stage).astype(np.int32)
        # Every stage is met again once or twice before the next one.
        for _ in range(1 + int(stage % 2 == 0)):
            times = clock[reached] + random.integers(0, DAY_US, len(reached), dtype=np.int64)
            parts.append((reached, np.full(len(reached), stage, dtype=np.int8), times))
        clock = clock + random.integers(DAY_US, 3 * DAY_US, users, dtype=np.int64)
    missing = rows - sum(len(part[0]) for part in parts)
    if missing > 0:
        parts.append((
            random.integers(0, users, missing, dtype=np.int32),
            random.integers(len(STAGES), len(NAMES), missing).astype(np.int8),
            random.integers(0, DAYS * DAY_US, missing, dtype=np.int64),
        ))
    users, events, times = (np.concatenate(column)[:rows] for column in zip(*parts))
    order = np.argsort(times, kind="stable")
    return users[order], events[order], times[order] + START_US


def write(path, users, events, times):
    schema = pa.schema([
        ("user_id", pa.int64()),
        ("event", pa.string()),
        ("ts", pa.timestamp("us", tz="UTC")),
    ])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for first in range(0, len(users), ROW_GROUP):
            part = slice(first, first + ROW_GROUP)
            names = pa.DictionaryArray.from_arrays(pa.array(events[part]), pa.array(NAMES))
            writer.write_table(
                pa.table([
                    pa.array(users[part].astype(np.int64)),
                    names.cast(pa.string()),
                    pa.array(times[part], pa.timestamp("us", tz="UTC")),
                ], schema=schema),
                row_group_size=ROW_GROUP,
            )


def make(folder, rows, layouts=LAYOUTS):
    """Writes the files that aren't there yet; the path of each layout's file."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {layout: folder / f"{layout}_{rows}.parquet" for layout in layouts}
    random = np.random.default_rng(20261123)
    if any(not paths[layout].exists() for layout in layouts if layout != "deep"):
        users, events, times = scattered(rows, random)
        write(folder / f"ordered_{rows}.parquet", users, events, times)
        order = np.argsort(users, kind="stable")
        write(folder / f"clustered_{rows}.parquet", users[order], events[order], times[order])
    if "deep" in paths and not paths["deep"].exists():
        write(paths["deep"], *deep(rows, random))
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    for path in make(options.folder, options.rows).values():
        print(path)
