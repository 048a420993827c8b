//! Why a product changed: how much of the change of `V = x1 · x2 · …` between two periods each factor accounts for.
//!
//! - LMDI-I (B. W. Ang, Energy Policy 33 (2005), 867–871): `effect = L(V1, V0) · ln(x1 / x0)` with the logarithmic mean
//!   `L(a, b) = (a - b) / ln(a / b)`, `L(a, a) = a`. The effects sum to `V1 - V0`, without a residual
//! - zeros by the analytic limit (B. W. Ang, N. Liu, Energy Policy 35 (2007), 238–246): the factors that hit zero share the
//!   whole change equally, the others have none
//! - Shapley (J. Sun, Energy Economics 20 (1998), 85–100): the mean, over all orders in which the factors can change, of what each adds.
//!   `effect = (x1 - x0) · ∫ Π (others: x0 (1-u) + x1 u) du` over u in [0, 1], which is the same mean
//!
//! With segments, `V = Σ N · w · r1 · r2 · …` with a segment's share `w` of the volume `N`; each segment is decomposed by itself,
//! so that the effects of its segments sum to a factor's (consistent in aggregation).
//!
//! The interval is by the delta method, through `L` and `ln(x1 / x0)`: volumes are Poisson, `var(ln N) = 1/N`, rates are
//! independent binomials, `var(ln r) = (1 - r) / (n r)`, and an average has the variance of its values.

use super::two_sided;

/// The way of dividing a change among its factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decomposition {
    /// By logarithmic means.
    #[default]
    Lmdi,
    /// By the mean over all orders of the factors.
    Shapley,
}

/// What is added to two values before they count as different: their mean then has no series.
const NEAR: f64 = 1e-4;

/// The logarithmic mean of two numbers that aren't negative; 0 where one of them is.
pub fn log_mean(a: f64, b: f64) -> f64 {
    if a == b {
        return a;
    }
    if a == 0.0 || b == 0.0 {
        return 0.0;
    }
    let log = (a / b).ln();
    match log.abs() < NEAR {
        // √(ab) · sinh(x)/x with x = ln(a/b)/2; the next term is below 1e-18.
        true => (a * b).sqrt() * (1.0 + log * log / 24.0),
        false => (a - b) / log,
    }
}

/// What a factor that went from `x0` to `x1` adds to a value that went from `v0` to `v1`.
///
/// Where the value is zero in one period, so are `zeros` of its factors in it, and they share the change.
pub fn lmdi_effect(v1: f64, v0: f64, x1: f64, x0: f64, zeros: usize) -> f64 {
    if x1 == x0 {
        return 0.0;
    }
    if v1 > 0.0 && v0 > 0.0 {
        return log_mean(v1, v0) * (x1 / x0).ln();
    }
    let hit_zero = (v1 == 0.0 && x1 == 0.0) || (v0 == 0.0 && x0 == 0.0);
    match hit_zero {
        true => (v1 - v0) / zeros.max(1) as f64,
        false => 0.0,
    }
}

/// What entered a segment in one period and how far it came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reached {
    /// How many reached each stage, from the first on, which is the volume.
    pub counts: Vec<f64>,
    /// What those of the last stage are worth: the sum, and the sum of the squares.
    pub amount: Option<(f64, f64)>,
}

/// One segment in both periods.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Segment {
    /// The earlier period.
    pub base: Reached,
    /// The later one.
    pub current: Reached,
}

/// What kind of factor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorKind {
    /// How many entered.
    Volume,
    /// The segment's share of them.
    Mix,
    /// The rate from the stage of this number (from 0) to the next one.
    Rate(usize),
    /// What one that reached the last stage is worth.
    Average,
}

/// One factor of one segment, or of all together.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The segment's position; none of all together.
    pub segment: Option<usize>,
    /// From 0, in the order of [`factor_kinds`].
    pub factor: usize,
    /// What it is.
    pub kind: FactorKind,
    /// The factor's value in the earlier and in the later period, where it has one.
    pub values: [Option<f64>; 2],
    /// Numerators, of rates, and denominators of both; of a mix how many entered the segment.
    pub counts: [(Option<f64>, f64); 2],
    /// What it adds to the change; none where it has no value in one of the periods.
    pub effect: Option<f64>,
    /// The limits of the effect at 95 %.
    pub limits: Option<(f64, f64)>,
    /// Its part of the whole change.
    pub share: Option<f64>,
    /// By how much it multiplies the value; all together multiply to the ratio of the periods' values.
    pub multiplier: Option<f64>,
    /// Whether a factor is zero in a period, so that there is no interval.
    pub is_zero: bool,
}

/// The factors of segments with that many stages.
pub fn factor_kinds(stages: usize, has_mix: bool, has_amount: bool) -> Vec<FactorKind> {
    let mut kinds = vec![FactorKind::Volume];
    kinds.extend(has_mix.then_some(FactorKind::Mix));
    kinds.extend((1..stages).map(|stage| FactorKind::Rate(stage - 1)));
    kinds.extend(has_amount.then_some(FactorKind::Average));
    kinds
}

/// Decomposes the change of the last stage's count, or of what it is worth.
///
/// - `segments`: with equal numbers of stages; in an order that doesn't depend on chance
/// - `by_segment`: whether the segments' shares are a factor and each segment has rows of its own
pub fn decompose(segments: &[Segment], by_segment: bool, method: Decomposition) -> Vec<Effect> {
    let Some(first) = segments.first() else {
        return Vec::new();
    };
    let kinds = factor_kinds(
        first.base.counts.len(),
        by_segment,
        first.base.amount.is_some(),
    );
    let whole = Segment {
        base: sum(segments.iter().map(|segment| &segment.base)),
        current: sum(segments.iter().map(|segment| &segment.current)),
    };
    let volumes = [volume(&whole.base), volume(&whole.current)];
    let parts: Vec<Part> = segments
        .iter()
        .map(|segment| Part::new(segment, volumes, &kinds, method))
        .collect();
    let value = |period: usize| parts.iter().map(|part| part.value[period]).sum::<f64>();
    let whole_change = WholeChange {
        change: value(1) - value(0),
        scale: value(1).abs().max(value(0).abs()),
        mean: match value(1) >= 0.0 && value(0) >= 0.0 {
            true => log_mean(value(1), value(0)),
            false => 0.0,
        },
    };
    let mut effects = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        effects.push(whole_effect(
            &whole,
            &parts,
            volumes,
            at,
            *kind,
            &whole_change,
        ));
    }
    if by_segment {
        for (no, (part, segment)) in parts.iter().zip(segments).enumerate() {
            for (at, kind) in kinds.iter().enumerate() {
                let spread = part.spread(at, volumes);
                let found = Found {
                    effect: part.effects[at],
                    spread: (!part.is_zero).then_some(spread),
                    is_zero: part.is_zero,
                };
                let side = [&segment.base, &segment.current];
                let mut effect = found.effect_of(at, *kind, side, volumes, &whole_change);
                effect.segment = Some(no);
                effects.push(effect);
            }
        }
    }
    effects
}

fn volume(reached: &Reached) -> f64 {
    reached.counts.first().copied().unwrap_or(0.0)
}

fn sum<'a>(parts: impl Iterator<Item = &'a Reached>) -> Reached {
    let mut whole = Reached::default();
    for part in parts {
        whole.counts.resize(part.counts.len(), 0.0);
        for (total, count) in whole.counts.iter_mut().zip(&part.counts) {
            *total += count;
        }
        if let Some((amount, squares)) = part.amount {
            let (total, total_squares) = whole.amount.unwrap_or_default();
            whole.amount = Some((total + amount, total_squares + squares));
        }
    }
    whole
}

struct WholeChange {
    change: f64,
    scale: f64,
    mean: f64,
}

/// A factor's numerator, where it has one, and denominator.
fn counts_of(reached: &Reached, kind: FactorKind, volume_of_all: f64) -> (Option<f64>, f64) {
    let count = |stage: usize| reached.counts.get(stage).copied().unwrap_or(0.0);
    match kind {
        FactorKind::Volume => (None, volume_of_all),
        FactorKind::Mix => (None, count(0)),
        FactorKind::Rate(stage) => (Some(count(stage + 1)), count(stage)),
        FactorKind::Average => (None, reached.counts.last().copied().unwrap_or(0.0)),
    }
}

/// A factor's value; none without a denominator.
fn value_of(reached: &Reached, kind: FactorKind, volume_of_all: f64) -> Option<f64> {
    let (numerator, denominator) = counts_of(reached, kind, volume_of_all);
    match kind {
        FactorKind::Volume => Some(denominator),
        FactorKind::Mix => (volume_of_all > 0.0).then(|| denominator / volume_of_all),
        _ if denominator <= 0.0 => None,
        FactorKind::Average => Some(reached.amount?.0 / denominator),
        FactorKind::Rate(_) => Some(numerator? / denominator),
    }
}

/// The variance of a factor's logarithm, of those that don't count who entered.
fn log_variance(reached: &Reached, kind: FactorKind) -> f64 {
    match kind {
        FactorKind::Volume | FactorKind::Mix => 0.0,
        FactorKind::Rate(_) => match counts_of(reached, kind, 0.0) {
            // A stage that more reached than the one before is no share of it, so that this is no variance; it is none below 0.
            (Some(k), n) if k > 0.0 && n > 0.0 => ((1.0 - k / n) / k).max(0.0),
            _ => 0.0,
        },
        FactorKind::Average => {
            let n = reached.counts.last().copied().unwrap_or(0.0);
            let (amount, squares) = reached.amount.unwrap_or_default();
            if n <= 0.0 || amount == 0.0 {
                return 0.0;
            }
            match n > 1.0 {
                true => {
                    let variance = ((squares - amount * amount / n) / (n - 1.0)).max(0.0);
                    variance * n / (amount * amount)
                }
                // One deal says nothing of how much deals differ: it is taken to be as uncertain as it is large.
                false => 1.0,
            }
        }
    }
}

/// One segment, decomposed.
struct Part {
    /// In the earlier and in the later period.
    value: [f64; 2],
    effects: Vec<Option<f64>>,
    /// For each factor's effect its derivative by the logarithm of each factor in each period.
    slopes: Vec<Vec<[f64; 2]>>,
    /// Of each factor in each period.
    variances: Vec<[f64; 2]>,
    /// How many entered.
    entered: [f64; 2],
    has_mix: bool,
    is_zero: bool,
}

impl Part {
    fn new(
        segment: &Segment,
        volumes: [f64; 2],
        kinds: &[FactorKind],
        method: Decomposition,
    ) -> Self {
        let sides = [&segment.base, &segment.current];
        let known: Vec<[Option<f64>; 2]> = kinds
            .iter()
            .map(|kind| [0, 1].map(|period| value_of(sides[period], *kind, volumes[period])))
            .collect();
        // A factor without a value in one period is taken as unchanged: a factor before it is zero there.
        let factors: Vec<[f64; 2]> = known
            .iter()
            .map(|[base, current]| {
                let any = base.or(*current).unwrap_or(1.0);
                [base.unwrap_or(any), current.unwrap_or(any)]
            })
            .collect();
        let value =
            [0, 1].map(|period| factors.iter().map(|factor| factor[period]).product::<f64>());
        let (effects, slopes) = match method {
            Decomposition::Lmdi => lmdi(&factors, value),
            Decomposition::Shapley => shapley(&factors),
        };
        let effects = effects.into_iter().zip(&known);
        Self {
            value,
            effects: effects
                .map(|(effect, known)| known.iter().all(Option::is_some).then_some(effect))
                .collect(),
            slopes,
            variances: kinds
                .iter()
                .map(|kind| sides.map(|side| log_variance(side, *kind)))
                .collect(),
            entered: sides.map(volume),
            has_mix: kinds.contains(&FactorKind::Mix),
            is_zero: value.contains(&0.0),
        }
    }

    /// The derivatives of a factor's effect by the logarithms of all that entered and of the segment's share of them.
    fn entry_slopes(&self, at: usize, period: usize) -> (f64, f64) {
        let slopes = &self.slopes[at];
        let of_volume = slopes[0][period];
        match self.has_mix {
            true => (of_volume, slopes[1][period]),
            // All that entered are of this segment.
            false => (0.0, of_volume),
        }
    }

    /// The part of the variance that comes from what isn't the number of those that entered.
    fn own_variance(&self, at: usize) -> f64 {
        self.slopes[at]
            .iter()
            .zip(&self.variances)
            .flat_map(|(slopes, variances)| slopes.iter().zip(variances))
            .map(|(slope, variance)| slope * slope * variance)
            .sum()
    }

    /// The standard error of a factor's effect.
    fn spread(&self, at: usize, volumes: [f64; 2]) -> f64 {
        let entered = [0, 1].map(|period| {
            let (volume_slope, own) = self.entry_slopes(at, period);
            let all = volume_slope - own * f64::from(u8::from(self.has_mix));
            entered_variance(
                all,
                own,
                inverse(self.entered[period]) * own * own,
                volumes[period],
            )
        });
        (self.own_variance(at) + entered[0] + entered[1]).sqrt()
    }
}

/// The variance of `a · ln N + Σ b_s · ln n_s` where the `n_s` are independent Poisson counts with the sum `N`.
fn entered_variance(all: f64, own: f64, own_squares: f64, volume: f64) -> f64 {
    let inverse = inverse(volume);
    (all * all + 2.0 * all * own) * inverse + own_squares
}

fn inverse(count: f64) -> f64 {
    match count > 0.0 {
        true => count.recip(),
        false => 0.0,
    }
}

/// The effects of the factors, and their derivatives.
type Effects = (Vec<f64>, Vec<Vec<[f64; 2]>>);

fn lmdi(factors: &[[f64; 2]], value: [f64; 2]) -> Effects {
    let [v0, v1] = value;
    if v0 > 0.0 && v1 > 0.0 {
        let mean = log_mean(v1, v0);
        let log = (v1 / v0).ln();
        // The derivatives of L by ln V0 and by ln V1.
        let through = match log.abs() < NEAR {
            true => [
                (v1 * v0).sqrt() * (0.5 - log / 12.0),
                (v1 * v0).sqrt() * (0.5 + log / 12.0),
            ],
            false => [(mean - v0) / log, (v1 - mean) / log],
        };
        let logs: Vec<f64> = factors.iter().map(|[x0, x1]| (x1 / x0).ln()).collect();
        let slopes = logs.iter().enumerate().map(|(at, log)| {
            (0..factors.len())
                .map(|other| {
                    let direct = if other == at { mean } else { 0.0 };
                    [through[0] * log - direct, through[1] * log + direct]
                })
                .collect()
        });
        let effects = logs.iter().map(|log| mean * log).collect();
        return (effects, slopes.collect());
    }
    let zeros = |period: usize| {
        factors
            .iter()
            .filter(|factor| factor[period] == 0.0)
            .count()
    };
    let hit = match (v0 == 0.0, v1 == 0.0) {
        (true, false) => Some((0, zeros(0))),
        (false, true) => Some((1, zeros(1))),
        _ => None,
    };
    let effects: Vec<f64> = factors
        .iter()
        .map(|factor| match hit {
            Some((period, count)) if factor[period] == 0.0 => (v1 - v0) / count as f64,
            _ => 0.0,
        })
        .collect();
    // What is left is a part of the one value that isn't zero.
    let slopes = effects.iter().map(|effect| {
        let slope = match hit {
            Some((0, _)) => [0.0, *effect],
            Some(_) => [*effect, 0.0],
            None => [0.0, 0.0],
        };
        vec![slope; factors.len()]
    });
    let slopes = slopes.collect();
    (effects, slopes)
}

fn shapley(factors: &[[f64; 2]]) -> Effects {
    let count = factors.len();
    let mut effects = vec![0.0; count];
    let mut slopes = vec![vec![[0.0; 2]; count]; count];
    // A factor that is zero in both periods lets nothing change.
    if factors.contains(&[0.0, 0.0]) {
        return (effects, slopes);
    }
    // The integrands are polynomials of a degree below that of the rule.
    for (u, weight) in gauss_legendre(count / 2 + 1) {
        let at_u: Vec<f64> = factors
            .iter()
            .map(|[x0, x1]| x0 * (1.0 - u) + x1 * u)
            .collect();
        for (at, [x0, x1]) in factors.iter().enumerate() {
            let others: f64 = product_without(&at_u, at, at);
            effects[at] += weight * (x1 - x0) * others;
            slopes[at][at][0] -= weight * x0 * others;
            slopes[at][at][1] += weight * x1 * others;
            for (other, [y0, y1]) in factors.iter().enumerate().filter(|(other, _)| *other != at) {
                let rest = weight * (x1 - x0) * product_without(&at_u, at, other);
                slopes[at][other][0] += rest * (1.0 - u) * y0;
                slopes[at][other][1] += rest * u * y1;
            }
        }
    }
    (effects, slopes)
}

fn product_without(values: &[f64], one: usize, other: usize) -> f64 {
    values
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != one && *at != other)
        .map(|(_, value)| value)
        .product()
}

/// Nodes and weights of the Gauss–Legendre rule on [0, 1], exact for polynomials of a degree below twice their number.
fn gauss_legendre(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    (0..count)
        .map(|no| {
            let mut x = (std::f64::consts::PI * (no as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            // Newton's steps double the digits; ten are more than enough from this start.
            for _ in 0..10 {
                let (mut before, mut value) = (1.0, x);
                for k in 2..=count {
                    let k = k as f64;
                    (before, value) = (
                        value,
                        ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k,
                    );
                }
                slope = n * (x * value - before) / (x * x - 1.0);
                x -= value / slope;
            }
            let weight = 1.0 / ((1.0 - x * x) * slope * slope);
            ((1.0 + x) / 2.0, weight)
        })
        .collect()
}

/// An effect with its standard error, where there is one.
struct Found {
    effect: Option<f64>,
    spread: Option<f64>,
    is_zero: bool,
}

impl Found {
    fn effect_of(
        &self,
        factor: usize,
        kind: FactorKind,
        sides: [&Reached; 2],
        volumes: [f64; 2],
        whole: &WholeChange,
    ) -> Effect {
        let unchanged = whole.change.abs() <= 1e-12 * whole.scale;
        let limits = self
            .effect
            .zip(self.spread)
            .map(|(effect, spread)| two_sided(effect, spread));
        let multiplier = self.effect.filter(|_| whole.mean > 0.0);
        Effect {
            segment: None,
            factor,
            kind,
            values: [0, 1].map(|period| value_of(sides[period], kind, volumes[period])),
            counts: [0, 1].map(|period| counts_of(sides[period], kind, volumes[period])),
            effect: self.effect,
            limits,
            share: self
                .effect
                .filter(|_| !unchanged)
                .map(|effect| effect / whole.change),
            multiplier: multiplier.map(|effect| (effect / whole.mean).exp()),
            is_zero: self.is_zero,
        }
    }
}

/// A factor's effect over all segments.
fn whole_effect(
    whole: &Segment,
    parts: &[Part],
    volumes: [f64; 2],
    at: usize,
    kind: FactorKind,
    change: &WholeChange,
) -> Effect {
    let known: Vec<f64> = parts.iter().filter_map(|part| part.effects[at]).collect();
    let effect = (!known.is_empty()).then(|| known.iter().sum());
    let own: f64 = parts.iter().map(|part| part.own_variance(at)).sum();
    let entered = [0, 1].map(|period| {
        let (mut all, mut own, mut own_squares) = (0.0, 0.0, 0.0);
        for part in parts {
            let (volume_slope, own_slope) = part.entry_slopes(at, period);
            all += volume_slope - own_slope * f64::from(u8::from(part.has_mix));
            own += own_slope;
            own_squares += own_slope * own_slope * inverse(part.entered[period]);
        }
        entered_variance(all, own, own_squares, volumes[period])
    });
    let is_zero = [&whole.base, &whole.current].iter().any(|side| {
        side.counts.contains(&0.0) || side.amount.is_some_and(|(amount, _)| amount == 0.0)
    });
    let found = Found {
        effect,
        spread: (!is_zero).then(|| (own + entered[0] + entered[1]).sqrt()),
        is_zero,
    };
    found.effect_of(at, kind, [&whole.base, &whole.current], volumes, change)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn reached(counts: &[f64]) -> Reached {
        Reached {
            counts: counts.to_vec(),
            amount: None,
        }
    }

    fn rounded(effects: &[Effect]) -> Vec<Option<f64>> {
        let cents = |value: f64| (value * 100.0).round() / 100.0;
        effects
            .iter()
            .map(|effect| effect.effect.map(cents))
            .collect()
    }

    /// 1000 · 0.6 · 0.5 · 0.4 · 0.7 · 0.8 = 67.2 became 1200 · 0.5 · 0.5 · 0.45 · 0.7 · 0.75 = 70.875.
    fn example() -> Segment {
        Segment {
            base: reached(&[1000.0, 600.0, 300.0, 120.0, 84.0, 67.2]),
            current: reached(&[1200.0, 600.0, 300.0, 135.0, 94.5, 70.875]),
        }
    }

    #[test]
    fn the_example_of_the_method() {
        let effects = decompose(&[example()], false, Decomposition::Lmdi);
        // By hand: L(70.875, 67.2) = 69.0212; times ln 1.2, ln(0.5/0.6), 0, ln 1.125, 0, ln(0.75/0.8).
        let expected = [12.58, -12.58, 0.0, 8.13, 0.0, -4.45].map(Some);
        assert_eq!(rounded(&effects), expected);
        let sum: f64 = effects.iter().filter_map(|effect| effect.effect).sum();
        assert!((sum - 3.675).abs() < 1e-9);
        let ratio: f64 = effects
            .iter()
            .filter_map(|effect| effect.multiplier)
            .product();
        assert!((ratio - 70.875 / 67.2).abs() < 1e-12);
        let shapley = decompose(&[example()], false, Decomposition::Shapley);
        let sum: f64 = shapley.iter().filter_map(|effect| effect.effect).sum();
        assert!((sum - 3.675).abs() < 1e-9);
    }

    #[test]
    fn factors_that_hit_zero_share_the_change() {
        let gone = Segment {
            base: reached(&[100.0, 50.0, 20.0]),
            current: reached(&[100.0, 50.0, 0.0]),
        };
        let effects = decompose(std::slice::from_ref(&gone), false, Decomposition::Lmdi);
        assert_eq!(rounded(&effects), [Some(0.0), Some(0.0), Some(-20.0)]);
        assert!(
            effects
                .iter()
                .all(|effect| effect.limits.is_none() && effect.is_zero)
        );
        // The last stage has no rate where nobody came to it; the one before takes all.
        let nobody = Segment {
            base: gone.base.clone(),
            current: reached(&[100.0, 0.0, 0.0]),
        };
        let effects = decompose(&[nobody], false, Decomposition::Lmdi);
        assert_eq!(rounded(&effects), [Some(0.0), Some(-20.0), None]);
        assert_eq!(lmdi_effect(0.0, 20.0, 0.0, 0.4, 2), -10.0);
        assert_eq!(lmdi_effect(20.0, 0.0, 0.5, 0.5, 1), 0.0);
    }

    #[test]
    fn the_limit_at_zero_is_that_of_small_numbers() {
        // Two factors of three go to 1e-300: all but a few percent of the change is theirs, in halves.
        let tiny = 1e-150;
        let (v0, v1) = (0.5 * 0.4 * 10.0, tiny * tiny * 12.0);
        let half = lmdi_effect(v1, v0, tiny, 0.5, 1);
        assert!(
            (half / lmdi_effect(0.0, v0, 0.0, 0.5, 2) - 1.0).abs() < 0.01,
            "{half}"
        );
    }

    #[test]
    fn nothing_changed_and_nothing_there() {
        let same = Segment {
            base: reached(&[10.0, 5.0]),
            current: reached(&[10.0, 5.0]),
        };
        for effect in decompose(&[same], false, Decomposition::Lmdi) {
            assert_eq!(
                (effect.effect, effect.share, effect.multiplier),
                (Some(0.0), None, Some(1.0))
            );
        }
        let nobody = Segment {
            base: reached(&[0.0, 0.0]),
            current: reached(&[10.0, 5.0]),
        };
        let effects = decompose(&[nobody], false, Decomposition::Shapley);
        assert_eq!(rounded(&effects), [Some(5.0), None]);
        assert!(decompose(&[], true, Decomposition::Lmdi).is_empty());
    }

    #[test]
    fn a_mean_of_near_numbers_keeps_its_digits() {
        assert_eq!(log_mean(3.0, 3.0), 3.0);
        assert_eq!(log_mean(3.0, 0.0), 0.0);
        // mpmath 1.3.0 at 50 digits: (a - b) / log(a / b)
        assert!((log_mean(1.0, 1.00009) - 1.000_044_999_325_03).abs() < 1e-14);
        assert!((log_mean(1.0, 1.00011) - 1.000_054_998_991_722).abs() < 1e-12);
    }

    /// The mean of what a factor adds over all orders of all factors.
    fn over_all_orders(factors: &[[f64; 2]]) -> Vec<f64> {
        fn orders(items: Vec<usize>) -> Vec<Vec<usize>> {
            if items.len() < 2 {
                return vec![items];
            }
            items
                .iter()
                .flat_map(|first| {
                    let rest: Vec<usize> =
                        items.iter().copied().filter(|item| item != first).collect();
                    orders(rest)
                        .into_iter()
                        .map(|rest| [vec![*first], rest].concat())
                })
                .collect()
        }
        let all = orders((0..factors.len()).collect());
        let mut effects = vec![0.0; factors.len()];
        for order in &all {
            let mut at: Vec<f64> = factors.iter().map(|factor| factor[0]).collect();
            for factor in order {
                let before: f64 = at.iter().product();
                at[*factor] = factors[*factor][1];
                effects[*factor] += (at.iter().product::<f64>() - before) / all.len() as f64;
            }
        }
        effects
    }

    fn factor_values() -> impl Strategy<Value = f64> {
        prop_oneof![1 => Just(0.0), 8 => 0.05..2.0_f64]
    }

    fn a_segment(stages: usize) -> impl Strategy<Value = Segment> {
        let side = move || {
            let shares = prop::collection::vec(0.0..1.0_f64, stages);
            (shares, 1.0..50.0_f64, 1.0..3.0_f64).prop_map(|(shares, value, spread)| {
                let mut counts = Vec::new();
                let mut left = 400.0;
                for share in shares {
                    left = (left * share).floor();
                    counts.push(left);
                }
                let won = counts.last().copied().unwrap_or(0.0);
                let amount = (won * value, won * value * value * spread);
                Reached {
                    counts,
                    amount: Some(amount),
                }
            })
        };
        (side(), side()).prop_map(|(base, current)| Segment { base, current })
    }

    fn whole_value(segments: &[Segment], of: fn(&Segment) -> &Reached) -> f64 {
        segments
            .iter()
            .filter_map(|segment| Some(of(segment).amount?.0))
            .sum()
    }

    proptest! {
        #[test]
        fn shapley_is_the_mean_over_all_orders(
            factors in prop::collection::vec([factor_values(), factor_values()], 1..6)
        ) {
            let (effects, _) = shapley(&factors);
            for (found, expected) in effects.iter().zip(over_all_orders(&factors)) {
                prop_assert!((found - expected).abs() < 1e-9, "{} {}", found, expected);
            }
        }

        #[test]
        fn effects_sum_to_the_change_by_factor_and_by_segment(
            segments in prop::collection::vec(a_segment(4), 1..5),
            by_segment: bool,
            is_lmdi: bool,
        ) {
            let method = if is_lmdi { Decomposition::Lmdi } else { Decomposition::Shapley };
            let segments = if by_segment { segments } else { segments[..1].to_vec() };
            let effects = decompose(&segments, by_segment, method);
            let change = whole_value(&segments, |s| &s.current) - whole_value(&segments, |s| &s.base);
            let near = |a: f64, b: f64| (a - b).abs() < 1e-9 * (1.0 + a.abs().max(b.abs()));
            let (whole, parts): (Vec<&Effect>, Vec<&Effect>) = effects.iter().partition(|e| e.segment.is_none());
            let sum: f64 = whole.iter().filter_map(|e| e.effect).sum();
            prop_assert!(near(sum, change), "{} {}", sum, change);
            for factor in whole.iter().filter(|_| by_segment) {
                let of_factor: f64 = parts.iter().filter(|e| e.factor == factor.factor).filter_map(|e| e.effect).sum();
                prop_assert!(near(of_factor, factor.effect.unwrap_or(0.0)));
            }
            let turned: Vec<Segment> = segments
                .iter()
                .map(|s| Segment { base: s.current.clone(), current: s.base.clone() })
                .collect();
            for (one, other) in effects.iter().zip(decompose(&turned, by_segment, method)) {
                prop_assert!(near(one.effect.unwrap_or(0.0), -other.effect.unwrap_or(0.0)));
                prop_assert!(one.limits.is_some() == other.limits.is_some());
            }
        }

        /// The standard errors against numeric derivatives of the whole computation by each independent number.
        #[test]
        fn standard_errors_are_those_of_numeric_derivatives(
            numbers in prop::collection::vec([20.0..400.0_f64, 20.0..400.0_f64], 3),
            rates in prop::collection::vec([0.1..0.9_f64, 0.1..0.9_f64], 6),
            is_lmdi: bool,
        ) {
            let method = if is_lmdi { Decomposition::Lmdi } else { Decomposition::Shapley };
            let make = |n: &[[f64; 2]], r: &[[f64; 2]]| -> Vec<Segment> {
                let side = |at: usize, p: usize| {
                    let (n, r1, r2) = (n[at][p], r[2 * at][p], r[2 * at + 1][p]);
                    reached(&[n, n * r1, n * r1 * r2])
                };
                (0..n.len()).map(|at| Segment { base: side(at, 0), current: side(at, 1) }).collect()
            };
            let effects = |n: &[[f64; 2]], r: &[[f64; 2]]| decompose(&make(n, r), true, method);
            let found = effects(&numbers, &rates);
            let mut variances = vec![0.0; found.len()];
            let step = 1e-6;
            for p in 0..2 {
                for at in 0..9 {
                    let moved = |sign: f64| {
                        let (mut n, mut r) = (numbers.clone(), rates.clone());
                        match at < 3 {
                            true => n[at][p] *= (sign * step).exp(),
                            false => r[at - 3][p] *= (sign * step).exp(),
                        }
                        effects(&n, &r)
                    };
                    let variance = match at < 3 {
                        true => 1.0 / numbers[at][p],
                        false => {
                            let own = at - 3;
                            let before = numbers[own / 2][p] * if own % 2 == 1 { rates[own - 1][p] } else { 1.0 };
                            (1.0 - rates[own][p]) / (before * rates[own][p])
                        }
                    };
                    for (slot, (up, down)) in variances.iter_mut().zip(moved(1.0).iter().zip(&moved(-1.0))) {
                        let slope = (up.effect.unwrap_or(0.0) - down.effect.unwrap_or(0.0)) / (2.0 * step);
                        *slot += slope * slope * variance;
                    }
                }
            }
            for (effect, variance) in found.iter().zip(variances) {
                let (lo, hi) = effect.limits.unwrap();
                let spread = (hi - lo) / (2.0 * 1.959963984540054);
                prop_assert!((spread - variance.sqrt()).abs() < 1e-4 * (1.0 + spread), "{:?} {}", effect, variance.sqrt());
            }
        }
    }
}
