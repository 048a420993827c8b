//! Removal effects of an absorbing Markov chain, exactly.
//!
//! The chain of order k has a state for each sequence of the last k channels of a path (fewer at its beginning), and ends in
//! a conversion or in none; its probabilities are the shares of what followed. A channel's **removal effect** is the share of
//! conversions that are lost when every journey ends without one as soon as it would meet the channel (Anderl, Becker, von
//! Wangenheim, Schumann, IJRM 33 (2016), 457–474).
//!
//! Method: states are eliminated one by one, each step along the way that leads through it put in its place. A step's
//! weight is only ever added to, multiplied and divided by a sum of weights, never subtracted from, so that no digits are
//! lost and nothing has to be pivoted (Grassmann, Taksar, Heyman, Operations Research 33 (1985), 1107–1116). What is left when
//! only one channel's states are, is the chain without it. To get there for every channel, the channels are halved: each half
//! goes on with the other half eliminated. States with few steps go first, so that a sparse chain stays sparse.
//!
//! Cost: for n states with steps between all, about as many operations as two LU decompositions, O(n³), however many channels
//! there are; real paths have far fewer steps.

use std::collections::HashMap;

/// Paths of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The channels in order; not empty.
    pub path: &'a [u32],
    /// How many such paths converted.
    pub conversions: f64,
    /// How many didn't.
    pub nulls: f64,
    /// What the conversions were worth in all.
    pub value: f64,
}

/// What is lost without a channel, as fractions of all conversions and of their value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Removal {
    /// Of the conversions.
    pub conversions: f64,
    /// Of their value.
    pub value: f64,
}

/// The removal effect of each of the channels `0..channels`; nothing where no path converts.
pub fn removal_effects(
    observed: &[Observed],
    channels: usize,
    order: usize,
) -> Option<Vec<Removal>> {
    let conversions: f64 = observed.iter().map(|paths| paths.conversions).sum();
    let value: f64 = observed.iter().map(|paths| paths.value).sum();
    if conversions <= 0.0 {
        return None;
    }
    let (chain, states) = Chain::of(observed, channels, order);
    let mut kept = vec![(conversions, value); channels];
    let alive: Vec<usize> = (0..channels)
        .filter(|channel| !states[*channel].is_empty())
        .collect();
    chain.without_each(&states, &alive, &mut kept);
    // The chain's expected visits are the observed ones, so that with all channels it converts as observed.
    let lost = |kept: f64, all: f64| match all > 0.0 {
        true => (1.0 - kept / all).clamp(0.0, 1.0),
        false => 0.0,
    };
    let effects = kept.iter().map(|(kept, kept_value)| Removal {
        conversions: lost(*kept, conversions),
        value: lost(*kept_value, value),
    });
    Some(effects.collect())
}

/// The place of the state before the first touch.
const START: usize = 0;

/// What follows a state, in counts.
#[derive(Debug, Clone, Default)]
struct State {
    /// The states that follow, ascending.
    next: Vec<(u32, f64)>,
    /// The states that it follows, ascending.
    before: Vec<u32>,
    converted: f64,
    value: f64,
    lost: f64,
}

#[derive(Debug, Clone)]
struct Chain {
    states: Vec<State>,
}

impl Chain {
    /// The chain, and the states of each channel: those that a journey is in when it has just met it.
    fn of(observed: &[Observed], channels: usize, order: usize) -> (Self, Vec<Vec<u32>>) {
        let mut numbers: HashMap<&[u32], u32> = HashMap::new();
        let mut of_channels = vec![Vec::new(); channels];
        let mut steps: Vec<HashMap<u32, f64>> = vec![HashMap::new()];
        let mut ends = vec![State::default()];
        for paths in observed {
            let count = paths.conversions + paths.nulls;
            if count <= 0.0 {
                continue;
            }
            let mut at = START as u32;
            for (place, channel) in paths.path.iter().enumerate() {
                let recent = &paths.path[(place + 1).saturating_sub(order)..=place];
                let state = *numbers.entry(recent).or_insert_with(|| {
                    of_channels[*channel as usize].push(ends.len() as u32);
                    ends.push(State::default());
                    steps.push(HashMap::new());
                    ends.len() as u32 - 1
                });
                *steps[at as usize].entry(state).or_default() += count;
                at = state;
            }
            let end = &mut ends[at as usize];
            end.converted += paths.conversions;
            end.value += paths.value;
            end.lost += paths.nulls;
        }
        for (from, steps) in steps.into_iter().enumerate() {
            let mut next: Vec<(u32, f64)> = steps.into_iter().collect();
            next.sort_unstable_by_key(|(to, _)| *to);
            for (to, _) in &next {
                // Ascending, as the states are walked in their order.
                ends[*to as usize].before.push(from as u32);
            }
            ends[from].next = next;
        }
        (Self { states: ends }, of_channels)
    }

    /// Finds what converts, and its value, without each of the channels: the others are eliminated.
    fn without_each(mut self, states: &[Vec<u32>], channels: &[usize], kept: &mut [(f64, f64)]) {
        match channels {
            [] => {}
            [channel] => {
                let start = &self.states[START];
                kept[*channel] = (start.converted, start.value);
            }
            _ => {
                let (one, other) = channels.split_at(channels.len() / 2);
                let mut first = self.clone();
                first.eliminate(states, other);
                first.without_each(states, one, kept);
                self.eliminate(states, one);
                self.without_each(states, other, kept);
            }
        }
    }

    fn eliminate(&mut self, states: &[Vec<u32>], channels: &[usize]) {
        let mut left: Vec<u32> = channels
            .iter()
            .flat_map(|channel| states[*channel].iter().copied())
            .collect();
        while let Some(place) = self.cheapest(&left) {
            let state = left.swap_remove(place);
            self.eliminate_one(state);
        }
    }

    /// The place of the state through which the fewest ways lead; of several the first state.
    fn cheapest(&self, left: &[u32]) -> Option<usize> {
        let ways = |state: u32| {
            let state = &self.states[state as usize];
            state.next.len() * state.before.len()
        };
        (0..left.len()).min_by_key(|place| (ways(left[*place]), left[*place]))
    }

    fn eliminate_one(&mut self, number: u32) {
        let gone = std::mem::take(&mut self.states[number as usize]);
        let others = || gone.next.iter().filter(|(to, _)| *to != number);
        let total = others().map(|(_, weight)| weight).sum::<f64>() + gone.converted + gone.lost;
        for (to, _) in others() {
            remove(&mut self.states[*to as usize].before, number);
        }
        let next: Vec<(u32, f64)> = others().copied().collect();
        for from in gone.before.iter().filter(|from| **from != number) {
            let state = &mut self.states[*from as usize];
            let Ok(place) = state.next.binary_search_by_key(&number, |(to, _)| *to) else {
                continue;
            };
            let (_, weight) = state.next.remove(place);
            // Every path ends, so that something leads out of each state.
            let share = weight / total;
            state.converted += share * gone.converted;
            state.value += share * gone.value;
            state.lost += share * gone.lost;
            state.next = added(&state.next, &next, share);
            for (to, _) in &next {
                insert(&mut self.states[*to as usize].before, *from);
            }
        }
    }
}

/// The steps of two states together, those of the second by a factor.
fn added(one: &[(u32, f64)], other: &[(u32, f64)], factor: f64) -> Vec<(u32, f64)> {
    let mut sum = Vec::with_capacity(one.len() + other.len());
    let mut other = other.iter().peekable();
    for (to, weight) in one {
        while let Some((before, weight)) = other.next_if(|(before, _)| before < to) {
            sum.push((*before, factor * weight));
        }
        let more = other.next_if(|(same, _)| same == to);
        sum.push((
            *to,
            weight + more.map_or(0.0, |(_, weight)| factor * weight),
        ));
    }
    sum.extend(other.map(|(to, weight)| (*to, factor * weight)));
    sum
}

fn insert(sorted: &mut Vec<u32>, value: u32) {
    if let Err(place) = sorted.binary_search(&value) {
        sorted.insert(place, value);
    }
}

fn remove(sorted: &mut Vec<u32>, value: u32) {
    if let Ok(place) = sorted.binary_search(&value) {
        sorted.remove(place);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    type Paths = Vec<(Vec<u32>, f64, f64, f64)>;

    fn effects(paths: &Paths, channels: usize, order: usize) -> Vec<Removal> {
        let observed: Vec<Observed> = paths
            .iter()
            .map(|(path, conversions, nulls, value)| Observed {
                path,
                conversions: *conversions,
                nulls: *nulls,
                value: *value,
            })
            .collect();
        removal_effects(&observed, channels, order).unwrap()
    }

    /// C1 > C2 > C3 converts, C1 and C2 > C3 don't: the example that papers and packages explain the model by. Without C1
    /// half of the conversions are left, without C2 or C3 none: credits 0.2, 0.4, 0.4.
    #[test]
    fn the_classic_example() {
        let paths = vec![
            (vec![0, 1, 2], 1.0, 0.0, 10.0),
            (vec![0], 0.0, 1.0, 0.0),
            (vec![1, 2], 0.0, 1.0, 0.0),
        ];
        let found = effects(&paths, 3, 1);
        for (found, expected) in found.iter().zip([0.5, 1.0, 1.0]) {
            assert!((found.conversions - expected).abs() < 1e-15);
            assert!((found.value - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn nothing_converts_and_unknown_channels() {
        let observed = [Observed {
            path: &[0],
            conversions: 0.0,
            nulls: 3.0,
            value: 0.0,
        }];
        assert_eq!(removal_effects(&observed, 1, 1), None);
        assert_eq!(removal_effects(&[], 0, 1), None);
        // A channel that no path has costs nothing.
        let found = effects(&vec![(vec![1], 1.0, 0.0, 0.0)], 2, 1);
        assert_eq!(found[0].conversions, 0.0);
        assert_eq!(found[1].conversions, 1.0);
    }

    /// The absorbing chain by its definition, (I − Q) x = r, with the channel's states never entered; Gaussian elimination
    /// with pivots.
    fn by_linear_solve(paths: &Paths, channels: usize, order: usize) -> Vec<(f64, f64)> {
        let mut numbers: HashMap<Vec<u32>, usize> = HashMap::new();
        for (path, ..) in paths {
            for at in 0..path.len() {
                let recent = path[(at + 1).saturating_sub(order)..=at].to_vec();
                let next = numbers.len() + 1;
                numbers.entry(recent).or_insert(next);
            }
        }
        let n = numbers.len() + 1;
        let (mut q, mut r, mut v) = (vec![vec![0.0; n]; n], vec![0.0; n], vec![0.0; n]);
        let mut total = vec![0.0; n];
        for (path, conversions, nulls, value) in paths {
            let mut at = 0;
            for place in 0..path.len() {
                let to = numbers[&path[(place + 1).saturating_sub(order)..=place]];
                q[at][to] += conversions + nulls;
                total[at] += conversions + nulls;
                at = to;
            }
            r[at] += conversions;
            v[at] += value;
            total[at] += conversions + nulls;
        }
        let solve = |removed: Option<u32>| {
            let mut matrix: Vec<Vec<f64>> = (0..n)
                .map(|row| {
                    let cell = |column: usize| {
                        f64::from(u8::from(row == column)) - q[row][column] / total[row]
                    };
                    let mut cells: Vec<f64> = (0..n).map(cell).collect();
                    cells.extend([r[row] / total[row], v[row] / total[row]]);
                    cells
                })
                .collect();
            for (state, number) in &numbers {
                if state.last().copied() == removed {
                    (0..n).for_each(|row| {
                        matrix[row][*number] = f64::from(u8::from(row == *number));
                    });
                }
            }
            for pivot in 0..n {
                let best = (pivot..n)
                    .max_by(|a, b| matrix[*a][pivot].abs().total_cmp(&matrix[*b][pivot].abs()))
                    .unwrap();
                matrix.swap(pivot, best);
                for row in (0..n).filter(|row| *row != pivot) {
                    let of_pivot = matrix[pivot].clone();
                    let factor = matrix[row][pivot] / of_pivot[pivot];
                    for (value, subtracted) in matrix[row].iter_mut().zip(of_pivot).skip(pivot) {
                        *value -= factor * subtracted;
                    }
                }
            }
            (matrix[0][n] / matrix[0][0], matrix[0][n + 1] / matrix[0][0])
        };
        let all = solve(None);
        (0..channels as u32)
            .map(|channel| {
                let (kept, value) = solve(Some(channel));
                (1.0 - kept / all.0, 1.0 - value / all.1)
            })
            .collect()
    }

    #[test]
    fn elimination_solves_the_chain_in_every_order() {
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for order in 1..=4 {
            let paths: Paths = (0..60)
                .map(|_| {
                    let length = 1 + draw(6);
                    let path = (0..length).map(|_| draw(6) as u32).collect();
                    let conversions = draw(4) as f64;
                    (
                        path,
                        conversions,
                        1.0 + draw(5) as f64,
                        conversions * draw(9) as f64,
                    )
                })
                .collect();
            let found = effects(&paths, 6, order);
            for (found, (conversions, value)) in found.iter().zip(by_linear_solve(&paths, 6, order))
            {
                assert!((found.conversions - conversions).abs() < 1e-10, "{order}");
                assert!((found.value - value).abs() < 1e-10, "{order}");
            }
        }
    }

    /// Thousands of states, most of them with few steps.
    #[test]
    fn a_large_sparse_chain_is_solved() {
        let channels = 500_u32;
        let paths: Paths = (0..channels)
            .map(|channel| {
                let path = vec![channel, (channel * 7 + 1) % channels, channel / 3];
                (path, 1.0, 1.0, 1.0)
            })
            .collect();
        let found = effects(&paths, channels as usize, 1);
        assert!(found.iter().all(|effect| effect.conversions > 0.0));
    }
}
