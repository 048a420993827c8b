"""Functions that need only journeys, beside `stage_conversion`, over one funnel of many events.

    python3 benches/peers/functions.py DIRECTORY [--rows 10000000] [--layouts ordered,clustered] [--rounds 5]

DIRECTORY holds the files that run.py made. Prints the median seconds of each, and the median over the rounds of its ratio to
`stage_conversion` of the same round.
"""

import argparse
import pathlib
import statistics
import time

import run

FUNCTIONS = {
    "stage_conversion": "stage_conversion('{f}')",
    "stage_times": "stage_times('{f}')",
    "stage_survival": "stage_survival('{f}')",
    "stage_cif": "stage_cif('{f}')",
    "cohort_cycle": "cohort_cycle('{f}')",
    "funnel_trend": "funnel_trend('{f}')",
    "overdue_deals": "overdue_deals('{f}')",
    "metric('win_rate')": "metric('win_rate', funnel => '{f}')",
}


def seconds(database, call):
    start = time.perf_counter()
    # Distinct, so that no column is left out as unneeded.
    database.run(f"SELECT count(*) FROM (SELECT DISTINCT * FROM {call}) AS t")
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--layouts", default="ordered,clustered")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for layout in options.layouts.split(","):
        database = run.FunnelSQL({layout: str(options.directory / f"{layout}_{options.rows}.parquet")}, 2)
        try:
            rounds = []
            for _ in range(options.rounds):
                rounds.append({name: seconds(database, call.format(f=f"{layout}_funnel")) for name, call in FUNCTIONS.items()})
        finally:
            database.stop()
        print(f"\n| {layout}, {options.rows:,} events | s | × stage_conversion |\n|---|---|---|")
        for name in FUNCTIONS:
            took = [one[name] for one in rounds]
            ratio = [one[name] / one["stage_conversion"] for one in rounds]
            print(f"| `{name}` | {statistics.median(took):.2f} | {statistics.median(ratio):.2f} |")


if __name__ == "__main__":
    main()
