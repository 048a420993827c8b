#!/usr/bin/env python3
"""Asks FunnelSQL and ClickHouse (PyPI chdb) the same of random event logs, and requires the same answers.

    python3 tests/peers/differential.py [--cases 10000] [--seed 1] [--binary PATH]

A case is one group of one log under one call. An answer may differ for a reason that has a name; each is counted.
Any other difference is a failure: the smallest case is printed as a query for each engine, and the exit code is 1.
Ours are asked again over the same rows shuffled, in several files and partitions, and clustered by group.
"""

import argparse
import collections
import importlib.util
import random
import sys
import tempfile
import time
from pathlib import Path

# The modules beside this file leave nothing behind in the tree.
sys.dont_write_bytecode = True

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GROUPS = 40
# Where our functions are asked again: the table and the number of partitions.
AGAIN = [("shuffled", 1), ("shuffled", 2), ("shuffled", 7), ("clustered", 1), ("clustered", 7)]
FUNCTIONS = [
    "windowFunnel",
    "retention",
    "sequenceMatch",
    "sequenceCount",
    "sequenceMatchEvents",
    "sequenceNextNode",
]


class Failure(Exception):
    """What is wrong, ready to be printed."""


def newest_binary():
    built = [ROOT / "target" / profile / "funnelsql" for profile in ("release", "debug")]
    built = [path for path in built if path.exists()]
    if not built:
        sys.exit("no funnelsql in target/release or target/debug: run cargo build, or give --binary")
    return max(built, key=lambda path: path.stat().st_mtime)


class Run:
    """The two engines, and what was counted."""

    def __init__(self, clickhouse, funnelsql):
        self.clickhouse = clickhouse
        self.funnelsql = funnelsql
        self.counted = collections.defaultdict(collections.Counter)
        self.again = 0
        self.skipped = 0

    def ask(self, question, rows_by_group):
        """A call over a log that is loaded."""
        theirs = {name: self.theirs(question, name, "d.log") for name in question.theirs}
        if None in theirs.values():
            self.skipped += len(rows_by_group)
            return
        ours = self.ours(question, "log")
        failed = []
        for group, rows in rows_by_group.items():
            alone = lambda name, rows=rows: self.alone(question, name, rows)
            said = {name: answers[group][0] for name, answers in theirs.items()}
            name = question.judge(rows, ours[group], said, alone)
            if name is None:
                failed.append(rows)
            self.counted[question.function, question.label][name or "equal"] += 1
        if failed:
            raise Failure(self.report(question, self.smaller(question, min(failed, key=len))))
        self.ask_again(question, ours)

    def ask_again(self, question, ours):
        for table, partitions in AGAIN:
            other = self.ours(question, table, partitions)
            self.again += len(other)
            if other != ours:
                groups = [group for group in ours if other.get(group) != ours[group]]
                raise Failure(
                    f"{question.ours_sql(table)}\nwith {partitions} partitions, group {groups[:1]}: "
                    f"{[other.get(group) for group in groups[:1]]}, over the rows as they arrived "
                    f"{[ours[group] for group in groups[:1]]}"
                )

    def ours(self, question, source, partitions=None):
        answers = self.funnelsql.ask(question.ours_sql(source), partitions)
        return {group: dict(zip(question.ours, values)) for group, values in answers.items()}

    def theirs(self, question, name, source):
        """None where ClickHouse gives up on a pattern."""
        try:
            return self.clickhouse.ask(question.theirs_sql(name, source))
        except Exception as error:
            if "Pattern application proves too difficult" in str(error):
                return None
            raise

    def alone(self, question, name, rows):
        """What ClickHouse says if it is asked of nothing else."""
        from questions import source_of_rows

        answers = self.theirs(question, name, source_of_rows(rows, "ClickHouse"))
        return answers[1][0] if answers else None

    def fails(self, question, rows):
        """What both say of a few rows, if that is a failure."""
        from questions import source_of_rows

        ours = self.ours(question, source_of_rows(rows, "FunnelSQL"))[1]
        theirs = {name: self.alone(question, name, rows) for name in question.theirs}
        name = question.judge(rows, ours, theirs, lambda name: self.alone(question, name, rows))
        return (ours, theirs) if name is None else None

    def smaller(self, question, rows):
        """Without the rows that the failure doesn't need."""
        for row in list(rows):
            fewer = [other for other in rows if other is not row]
            if fewer and self.fails(question, fewer):
                rows = fewer
        return rows

    def report(self, question, rows):
        from questions import source_of_rows

        found = self.fails(question, rows)
        lines = [f"FAILED: {question.function} {question.label}"]
        lines.append("The answers:" if found else "Alone, these rows are no failure; in their log they are:")
        lines += [f"  FunnelSQL {found[0]}", f"  ClickHouse {found[1]}"] if found else []
        lines.append(f"FunnelSQL:\n{question.ours_sql(source_of_rows(rows, 'FunnelSQL'))};")
        for name in question.theirs:
            lines.append(f"ClickHouse, {name}:")
            lines.append(f"{question.theirs_sql(name, source_of_rows(rows, 'ClickHouse'))};")
        return "\n".join(lines)


def run(options, engines):
    from logs import random_log, write
    from questions import questions

    this = Run(*engines)
    batch = 0
    while sum(count.total() for count in this.counted.values()) < options.cases:
        rand = random.Random(f"{options.seed}/{batch}")
        log = random_log(rand, GROUPS)
        with tempfile.TemporaryDirectory() as folder:
            write(log, Path(folder), rand)
            for engine in engines:
                engine.load(folder)
            for question in questions(rand, options.functions):
                try:
                    this.ask(question, log)
                except Failure:
                    raise
                except Exception as error:
                    texts = [question.theirs_sql(name, "log") for name in question.theirs]
                    raise Failure("\n".join([question.ours_sql("log"), *texts, str(error)])) from error
        batch += 1
    return this


def table(this):
    """Functions and modes, with each difference."""
    lines = [["function", "mode", "cases", "equal", "differences"]]
    for (function, label), count in this.counted.items():
        rest = ", ".join(f"{name} {number}" for name, number in sorted(count.items()) if name != "equal")
        lines.append([function, label, str(count.total()), str(count["equal"]), rest])
    total = sum(this.counted.values(), collections.Counter())
    rest = ", ".join(f"{name} {number}" for name, number in sorted(total.items()) if name != "equal")
    lines.append(["all", "", str(total.total()), str(total["equal"]), rest])
    widths = [max(len(line[at]) for line in lines) for at in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[4]]).rstrip() for line in lines
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="at least so many (10000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed asks the same (1)")
    parser.add_argument("--binary", type=Path, help="the funnelsql to ask; the newest build")
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=FUNCTIONS, metavar="NAME")
    options = parser.parse_args()
    if importlib.util.find_spec("chdb") is None:
        print("skipped: chdb is not installed")
        return 0
    from engines import ClickHouse, FunnelSQL

    started = time.monotonic()
    funnelsql = FunnelSQL((options.binary or newest_binary()).resolve())
    try:
        clickhouse = ClickHouse()
        print(f"{funnelsql.version}; ClickHouse {clickhouse.version}; seed {options.seed}")
        this = run(options, (clickhouse, funnelsql))
    except Failure as failure:
        print(failure)
        return 1
    finally:
        funnelsql.close()
    print(table(this))
    print(
        f"{this.again} answers were the same over shuffled and clustered rows in 1, 2 and 7 partitions; "
        f"{this.skipped} cases too hard for ClickHouse; {time.monotonic() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
