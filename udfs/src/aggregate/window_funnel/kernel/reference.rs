//! The rules again, written down as plainly as they can be, however slow: what the kernels are compared with.

use super::Rules;
use crate::aggregate::hits::Hit;
use crate::aggregate::window_funnel::mode::{DorisMode, Flags};

/// A condition that a row meets, from step 1 on; step 0 is a row that meets none.
type Entry = (i64, usize, usize);

/// (time, step, row) of every condition met, in that order.
fn entries(hits: &[Hit], steps: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (row, hit) in hits.iter().enumerate() {
        let met = |step: &usize| hit.conditions >> (step - 1) & 1 != 0;
        let count = entries.len();
        entries.extend((1..=steps).filter(met).map(|step| (hit.time, step, row)));
        if entries.len() == count {
            entries.push((hit.time, 0, row));
        }
    }
    entries.sort_unstable();
    entries
}

/// Every chain that the entries allow, as long as `visit` is told of it.
fn chains(
    entries: &[Entry],
    rules: &Rules,
    flags: Flags,
    chain: &mut Vec<Entry>,
    visit: &mut impl FnMut(&[Entry]),
) {
    for (at, &(time, step, row)) in entries.iter().enumerate() {
        let fits = step == chain.len() + 1
            && chain
                .first()
                .is_none_or(|f| time <= rules.window.deadline(f.0))
            && chain.last().is_none_or(|l| !flags.increase || l.0 < time)
            && !(flags.once && chain.iter().any(|taken| taken.2 == row));
        if fits {
            chain.push((time, step, row));
            visit(chain);
            chains(&entries[at + 1..], rules, flags, chain, visit);
            chain.pop();
        }
    }
}

/// The chain that is to be reported: the longest, then as the kernel's page says.
fn reported(entries: &[Entry], rules: &Rules, flags: Flags) -> Vec<Entry> {
    let key = |chain: &[Entry]| {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
            return (0, 0, 0, Vec::new());
        };
        let rest = chain.iter().map(|&(time, _, row)| (time, row));
        (
            -(chain.len() as i64),
            last.0,
            -first.0,
            rest.collect::<Vec<_>>(),
        )
    };
    let mut best = Vec::new();
    chains(entries, rules, flags, &mut Vec::new(), &mut |chain| {
        if key(chain) < key(&best) {
            best = chain.to_vec();
        }
    });
    best
}

/// ClickHouse's modes: the entries that are looked at before the search ends, and the longest chain in them.
///
/// The rows of the reported chain.
pub(super) fn clickhouse(hits: &[Hit], rules: &Rules, flags: Flags) -> Vec<usize> {
    let mut seen = Vec::new();
    let mut reached = 0;
    for entry @ (_, step, _) in entries(hits, rules.steps) {
        let stops = match step {
            0 => flags.order && reached > 0,
            1 => false,
            _ if flags.deduplication && step <= reached => true,
            _ => flags.order && !flags.reentry && reached > 0 && step > reached + 1,
        };
        if stops {
            break;
        }
        seen.push(entry);
        if flags.order || flags.deduplication {
            reached = reported(&seen, rules, flags).len();
        }
    }
    let chain = reported(&seen, rules, flags);
    chain.into_iter().map(|(_, _, row)| row).collect()
}

/// Doris' rows in the order that the kernel gives them, with the conditions that are steps.
fn doris_rows(hits: &[Hit], steps: usize) -> Vec<Hit> {
    let mut rows: Vec<Hit> = hits
        .iter()
        .map(|hit| Hit {
            time: hit.time,
            conditions: hit.conditions & (u64::MAX >> (64 - steps)),
        })
        .filter(|hit| hit.conditions != 0)
        .collect();
    rows.sort_by_key(|hit| (hit.time, hit.conditions.trailing_zeros(), hit.conditions));
    rows
}

pub(super) fn doris(hits: &[Hit], rules: &Rules, mode: DorisMode) -> usize {
    let rows = doris_rows(hits, rules.steps);
    let starts = (0..rows.len()).filter(|row| rows[*row].conditions & 1 != 0);
    match mode {
        DorisMode::Default => doris_default(&rows, rules),
        DorisMode::Increase => starts
            .map(|start| doris_increase(&rows, start, rules))
            .max()
            .unwrap_or(0),
        DorisMode::Deduplication => starts
            .map(|start| doris_deduplication(&rows, start, rules))
            .max()
            .unwrap_or(0),
        DorisMode::Fixed => starts
            .map(|start| doris_fixed(&rows, start, rules))
            .max()
            .unwrap_or(0),
    }
}

/// (start, row) of the newest chain of each length, where the next step must not be in that row.
fn doris_default(rows: &[Hit], rules: &Rules) -> usize {
    let mut newest: Vec<Option<(i64, usize)>> = vec![None; rules.steps];
    for (row, hit) in rows.iter().enumerate() {
        for step in (0..rules.steps).rev() {
            if hit.conditions >> step & 1 == 0 {
                continue;
            }
            if step == 0 {
                newest[0] = Some((hit.time, row));
            } else if let Some((start, last)) = newest[step - 1]
                && last != row
                && hit.time <= rules.window.deadline(start)
            {
                newest[step] = Some((start, row));
            }
        }
    }
    newest
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |at| at + 1)
}

/// One start; the last time of each step.
fn doris_increase(rows: &[Hit], start: usize, rules: &Rules) -> usize {
    let mut last: Vec<Option<i64>> = vec![None; rules.steps];
    last[0] = Some(rows[start].time);
    for hit in &rows[start + 1..] {
        for step in (1..rules.steps).rev() {
            if hit.conditions >> step & 1 != 0
                && last[step - 1].is_some_and(|before| before < hit.time)
                && hit.time <= rules.window.deadline(rows[start].time)
            {
                last[step] = Some(hit.time);
            }
        }
    }
    last.iter().flatten().count()
}

/// One start: look for the next step, then look at what lies between.
fn doris_deduplication(rows: &[Hit], start: usize, rules: &Rules) -> usize {
    let (mut taken, mut last) = (1, start);
    while taken < rules.steps {
        let next = (last + 1..rows.len()).find(|row| rows[*row].conditions >> taken & 1 != 0);
        let Some(next) = next else { break };
        let repeated = rows[last + 1..next]
            .iter()
            .any(|hit| (0..taken).any(|step| hit.conditions >> step & 1 != 0));
        if repeated || rows[next].time > rules.window.deadline(rows[start].time) {
            break;
        }
        (taken, last) = (taken + 1, next);
    }
    taken
}

fn doris_fixed(rows: &[Hit], start: usize, rules: &Rules) -> usize {
    let following = rows[start + 1..].iter().zip(1..rules.steps);
    1 + following
        .take_while(|(hit, step)| {
            hit.conditions >> step & 1 != 0 && hit.time <= rules.window.deadline(rows[start].time)
        })
        .count()
}

/// StarRocks' modes, each with its own branch as in the engine.
pub(super) fn starrocks(hits: &[Hit], rules: &Rules, mode: u8) -> usize {
    let (deduplication, fixed, increase) = (mode & 1 != 0, mode & 2 != 0, mode & 4 != 0);
    let mut starts: Vec<Option<i64>> = vec![None; rules.steps];
    let mut ends: Vec<Option<i64>> = vec![None; rules.steps];
    let mut best = 0;
    for (time, step, _) in entries(hits, rules.steps) {
        if step == 0 {
            continue;
        }
        let slot = step - 1;
        if slot == 0 {
            starts[0] = Some(time);
            if mode & 3 == 0 {
                ends[0] = Some(time);
            }
        } else if deduplication && starts[slot].is_some() || fixed && starts[slot - 1].is_none() {
            starts.fill(None);
        } else if let Some(start) = starts[slot - 1] {
            let later = ends[slot - 1].is_none_or(|end| end < time);
            if time <= rules.window.deadline(start) && (!increase || later) {
                starts[slot] = Some(start);
                ends[slot] = Some(time);
            }
        }
        best = best.max(starts.iter().flatten().count());
        if best == rules.steps {
            break;
        }
    }
    best
}
