"""Random calls of the functions that both engines have, and why an answer may differ."""

import itertools
import re
from dataclasses import dataclass, field

from engines import COLUMNS
from logs import CONDITIONS, TIMES, Row
from sequences import (
    TooManySteps,
    answer,
    ends_open,
    has_gate_behind_star,
    some_match_takes_the_last_row,
)

FLAGS = ["strict_order", "allow_reentry", "strict_deduplication", "strict_increase", "strict_once"]
MODES = [
    tuple(itertools.compress(FLAGS, chosen))
    for chosen in itertools.product([False, True], repeat=len(FLAGS))
    if chosen[0] or not chosen[1]
]
SEQUENCES = {
    "sequenceMatch": "sequence_match",
    "sequenceCount": "sequence_count",
    "sequenceMatchEvents": "sequence_match_events",
}
BASES = [
    ("forward", "head"),
    ("forward", "first_match"),
    ("forward", "last_match"),
    ("backward", "tail"),
    ("backward", "first_match"),
    ("backward", "last_match"),
]


@dataclass
class Question:
    """A call. The expressions of each engine by their purpose: `answer` has to be the same in both.

    `theirs` has an expression and the order in which ClickHouse gets the rows. `plain` there is what it says to
    the call as a user writes it; where that isn't ours, the difference is `plain_name`. `ours['dropped']` is our
    answer without the rows that ClickHouse drops for a NULL, `drops` the difference of that name.
    """

    function: str
    label: str
    time: str | None
    ours: dict
    theirs: dict
    empty: object
    conditions: int
    plain_name: str = ""
    drops: str = ""
    pattern: str = ""
    dropped_columns: list = field(default_factory=list)

    def ours_sql(self, source):
        return f"SELECT grp, {', '.join(self.ours.values())} FROM {source} GROUP BY grp"

    def theirs_sql(self, name, source):
        expression, order = self.theirs[name]
        return f"SELECT grp, {expression} FROM (SELECT * FROM {source} ORDER BY {order}) AS log GROUP BY grp"

    def counts(self, row):
        """Whether ClickHouse looks at the row."""
        values = {f"c{at + 1}": met for at, met in enumerate(row.conditions)}
        values |= {"page": row.page}
        no_time = self.time is not None and row.unit is None
        return not no_time and all(values[column] is not None for column in self.dropped_columns)

    def judge(self, rows, ours, theirs, ask_alone):
        """The name of the difference, "" where there is none, None for a failure."""
        mine, said = ours.get("dropped", ours["answer"]), theirs["answer"]
        nobody = not any(map(self.counts, rows))
        if said is None and nobody and mine == self.empty:
            if mine != ours["answer"]:
                return self.drops
            return "" if self.empty is None else "no_rows_is_not_null"
        name = ""
        if mine != said:
            name = self.explain(rows, mine, said, ask_alone)
            if name is None:
                return None
        elif self.function in SEQUENCES and not self.is_by_the_rules(rows, mine):
            return None
        if mine != ours["answer"]:
            return self.drops
        return name or (self.plain_name if mine != theirs.get("plain", said) else "")

    # Sequences: everything that differs has to be what trying everything gives by our rules, and what it gives
    # with ClickHouse's oddities has to be its answer.

    def sequence(self, rows):
        counted = [row for row in rows if self.counts(row)]
        hits = sorted((row.unit, row.mask(self.conditions)) for row in counted)
        return [hit for hit in hits if hit[1]]

    def expected(self, hits, **oddities):
        found = answer(self.function, self.pattern, hits, **oddities)
        if self.function != "sequenceMatchEvents":
            return found
        return [rendered(Row(0, unit, (), None).time(self.time)) for unit in found]

    def is_by_the_rules(self, rows, mine):
        try:
            return self.expected(self.sequence(rows)) == mine
        except TooManySteps:
            return True

    def explain(self, rows, mine, said, ask_alone):
        if self.function not in SEQUENCES:
            return None
        hits = self.sequence(rows)
        try:
            if self.expected(hits) != mine:
                return None
            starred = has_gate_behind_star(self.pattern)
            if starred and self.expected(hits, gate_from_star=True) == said:
                return "gate_behind_star"
            if self.expected(hits, first_chain=True) == said:
                return "first_chain_kept"
            emulated = self.expected(hits, gate_from_star=starred, first_chain=True)
            if emulated == said:
                return "gate_behind_star"
            one_less = self.function != "sequenceMatchEvents" and emulated - said == 1
            reads_on = ends_open(self.pattern) and some_match_takes_the_last_row(self.pattern, hits, starred)
            if one_less and reads_on and ask_alone("answer") == emulated:
                return "one_action_too_far"
        except TooManySteps:
            return None
        return None


def rendered(time):
    return time if isinstance(time, int) else str(time)


def source_of_rows(rows, engine):
    """The rows as a table in the text of a query."""
    names = list(COLUMNS)
    lines = []
    for row in rows:
        times = {name: row.time(name) for name in TIMES}
        values = [1, row.arrival, *times.values(), *row.conditions, row.page]
        lines.append(f"({', '.join(map(literal, values))})")
    if engine == "ClickHouse":
        structure = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items()).replace("'", "''")
        return f"values('{structure}', {', '.join(lines)})"
    types = {"at_second": "timestamp", "at_day": "date", "page": "text", "grp": "bigint", "arrival": "bigint"}
    types |= {"at_i64": "bigint", "at_u32": "bigint", "at_u64": "bigint"}
    casts = ", ".join(f"v.{name}::{types.get(name, 'boolean')} AS {name}" for name in names)
    return f"(SELECT {casts} FROM (VALUES {', '.join(lines)}) AS v({', '.join(names)})) AS log"


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f"'{value}'"


def questions(rand, functions):
    """The calls that are asked of one log."""
    made = []
    if "windowFunnel" in functions:
        made += [window_funnel(rand, mode) for mode in MODES]
    if "retention" in functions:
        made += [retention(rand) for _ in range(3)]
    for _ in range(12):
        pattern, conditions = random_pattern(rand)
        made += [sequence(rand, name, pattern, conditions) for name in SEQUENCES if name in functions]
    if "sequenceNextNode" in functions:
        made += [next_node(rand, *base) for base in BASES]
    return made


def columns_of(conditions, raw):
    """The conditions as arguments, where NULL is false; `raw` as they are."""
    names = [f"c{at + 1}" for at in range(conditions)]
    return ", ".join(names if raw else (f"coalesce({name}, false)" for name in names))


def order_by(time, conditions, *before):
    """By time and what is met, as ours orders ties."""
    mask = " + ".join(f"{1 << at} * coalesce(c{at + 1}, false)" for at in range(conditions))
    return ", ".join(["grp", time, *before, mask])


def spell(rand, canonical, clickhouse):
    """Ours, or ClickHouse's text as it is."""
    return clickhouse if rand.random() < 0.3 else canonical


def filtered(expression, columns):
    return f"{expression} FILTER (WHERE {' AND '.join(f'{name} IS NOT NULL' for name in columns)})"


def window_funnel(rand, mode):
    steps = rand.randint(1, CONDITIONS)
    time = rand.choice(list(TIMES))
    window = rand.choice([0, 1, 2, 5, 10, 10, 1000])
    raw = rand.random() < 0.15

    def theirs(flags):
        texts = "".join(f", '{flag}'" for flag in flags)
        return f"windowFunnel({window}{texts})({time}, {columns_of(steps, raw)})"

    length = f"INTERVAL '{window} seconds'" if time == "at_second" and rand.random() < 0.5 else window
    flags = list(mode)
    rand.shuffle(flags)
    texts = f"'{', '.join(flags)}', " if rand.random() < 0.5 else "".join(f"'{flag}', " for flag in flags)
    texts = "" if not flags else texts
    canonical = f"window_funnel({length}, {texts}{time}, {columns_of(steps, True)})"
    names = [f"c{at + 1}" for at in range(steps)] if raw else []
    question = Question(
        function="windowFunnel",
        label=" + ".join(mode) or "(no mode)",
        time=time,
        ours={"answer": spell(rand, canonical, theirs(mode))},
        theirs={"answer": (theirs(mode), "grp, arrival")},
        empty=0,
        conditions=steps,
    )
    by_time = order_by(time, steps)
    if "strict_increase" in mode and "strict_once" not in mode:
        exact = [flag for flag in FLAGS if flag in mode or flag == "strict_once"]
        question.theirs = {"answer": (theirs(exact), by_time), "plain": (theirs(mode), by_time)}
        question.plain_name = "strict_increase"
    elif "strict_once" in mode and "strict_deduplication" in mode:
        question.theirs = {"answer": (theirs(mode), by_time), "plain": (theirs(mode), "grp, arrival")}
        question.plain_name = "ties_by_arrival"
    drop_nulls(question, canonical, names, "null_condition_drops_row")
    return question


def drop_nulls(question, canonical, columns, name):
    """Asks ours without the rows, too, that ClickHouse drops for a NULL there."""
    if columns:
        question.ours["dropped"] = filtered(canonical, columns)
        question.dropped_columns = columns
        question.drops = name


def retention(rand):
    conditions = rand.randint(2, CONDITIONS)
    raw = rand.random() < 0.3
    canonical = f"retention({columns_of(conditions, True)})"
    theirs = f"retention({columns_of(conditions, raw)})"
    question = Question(
        function="retention",
        label="",
        time=None,
        ours={"answer": spell(rand, canonical, theirs)},
        theirs={"answer": (theirs, "grp, arrival")},
        empty=[0] * conditions,
        conditions=conditions,
    )
    names = [f"c{at + 1}" for at in range(conditions)] if raw else []
    drop_nulls(question, canonical, names, "null_condition_drops_row")
    return question


def random_pattern(rand):
    """A pattern that ClickHouse reads, and of how many conditions."""
    conditions = rand.randint(2, 4)
    found = []
    for _ in range(rand.randint(0, 7)):
        gate = f"(?t{rand.choice(['<=', '<', '>=', '>', '=='])}{rand.randint(0, 4)})"
        condition = f"(?{rand.randint(1, conditions)})"
        element = rand.choices([condition, ".", ".*", gate], [45, 10, 17, 28])[0]
        # Two gates in a row are an error there.
        if not (element is gate and found and found[-1].startswith("(?t")):
            found.append(element)
    return found, conditions


def sequence(rand, function, pattern, conditions):
    time = rand.choice(list(TIMES))
    raw = rand.random() < 0.15
    text = "".join(pattern)
    blanks = "".join(f"{element}{rand.choice(['', '', ' '])}" for element in pattern)
    canonical = f"{SEQUENCES[function]}('{blanks}', {time}, {columns_of(conditions, True)})"
    theirs = f"{function}('{text}')({time}, {columns_of(conditions, raw)})"
    question = Question(
        function=function,
        label="",
        time=time,
        ours={"answer": spell(rand, canonical, theirs)},
        theirs={"answer": (theirs, order_by(time, conditions)), "plain": (theirs, "grp, arrival")},
        empty=[] if function == "sequenceMatchEvents" else 0,
        conditions=conditions,
        plain_name="ties_by_arrival",
        pattern=text,
    )
    if function == "sequenceMatch" and re.fullmatch(r"(\.\*|\(\?t(<|<=)\d+\)|\(\?t>=0\))*", text):
        # Nothing has to be there, so that it occurs in no rows, too.
        question.empty = 1
    names = [f"c{at + 1}" for at in range(conditions)] if raw else []
    drop_nulls(question, canonical, names, "null_condition_drops_row")
    return question


def next_node(rand, direction, base):
    events = rand.randint(1 if base.endswith("match") else 0, 4)
    conditions = events + 1
    time = rand.choice(list(TIMES))
    literals = f"'{direction}', '{base}'"
    canonical = f"sequence_next_node({literals}, {time}, page, {columns_of(conditions, True)})"
    raw = rand.random() < 0.3
    if raw:
        theirs = f"sequenceNextNode({literals})({time}, page, {columns_of(conditions, True)})"
        ours = spell(rand, canonical, theirs)
    else:
        # Both leave out a row without a value; only ClickHouse does one without a condition.
        theirs = f"sequenceNextNode({literals})({time}, page, {columns_of(conditions, False)})"
        ours = canonical
    keys = ["grp", time, "page ASC NULLS FIRST", "coalesce(c1, false)", mask_of_events(events)]
    order = ", ".join(filter(None, keys))
    question = Question(
        function="sequenceNextNode",
        label=f"{direction} {base}",
        time=time,
        ours={"answer": ours},
        theirs={"answer": (theirs, order), "plain": (theirs, "grp, arrival")},
        empty=None,
        conditions=conditions,
        plain_name="ties_by_arrival",
    )
    names = [f"c{at + 1}" for at in range(conditions)] if raw else []
    drop_nulls(question, canonical, names, "null_condition_drops_row")
    return question


def mask_of_events(events):
    """Of the conditions behind the base's."""
    return " + ".join(f"{1 << at} * coalesce(c{at + 2}, false)" for at in range(events))
