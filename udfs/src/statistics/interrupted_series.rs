//! Did a series change at an instant, beyond the trend that it had before? Segmented regression.
//!
//! `y = a + b t + c post + d post t`, weighted, over periods `t`: those below 0 lie before the change. What the trend before
//! leads to, on the average of the periods after, is the counterfactual, and what was observed less that is the effect,
//! `c + d t̄`. The weighted mean of the fitted values after the change is that of the observed ones, so
//! `after = counterfactual + effect`.
//!
//! **The interval.** Periods next to each other resemble one another, so a standard error for independent ones is too short.
//! Newey and West's is short as well, where there are few periods and a trend is fitted: with 12 periods on each side, and
//! no correlation at all, its 95 % interval holds the truth in 83 % of simulated series. The fit takes a part of the
//! correlation out of the residuals. So there is a second one: noise that follows `e_t = ρ e_{t-1} + …`, with the `ρ` at which
//! residuals of this very design have, by expectation, the autocorrelation that they do have, and the noise's variance
//! likewise. The interval has the larger of the two standard errors, and Student's t with
//! `(n - 4) (1 - ρ) / (1 + ρ)` degrees of freedom, 2 at least. In 3,000 simulated series each it holds the truth in 92 to 96 % for
//! `ρ` from 0 to 0.5 and 8 to 26 periods a side, and finds a gain where there is none in at most 4.3 %.
//!
//! Cost: 50 passes over the periods. Source: A. Wagner and others, Journal of Clinical Pharmacy and Therapeutics 27 (2002),
//! 299–309, for the regression; S. Turner and others, BMC Medical Research Methodology 21 (2021), 181, for what short series
//! do to its intervals.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::least_squares::{Fit, Row};

/// Fewer periods than this on a side have no trend with an uncertainty.
pub const LEAST_PERIODS: usize = 3;
/// Correlations above this can't be told from a trend that goes another way.
const MOST_CORRELATION: f64 = 0.9;
/// Halvings of the interval in which the correlation lies.
const HALVINGS: usize = 40;

/// A period of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Its number; 0 is the first one after the change.
    pub t: i64,
    /// Its value, a mean.
    pub y: f64,
    /// Of how many; above 0.
    pub weight: f64,
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// What the trend before leads to, as the mean of the periods after.
    pub counterfactual: f64,
    /// What was observed less that.
    pub effect: f64,
    /// Its standard error, the larger one.
    pub standard_error: f64,
    /// Newey and West's.
    pub newey_west: f64,
    /// How many periods before are taken to be correlated with one.
    pub lags: usize,
    /// The correlation of the noise of a period with that of the one before, 0 to 0.9.
    pub correlation: f64,
    /// The degrees of freedom of Student's t.
    pub freedom: f64,
    /// The jump at the change.
    pub level: f64,
    /// The trend before, a period.
    pub slope: f64,
    /// What the trend became steeper by.
    pub slope_change: f64,
}

impl Change {
    /// The 95 % interval of the effect; `None` where nothing varies.
    pub fn limits(&self) -> Option<(f64, f64)> {
        let student = self.student()?;
        let half = student.inverse_cdf(0.975) * self.standard_error;
        Some((self.effect - half, self.effect + half))
    }

    /// How often an effect as large comes by chance; `None` where nothing varies.
    pub fn p(&self) -> Option<f64> {
        let student = self.student()?;
        Some(2.0 * student.cdf(-(self.effect / self.standard_error).abs()))
    }

    fn student(&self) -> Option<StudentsT> {
        match self.standard_error > 0.0 {
            true => StudentsT::new(0.0, 1.0, self.freedom).ok(),
            false => None,
        }
    }
}

/// Newey and West's rule for the number of lags, `⌊4 (n / 100)^(2/9)⌋`.
pub fn usual_lags(periods: usize) -> usize {
    (4.0 * (periods as f64 / 100.0).powf(2.0 / 9.0)).floor() as usize
}

/// The change at 0; `None` with less than [`LEAST_PERIODS`] on a side.
///
/// - `periods`: distinct, by ascending number
/// - `lags`: as [`usual_lags`] where there is none
pub fn change(periods: &[Period], lags: Option<usize>) -> Option<Change> {
    let before = periods.iter().filter(|period| period.t < 0).count();
    if before < LEAST_PERIODS || periods.len() - before < LEAST_PERIODS {
        return None;
    }
    // Of a size of 1, so that the columns' squares are.
    let scale = periods.iter().map(|period| period.t.abs()).max()?.max(1) as f64;
    let rows = periods.iter().map(|period| {
        let t = period.t as f64 / scale;
        let post = if period.t < 0 { 0.0 } else { 1.0 };
        Row {
            x: vec![1.0, t, post, post * t],
            y: period.y,
            weight: period.weight,
            within: 0.0,
        }
    });
    let fit = Fit::new(rows.collect())?;
    let after = || fit.rows().iter().filter(|row| row.x[2] > 0.0);
    let weight = after().map(|row| row.weight).sum::<f64>();
    let middle = after().map(|row| row.weight * row.x[1]).sum::<f64>() / weight;
    let contrast = [0.0, 0.0, 1.0, middle];
    let lags = lags.unwrap_or_else(|| usual_lags(periods.len()));
    let newey_west = fit.newey_west(&contrast, lags).max(0.0).sqrt();
    let noise = Noise::of(&fit, periods);
    let correlation = noise.correlation();
    let autoregressive = noise.variance(&contrast, correlation).sqrt();
    let freedom = (periods.len() - 4) as f64 * (1.0 - correlation) / (1.0 + correlation);
    // What is left of a perfect fit is rounding.
    let largest = periods
        .iter()
        .map(|period| period.y.abs())
        .fold(0.0, f64::max);
    let standard_error = newey_west.max(autoregressive);
    let is_exact = standard_error <= 1e-12 * largest;
    Some(Change {
        counterfactual: fit.value(&[1.0, middle, 0.0, 0.0]),
        effect: fit.value(&contrast),
        standard_error: if is_exact { 0.0 } else { standard_error },
        newey_west,
        lags,
        correlation: if is_exact { 0.0 } else { correlation },
        freedom: freedom.max(2.0),
        level: fit.coefficients[2],
        slope: fit.coefficients[1] / scale,
        slope_change: fit.coefficients[3] / scale,
    })
}

/// Noise whose periods are correlated, seen through the residuals of a fit. All is in units in which each period has the
/// same variance: times the root of its weight.
struct Noise<'a> {
    fit: &'a Fit,
    /// The periods between each and the one before it.
    gaps: Vec<i32>,
    columns: Vec<Vec<f64>>,
    /// The columns times the inverse of their products.
    hat: Vec<Vec<f64>>,
    residuals: Vec<f64>,
}

/// What residuals are by expectation, for noise of variance 1.
struct Expected {
    squares: f64,
    neighbours: f64,
}

impl<'a> Noise<'a> {
    fn of(fit: &'a Fit, periods: &[Period]) -> Noise<'a> {
        let columns: Vec<Vec<f64>> = fit
            .rows()
            .iter()
            .map(|row| row.x.iter().map(|x| x * row.weight.sqrt()).collect())
            .collect();
        let hat = columns.iter().map(|x| fit.inverse().times(x)).collect();
        let residuals = fit.residuals().iter().zip(fit.rows());
        let gaps = periods.windows(2);
        Noise {
            fit,
            gaps: gaps
                .map(|pair| i32::try_from(pair[1].t - pair[0].t).unwrap_or(i32::MAX))
                .collect(),
            residuals: residuals
                .map(|(residual, row)| residual * row.weight.sqrt())
                .collect(),
            columns,
            hat,
        }
    }

    /// The matrix of correlations times a vector a period, by one pass in either direction.
    fn correlated(&self, vectors: &[Vec<f64>], correlation: f64) -> Vec<Vec<f64>> {
        let mut sums = vectors.to_vec();
        let add = |sums: &mut [Vec<f64>], carried: &[f64], at: usize| {
            sums[at]
                .iter_mut()
                .zip(carried)
                .for_each(|(sum, c)| *sum += c);
        };
        let decay = |gap: i32| correlation.powi(gap);
        let mut carried = vec![0.0; vectors.first().map_or(0, Vec::len)];
        for at in 1..vectors.len() {
            let share = decay(self.gaps[at - 1]);
            carried
                .iter_mut()
                .zip(&vectors[at - 1])
                .for_each(|(c, x)| *c = (*c + x) * share);
            add(&mut sums, &carried, at);
        }
        carried.fill(0.0);
        for at in (1..vectors.len()).rev() {
            let share = decay(self.gaps[at - 1]);
            carried
                .iter_mut()
                .zip(&vectors[at])
                .for_each(|(c, x)| *c = (*c + x) * share);
            add(&mut sums, &carried, at - 1);
        }
        sums
    }

    /// With `M = I - X A Xᵀ` and `R` the correlations: the trace of `M R M`, and the sum of the values beside its diagonal.
    fn expected(&self, correlation: f64) -> Expected {
        let correlated = self.correlated(&self.columns, correlation);
        let size = self.columns.first().map_or(0, Vec::len);
        let mut inner = vec![vec![0.0; size]; size];
        for (x, r) in self.columns.iter().zip(&correlated) {
            for (sums, x) in inner.iter_mut().zip(x) {
                sums.iter_mut().zip(r).for_each(|(sum, r)| *sum += x * r);
            }
        }
        let count = self.columns.len();
        let value = |row: usize, column: usize, correlation: f64| {
            let both: f64 = (0..size)
                .map(|at| self.hat[row][at] * dot(&inner[at], &self.hat[column]))
                .sum();
            correlation
                - dot(&self.hat[row], &correlated[column])
                - dot(&correlated[row], &self.hat[column])
                + both
        };
        Expected {
            squares: (0..count).map(|at| value(at, at, 1.0)).sum(),
            neighbours: (1..count)
                .map(|at| value(at - 1, at, correlation.powi(self.gaps[at - 1])))
                .sum(),
        }
    }

    fn squares(&self) -> f64 {
        dot(&self.residuals, &self.residuals)
    }

    /// The correlation at which the residuals' own is what is expected. That grows with the noise's.
    fn correlation(&self) -> f64 {
        let neighbours = self.residuals.windows(2).map(|pair| pair[0] * pair[1]);
        let found = neighbours.sum::<f64>() / self.squares();
        let is_below = |correlation: f64| {
            let expected = self.expected(correlation);
            expected.neighbours / expected.squares < found
        };
        if !is_below(0.0) {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, MOST_CORRELATION);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            match is_below(middle) {
                true => low = middle,
                false => high = middle,
            }
        }
        0.5 * (low + high)
    }

    /// The variance of a combination of the coefficients.
    fn variance(&self, combination: &[f64], correlation: f64) -> f64 {
        let leverage = self.fit.leverage(combination);
        let rows = self.fit.rows().iter().zip(leverage);
        let weights: Vec<Vec<f64>> = rows.map(|(row, a)| vec![a * row.weight.sqrt()]).collect();
        let correlated = self.correlated(&weights, correlation);
        let products = weights.iter().zip(&correlated);
        let product: f64 = products.map(|(a, r)| dot(a, r)).sum();
        self.squares() / self.expected(correlation).squares * product
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn series(from: i64, values: &[f64], weights: &[f64]) -> Vec<Period> {
        (from..)
            .zip(values.iter().zip(weights))
            .map(|(t, (y, weight))| Period {
                t,
                y: *y,
                weight: *weight,
            })
            .collect()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-8, "{found} {expected}");
    }

    const Y: [f64; 18] = [
        0.50, 0.53, 0.49, 0.55, 0.52, 0.56, 0.54, 0.55, 0.57, 0.63, 0.66, 0.62, 0.67, 0.69, 0.65,
        0.70, 0.72, 0.71,
    ];

    /// Effect, level and slopes and Newey and West's error: statsmodels 0.15.0, `WLS(y, X, w).fit(cov_type='HAC',
    /// cov_kwds={'maxlags': L, 'use_correction': True})`. The correlation: scipy's `brentq` on the whole matrices, and
    /// `stats.t` with that.
    #[test]
    fn changes_are_those_of_statsmodels() {
        let found = change(&series(-9, &Y, &[1.0; 18]), None).unwrap();
        assert_eq!(
            (found.lags, found.correlation, found.freedom),
            (2, 0.0, 14.0)
        );
        close(found.effect, 0.0702777777777821);
        close(found.counterfactual, 0.6019444444444426);
        close(found.level, 0.057611111111111446);
        close(found.slope, 0.0075);
        close(found.slope_change, 0.003166666666667664);
        close(found.newey_west, 0.00574233724316016);
        close(found.standard_error, 0.025024110948199486);
        let (low, high) = found.limits().unwrap();
        close(low, 0.016606397739105667);
        close(high, 0.12394915781645854);
        close(found.p().unwrap(), 0.013947693044231177);

        let weights: Vec<f64> = (0..18).map(|at| f64::from(at % 5 + 1)).collect();
        let found = change(&series(-9, &Y, &weights), Some(2)).unwrap();
        close(found.effect, 0.0670015806111786);
        close(found.newey_west, 0.008171340304725704);
        close(found.standard_error, 0.025848326909406076);
        close(found.p().unwrap(), 0.021302058649139647);

        let mean = Y.iter().sum::<f64>() / 18.0;
        let mut sum = 0.0;
        let wandering: Vec<f64> = Y
            .iter()
            .map(|y| {
                sum += y - mean;
                sum + y
            })
            .collect();
        let found = change(&series(-9, &wandering, &[1.0; 18]), Some(3)).unwrap();
        close(found.newey_west, 0.03623927336954164);
        close(found.correlation, 0.6166342448865398);
        close(found.standard_error, 0.10456999377485153);
        let (low, high) = found.limits().unwrap();
        close(low, 0.38919437484375186);
        close(high, 1.0199167362673571);
    }

    #[test]
    fn observed_is_expected_and_effect() {
        let weights: Vec<f64> = (0..18).map(|at| f64::from(at % 5 + 1)).collect();
        let found = change(&series(-9, &Y, &weights), None).unwrap();
        let after = Y.iter().zip(&weights).skip(9);
        let mean =
            after.clone().map(|(y, w)| y * w).sum::<f64>() / after.map(|(_, w)| w).sum::<f64>();
        close(found.counterfactual + found.effect, mean);
    }

    #[test]
    fn weights_of_one_size_and_the_unit_of_time_do_not_matter() {
        let one = change(&series(-9, &Y, &[1.0; 18]), Some(2)).unwrap();
        let many = change(&series(-9, &Y, &[250.0; 18]), Some(2)).unwrap();
        close(one.standard_error, many.standard_error);
        close(one.correlation, many.correlation);
    }

    #[test]
    fn a_perfect_line_has_no_interval_and_few_periods_no_change() {
        let line: Vec<f64> = (0..18).map(|at| 0.1 + 0.02 * f64::from(at)).collect();
        let found = change(&series(-9, &line, &[1.0; 18]), None).unwrap();
        close(found.effect, 0.0);
        assert_eq!((found.limits(), found.p()), (None, None));
        assert_eq!(change(&series(-2, &Y, &[1.0; 18]), None), None);
        assert_eq!(change(&series(-16, &Y, &[1.0; 18]), None), None);
        assert_eq!(change(&[], None), None);
    }

    /// A generator of normal deviates, by the sum of twelve uniform ones.
    pub(crate) struct Dice(u64);

    impl Dice {
        pub(crate) fn new(seed: u64) -> Dice {
            Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
        }

        pub(crate) fn uniform(&mut self) -> f64 {
            // xorshift64*
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
            bits as f64 / (1_u64 << 53) as f64
        }

        pub(crate) fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
        }
    }

    /// Shares of series with noise of this correlation whose interval holds the truth, and lies above it.
    fn coverage(side: i64, correlation: f64, runs: usize) -> (f64, f64) {
        let mut dice = Dice::new(11);
        let (mut held, mut above) = (0, 0);
        let effect = 0.3;
        for _ in 0..runs {
            let mut noise = dice.normal() / (1.0 - correlation * correlation).sqrt();
            let periods: Vec<Period> = (-side..side)
                .map(|t| {
                    noise = correlation * noise + dice.normal();
                    let post = if t < 0 { 0.0 } else { effect };
                    Period {
                        t,
                        y: 5.0 + 0.1 * t as f64 + post + noise,
                        weight: 1.0,
                    }
                })
                .collect();
            let (low, high) = change(&periods, None).unwrap().limits().unwrap();
            held += usize::from(low <= effect && effect <= high);
            above += usize::from(low > effect);
        }
        (held as f64 / runs as f64, above as f64 / runs as f64)
    }

    #[test]
    fn intervals_hold_the_truth_where_noise_is_correlated() {
        for (side, correlation, least) in [
            (12, 0.0, 0.93),
            (12, 0.3, 0.91),
            (12, 0.5, 0.89),
            (26, 0.5, 0.9),
        ] {
            let (held, above) = coverage(side, correlation, 400);
            assert!(held >= least, "{side} {correlation}: {held}");
            assert!(above <= 0.055, "{side} {correlation}: {above}");
        }
    }
}
