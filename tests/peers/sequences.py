"""Matches a sequence pattern by trying everything, by the written rules or with ClickHouse's three oddities."""

import operator
import re

ELEMENT = re.compile(r"\(\?t(<=|<|>=|>|==)(\d+)\)|\(\?(\d+)\)|(\.\*)|(\.)")
OPERATORS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt, "==": operator.eq}


class TooManySteps(Exception):
    """Trying everything would take too long."""


def elements(pattern):
    """Each as (kind, …)."""
    found = []
    for sign, amount, condition, star, _any in ELEMENT.findall(pattern):
        if sign:
            found.append(("gate", sign, int(amount)))
        elif condition:
            found.append(("take", 1 << int(condition) - 1))
        else:
            found.append(("star",) if star else ("any",))
    return found


def has_gate_behind_star(pattern):
    """Whether a gate stands behind a `.*`, with no step between."""
    starred = False
    for kind, *_ in elements(pattern):
        if kind == "gate" and starred:
            return True
        starred = kind == "star" or (starred and kind == "gate")
    return False


def ends_open(pattern):
    return bool(re.search(r"(\.\*|\(\?t[^)]*\))$", pattern))


class Matcher:
    """`rows` are (unit, mask) in order, none without a condition.

    `gate_from_star`: ClickHouse measures a gate behind `.*` from the row where the star stops.
    """

    def __init__(self, pattern, rows, gate_from_star=False):
        self.elements = elements(pattern)
        self.rows = rows
        self.gate_from_star = gate_from_star
        self.steps = 0
        self.chain = []
        self.first_longest = []

    def search(self, start):
        """Where the leftmost match from there ends, or None. Its rows are in `chain`."""
        for at in range(start, len(self.rows) + 1):
            self.chain = []
            base = self.rows[at][0] if at < len(self.rows) else 0
            end = self.rest(0, at, base)
            if end is not None:
                return end
        return None

    def rest(self, element, at, base):
        self.steps += 1
        if self.steps > 200_000:
            raise TooManySteps
        if element == len(self.elements):
            return at
        kind, *details = self.elements[element]
        return getattr(self, kind)(element, at, base, *details)

    def star(self, element, at, base):
        if at == len(self.rows):
            return self.rest(element + 1, at, base)
        ends = (
            self.rest(element + 1, row, self.rows[row][0] if self.gate_from_star else base)
            for row in range(at, len(self.rows))
        )
        return next((end for end in ends if end is not None), None)

    def gate(self, element, at, base, sign, amount):
        if at == len(self.rows):
            holds = sign in ("<=", "<") or (sign, amount) == (">=", 0)
            return self.rest(element + 1, at, base) if holds else None
        for row in range(at, len(self.rows)):
            if OPERATORS[sign](self.rows[row][0] - base, amount):
                end = self.rest(element + 1, row, base)
                if end is not None:
                    return end
        return None

    def any(self, element, at, _base):
        return None if at == len(self.rows) else self.rest(element + 1, at + 1, self.rows[at][0])

    def take(self, element, at, _base, condition):
        if at == len(self.rows) or not self.rows[at][1] & condition:
            return None
        self.chain.append(self.rows[at][0])
        if len(self.chain) > len(self.first_longest):
            self.first_longest = list(self.chain)
        end = self.rest(element + 1, at + 1, self.rows[at][0])
        if end is None:
            self.chain.pop()
        return end


def answer(function, pattern, rows, gate_from_star=False, first_chain=False):
    """What the function gives: 0 or 1, a number, or the units of the rows that were taken.

    `first_chain`: ClickHouse keeps the first of the longest chains, whether the rest matches or not.
    """
    matcher = Matcher(pattern, rows, gate_from_star)
    if function == "sequenceCount":
        count, start = 0, 0
        while start < len(rows) and (end := matcher.search(start)) is not None:
            count, start = count + 1, max(end, start + 1)
        return count
    matches = matcher.search(0) is not None
    if function == "sequenceMatch":
        return int(matches)
    return matcher.chain if matches and not first_chain else matcher.first_longest


def some_match_takes_the_last_row(pattern, rows, gate_from_star):
    """Of the matches that `sequenceCount` goes through."""
    matcher = Matcher(pattern, rows, gate_from_star)
    start = 0
    while start < len(rows) and (end := matcher.search(start)) is not None:
        if end == len(rows):
            return True
        start = max(end, start + 1)
    return False
