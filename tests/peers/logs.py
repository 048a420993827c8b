"""Random event logs: ties, duplicates, NULLs, rows that meet several conditions, groups of one row, in any order."""

import datetime
import random
from dataclasses import dataclass

import pyarrow
import pyarrow.parquet

CONDITIONS = 6
PAGES = ["a", "b", "c", "", "首页", None]

# A time is a number of units after these. Seconds of a DateTime and days of a Date are units, too.
FIRST_SECOND = datetime.datetime(2026, 1, 5, 23, 59, 55)
FIRST_DAY = datetime.date(2026, 2, 26)
FIRST_NUMBER = {"at_i64": 1_700_000_000_000, "at_u32": 0, "at_u64": 4_000_000_000}

# The columns that tell the time, and ClickHouse's types for them. It takes no signed integers.
TIMES = {
    "at_i64": "UInt64",
    "at_u32": "UInt32",
    "at_u64": "UInt64",
    "at_second": "DateTime('UTC')",
    "at_day": "Date",
}


@dataclass(frozen=True)
class Row:
    """What happened; `unit` is its time, or None."""

    arrival: int
    unit: int | None
    conditions: tuple[bool | None, ...]
    page: str | None

    def time(self, column):
        """The time as a value of that column."""
        if self.unit is None:
            return None
        if column == "at_second":
            return FIRST_SECOND + datetime.timedelta(seconds=self.unit)
        if column == "at_day":
            return FIRST_DAY + datetime.timedelta(days=self.unit)
        return FIRST_NUMBER[column] + self.unit

    def mask(self, conditions):
        """Bit k - 1 is condition k; NULL is false."""
        return sum(1 << at for at, met in enumerate(self.conditions[:conditions]) if met)


def random_log(rand, groups):
    """Rows by group. Many groups share few moments, so that rows of one time are the rule."""
    arrivals = iter(rand.sample(range(groups * 40), groups * 20))
    return {group: random_group(rand, arrivals) for group in range(groups)}


def random_group(rand, arrivals):
    span = rand.choice([0, 2, 5, 5, 15, 40])
    size = 1 if rand.random() < 0.05 else rand.randint(1, 14)
    nulls = rand.choice([0, 0, 0.03, 0.2])
    conditions = rand.choice([one_condition, one_condition, next_condition, some_conditions, some_conditions])
    rows = []
    for place in range(size):
        if rows and rand.random() < 0.1:
            again = rand.choice(rows)
            rows.append(Row(next(arrivals), again.unit, again.conditions, again.page))
            continue
        unit = place + rand.randint(0, 2) if conditions is next_condition else rand.randint(0, span)
        met = tuple(None if rand.random() < nulls else value for value in conditions(rand, place))
        unit = None if rand.random() < nulls / 2 else unit
        rows.append(Row(next(arrivals), unit, met, rand.choice(PAGES)))
    return sorted(rows, key=lambda row: row.arrival)


def one_condition(rand, _place):
    """Or none."""
    met = rand.randint(0, CONDITIONS)
    return [at + 1 == met for at in range(CONDITIONS)]


def next_condition(rand, place):
    """The steps in order, mostly: groups that get far."""
    met = place // rand.randint(1, 2) if rand.random() < 0.8 else rand.randint(0, CONDITIONS)
    return [at == met or rand.random() < 0.1 for at in range(CONDITIONS)]


def some_conditions(rand, _place):
    share = rand.choice([0.2, 0.4, 0.6])
    return [rand.random() < share for _ in range(CONDITIONS)]


def arrow_table(log):
    rows = [(group, row) for group, group_rows in log.items() for row in group_rows]
    rows.sort(key=lambda pair: pair[1].arrival)
    columns = {
        "grp": pyarrow.array([group for group, _ in rows], pyarrow.int64()),
        "arrival": pyarrow.array([row.arrival for _, row in rows], pyarrow.int64()),
        "page": pyarrow.array([row.page for _, row in rows], pyarrow.string()),
    }
    types = {
        "at_i64": pyarrow.int64(),
        "at_u32": pyarrow.uint32(),
        "at_u64": pyarrow.uint64(),
        "at_second": pyarrow.timestamp("us"),
        "at_day": pyarrow.date32(),
    }
    for column, kind in types.items():
        columns[column] = pyarrow.array([row.time(column) for _, row in rows], kind)
    for at in range(CONDITIONS):
        columns[f"c{at + 1}"] = pyarrow.array([row.conditions[at] for _, row in rows], pyarrow.bool_())
    return pyarrow.table(columns)


def write(log, folder, rand):
    """The log as it arrived; shuffled, in seven files; and group by group."""
    table = arrow_table(log)
    (folder / "shuffled").mkdir(parents=True)
    pyarrow.parquet.write_table(table, folder / "log.parquet")
    order = list(range(table.num_rows))
    rand.shuffle(order)
    for part in range(7):
        piece = table.take(pyarrow.array(order[part::7], pyarrow.int64()))
        pyarrow.parquet.write_table(piece, folder / "shuffled" / f"{part}.parquet", row_group_size=16)
    pyarrow.parquet.write_table(table.sort_by("grp"), folder / "clustered.parquet")
