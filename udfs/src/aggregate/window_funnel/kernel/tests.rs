#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::aggregate::window_funnel::mode::{DorisMode, Flags};

const UNLIMITED: Window = Window::Unlimited;

fn flags(names: &str) -> Mode {
    Mode::parse_names([names].into_iter().filter(|names| !names.is_empty())).unwrap()
}

/// The level, after checking that the chain has that length and is the same with a used scratch.
fn level_of(hits: &[Hit], steps: usize, window: Window, mode: Mode) -> usize {
    let rules = Rules {
        steps,
        window,
        mode,
    };
    let mut scratch = Scratch::default();
    let mut rows = vec![7; 3];
    let level = level(hits, &rules, &mut scratch);
    assert_eq!(
        chain(hits, &rules, &mut scratch, &mut rows),
        level,
        "{hits:?} {rules:?}"
    );
    assert_eq!(rows.len(), level);
    level
}

/// Rows from text: letters are conditions, x is a row without one, `@5` is the time of a row; without it rows
/// are one unit apart.
fn rows(text: &str) -> Vec<Hit> {
    let mut hits: Vec<Hit> = text
        .split_whitespace()
        .enumerate()
        .map(|(position, row)| {
            let (letters, time) = row.split_once('@').unwrap_or((row, ""));
            let conditions = letters.bytes().filter(|letter| *letter != b'x');
            Hit {
                time: time.parse().unwrap_or(position as i64),
                conditions: conditions.fold(0, |mask, letter| mask | 1 << (letter - b'A')),
            }
        })
        .collect();
    hits.sort_unstable();
    hits
}

const CLICKHOUSE: [&str; 5] = [
    "",
    "strict_deduplication",
    "strict_order",
    "strict_increase",
    "strict_once",
];

const DORIS: [DorisMode; 4] = [
    DorisMode::Default,
    DorisMode::Deduplication,
    DorisMode::Fixed,
    DorisMode::Increase,
];

/// How three engines see the same rows: ClickHouse 26.9 was run; StarRocks and Doris 4.1 were worked through by
/// their sources.
#[test]
fn each_engine_s_modes_give_that_engine_s_levels() {
    let units = |units| Window::Units(units);
    for (text, steps, window, clickhouse, starrocks, doris) in [
        ("A x B C", 3, UNLIMITED, [3, 3, 1, 3, 3], [3; 5], [3; 4]),
        ("A B A C", 3, UNLIMITED, [3; 5], [3; 5], [3, 2, 2, 3]),
        (
            "A B B C",
            3,
            UNLIMITED,
            [3, 2, 3, 3, 3],
            [3, 2, 3, 2, 3],
            [3, 2, 2, 3],
        ),
        (
            "A B D C",
            4,
            UNLIMITED,
            [3, 3, 2, 3, 3],
            [3, 3, 2, 2, 3],
            [3, 3, 2, 3],
        ),
        (
            "A C B C",
            3,
            UNLIMITED,
            [3, 3, 1, 3, 3],
            [3, 3, 1, 1, 3],
            [3, 3, 1, 3],
        ),
        (
            "A B x A B C",
            3,
            UNLIMITED,
            [3, 2, 2, 3, 3],
            [3, 2, 3, 2, 3],
            [3; 4],
        ),
        ("A B B A B C", 3, UNLIMITED, [3, 2, 3, 3, 3], [3; 5], [3; 4]),
        ("AB", 2, UNLIMITED, [2, 2, 2, 1, 1], [2, 2, 2, 2, 1], [1; 4]),
        // DIFFERENCE: ClickHouse forgets the first A for the second, and its strict_increase is 1. StarRocks'
        // mode 4 does so here too.
        (
            "AB AB",
            2,
            UNLIMITED,
            [2, 2, 2, 2, 2],
            [2, 2, 2, 2, 1],
            [2; 4],
        ),
        // DIFFERENCE: the same.
        (
            "A AB C",
            3,
            UNLIMITED,
            [3, 3, 3, 3, 3],
            [3, 3, 3, 3, 1],
            [3; 4],
        ),
        // DIFFERENCE: Doris gives 1 for rows that arrived as B, A, and 2 for A, B.
        (
            "B@0 A@0",
            2,
            UNLIMITED,
            [2, 2, 2, 1, 2],
            [2, 2, 2, 2, 1],
            [2, 2, 2, 1],
        ),
        // DIFFERENCE: the same.
        ("A@1 A@2 B@2", 2, UNLIMITED, [2; 5], [2, 2, 2, 2, 1], [2; 4]),
        (
            "A@0 B@8 A@9 B@12 C@15",
            3,
            units(10),
            [3, 2, 3, 3, 3],
            [3, 2, 3, 2, 3],
            [3; 4],
        ),
    ] {
        let hits = rows(text);
        for (names, expected) in CLICKHOUSE.iter().zip(clickhouse) {
            let level = level_of(&hits, steps, window, flags(names));
            assert_eq!(level, expected, "{text}: ClickHouse {names:?}");
        }
        for (mode, expected) in (0..5).zip(starrocks) {
            let level = level_of(&hits, steps, window, Mode::StarRocks(mode));
            assert_eq!(level, expected, "{text}: StarRocks {mode}");
        }
        for (mode, expected) in DORIS.into_iter().zip(doris) {
            let level = level_of(&hits, steps, window, Mode::Doris(mode));
            assert_eq!(level, expected, "{text}: Doris {mode:?}");
        }
    }
}

#[test]
fn modes_combine() {
    for (text, steps, names, expected) in [
        ("A B C B D", 4, "strict_order", 4),
        ("A C B C", 3, "strict_order, allow_reentry", 3),
        ("A x B C", 3, "strict_order, allow_reentry", 1),
        ("x B A B", 2, "strict_order, strict_deduplication", 2),
        ("A B B C", 3, "strict_order, strict_deduplication", 2),
        // The older A is what B@2 goes on from.
        ("A@1 A@2 B@2 C@3", 3, "strict_order, strict_increase", 3),
        // B is reached at 2 already, so B@3 is a repetition.
        (
            "A@1 A@2 B@2 B@3 C@4",
            3,
            "strict_deduplication, strict_increase",
            2,
        ),
        // B comes before AB, which takes it again.
        ("AB@0 B@0 C@1", 3, "strict_once, strict_deduplication", 2),
        // The only row that can take B is the last one.
        ("AB@0 A@0 C@1", 3, "strict_once, strict_deduplication", 3),
        ("ABC@0 AB@0 A@0", 3, "strict_once", 3),
        ("ABC@0 C@0", 3, "strict_once", 1),
        ("A@0 ABC@1 BC@1", 3, "strict_once", 3),
    ] {
        let level = level_of(&rows(text), steps, UNLIMITED, flags(names));
        assert_eq!(level, expected, "{text}: {names}");
    }
}

#[test]
fn from_four_on_starrocks_sees_ties_of_step_one_only_without_other_modes() {
    for (mode, expected) in [(4, 1), (5, 2), (6, 2), (7, 2)] {
        let level = level_of(&rows("A@0 B@0 C@0"), 3, UNLIMITED, Mode::StarRocks(mode));
        assert_eq!(level, expected, "mode {mode}");
    }
}

#[test]
fn no_rows_one_step_and_sixty_four_steps() {
    let modes = CLICKHOUSE
        .map(flags)
        .into_iter()
        .chain(DORIS.map(Mode::Doris))
        .chain((0..8).map(Mode::StarRocks));
    for mode in modes {
        assert_eq!(level_of(&[], 3, UNLIMITED, mode), 0, "{mode:?}");
        assert_eq!(level_of(&rows("x B"), 2, UNLIMITED, mode), 0, "{mode:?}");
        assert_eq!(level_of(&rows("x A x A"), 1, UNLIMITED, mode), 1);
        // The second condition is none of the one step.
        assert_eq!(level_of(&rows("B AB"), 1, UNLIMITED, mode), 1, "{mode:?}");
        let all: Vec<Hit> = (0..64)
            .map(|step| Hit {
                time: step,
                conditions: 1 << step,
            })
            .collect();
        assert_eq!(level_of(&all, 64, UNLIMITED, mode), 64, "{mode:?}");
        assert_eq!(level_of(&all, 64, Window::Units(62), mode), 63, "{mode:?}");
    }
}

#[test]
fn the_window_includes_its_end_and_never_overflows() {
    for (window, expected) in [(0, 1), (2, 1), (3, 2), (i64::MAX, 2)] {
        let level = level_of(&rows("A@0 B@3"), 2, Window::Units(window), flags(""));
        assert_eq!(level, expected, "window {window}");
    }
    let ends = [i64::MIN, i64::MAX].map(|time| Hit {
        time,
        conditions: if time < 0 { 1 } else { 2 },
    });
    assert_eq!(level_of(&ends, 2, UNLIMITED, flags("")), 2);
    assert_eq!(level_of(&ends, 2, Window::Units(i64::MAX), flags("")), 1);
    assert_eq!(
        level_of(&rows("A@0 B@0"), 2, Window::Units(0), flags("")),
        2
    );
}

#[test]
fn a_condition_beyond_the_steps_is_none() {
    // C is no step here, so its row breaks the strict order.
    assert_eq!(
        level_of(&rows("A C B"), 2, UNLIMITED, flags("strict_order")),
        1
    );
    assert_eq!(level_of(&rows("A C B"), 2, UNLIMITED, flags("")), 2);
}

#[test]
fn the_reported_chain_is_the_first_to_get_there_from_the_last_start() {
    for (text, window, names, expected) in [
        ("A A B B C C", UNLIMITED, "", vec![1, 2, 4]),
        ("x B A B A B C", UNLIMITED, "", vec![4, 5, 6]),
        // A second chain of the same length doesn't replace the first.
        ("A B A B", UNLIMITED, "", vec![0, 1]),
        (
            "A@1 A@2 B@2 C@3",
            UNLIMITED,
            "strict_increase",
            vec![0, 2, 3],
        ),
        // The new start comes too late for C@6, the old one not.
        ("A@0 B@1 A@4 C@6", Window::Units(6), "", vec![0, 1, 3]),
        ("AB@0 AB@0", UNLIMITED, "strict_once", vec![1, 0]),
    ] {
        let rules = Rules {
            steps: 3,
            window,
            mode: flags(names),
        };
        let mut found = Vec::new();
        chain(&rows(text), &rules, &mut Scratch::default(), &mut found);
        assert_eq!(found, expected, "{text} {names}");
    }
}

#[test]
fn many_rows_of_one_time_that_meet_everything_are_matched_in_little_time() {
    let hits = vec![
        Hit {
            time: 0,
            conditions: u64::MAX
        };
        63
    ];
    assert_eq!(level_of(&hits, 64, UNLIMITED, flags("strict_once")), 63);
    let deduplicated = flags("strict_once, strict_deduplication");
    assert_eq!(level_of(&hits, 64, UNLIMITED, deduplicated), 2);
}

fn group() -> impl Strategy<Value = Vec<Hit>> {
    let row = (0_i64..6, 0_u64..16, 0_u64..16).prop_map(|(time, one, other)| Hit {
        time: time * 2,
        // Mostly one or two conditions.
        conditions: one & other,
    });
    proptest::collection::vec(row, 0..8).prop_map(|mut hits| {
        hits.sort_unstable();
        hits
    })
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![4 => (0_i64..11).prop_map(Window::Units), 1 => Just(UNLIMITED)]
}

fn any_flags() -> impl Strategy<Value = Flags> {
    any::<[bool; 5]>().prop_map(|[order, reentry, deduplication, increase, once]| Flags {
        order,
        reentry: reentry && order,
        deduplication,
        increase,
        once,
    })
}

/// Fails unless the chain's rows take its steps within the window, and as its mode asks.
fn check_chain(hits: &[Hit], rules: &Rules, chain: &[usize], strictly: bool, once: bool) {
    for (step, row) in chain.iter().enumerate() {
        assert!(hits[*row].conditions >> step & 1 != 0);
        assert!(hits[*row].time <= rules.window.deadline(hits[chain[0]].time));
        if step > 0 {
            let before = hits[chain[step - 1]].time;
            assert!(before < hits[*row].time || !strictly && before == hits[*row].time);
        }
        assert!(!once || !chain[..step].contains(row));
    }
}

fn chain_of(hits: &[Hit], rules: &Rules) -> Vec<usize> {
    let mut scratch = Scratch::default();
    let mut rows = Vec::new();
    let length = chain(hits, rules, &mut scratch, &mut rows);
    assert_eq!(length, rows.len());
    assert_eq!(level(hits, rules, &mut scratch), length);
    // What it leaves behind changes nothing.
    let mut again = Vec::new();
    chain(hits, rules, &mut scratch, &mut again);
    assert_eq!(again, rows);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn clickhouse_s_modes_agree_with_their_definition(
        hits in group(), steps in 1_usize..5, window in window(), flags in any_flags(),
    ) {
        let rules = Rules { steps, window, mode: Mode::Flags(flags) };
        let found = chain_of(&hits, &rules);
        let expected = reference::clickhouse(&hits, &rules, flags);
        prop_assert_eq!(found.len(), expected.len());
        check_chain(&hits, &rules, &found, flags.increase, flags.once);
        if flags.once {
            // Which of the rows of one time is left open; when the chain starts and ends isn't.
            for pick in [<[usize]>::first, <[usize]>::last] {
                let time = |rows: &[usize]| pick(rows).map(|row| hits[*row].time);
                prop_assert_eq!(time(&found), time(&expected));
            }
        } else {
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn doris_s_modes_agree_with_their_definition(
        hits in group(), steps in 1_usize..5, window in window(), mode in 0_usize..4,
    ) {
        let rules = Rules { steps, window, mode: Mode::Doris(DORIS[mode]) };
        let found = chain_of(&hits, &rules);
        prop_assert_eq!(found.len(), reference::doris(&hits, &rules, DORIS[mode]));
        check_chain(&hits, &rules, &found, DORIS[mode] == DorisMode::Increase, true);
    }

    #[test]
    fn starrocks_modes_agree_with_their_definition(
        hits in group(), steps in 1_usize..5, window in window(), mode in 0_u8..8,
    ) {
        let rules = Rules { steps, window, mode: Mode::StarRocks(mode) };
        let found = chain_of(&hits, &rules);
        prop_assert_eq!(found.len(), reference::starrocks(&hits, &rules, mode));
        check_chain(&hits, &rules, &found, mode == 4, false);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        hits in group().prop_shuffle(), window in window(), flags in any_flags(),
    ) {
        let rules = Rules { steps: 4, window, mode: Mode::Flags(flags) };
        let mut backwards = hits.clone();
        backwards.reverse();
        let sorted = |mut hits: Vec<Hit>| { hits.sort_unstable(); chain_of(&hits, &rules) };
        prop_assert_eq!(sorted(hits), sorted(backwards));
    }
}
