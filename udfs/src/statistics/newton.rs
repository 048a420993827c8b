//! The maximum of a concave log-likelihood by Newton's method, and the small linear algebra that it takes.
//!
//! A step is cut where it changes a row's linear predictor too much, and halved while it leads down; the number of
//! steps is bounded. Where the likelihood only gets flatter and has no maximum (an outcome is separated by the
//! covariates), the last step tells which parameters run away. There the likelihood misses its limit by `exp` of the
//! parameter, so that each step is as long as the last, and the decrement falls to `1/e`; near a maximum it is squared.
//!
//! Source: J. Nocedal and S. Wright, Numerical Optimization (2006), chapters 3 and A.2.

/// More steps than this are never made. A likelihood with a maximum takes about 10, a separated one about 40.
const MOST_STEPS: usize = 100;
/// The most halvings of a step.
const MOST_HALVINGS: usize = 40;
/// Newton's decrement, the square of the last step in standard errors, at which the maximum is reached.
const REACHED: f64 = 1e-18;
/// The decrement below which the likelihood is flat: another step gains half of this. The sum that it is a difference
/// of is rounded to 1e-16 an event.
const FLAT: f64 = 1e-8;
/// A gain by a step that is no way up, where a step is one of rounding.
const NO_GAIN: f64 = 1e-6;
/// A step that changes a linear predictor by as much where the likelihood is flat leads to infinity. A predictor
/// that can move so far within 1e-4 standard errors has itself a standard error of 1000.
const RUNAWAY: f64 = 0.1;
/// A decrement that is less than this share of the last one is on its way to a maximum.
const SLOW: f64 = 0.1;
/// The largest change of a linear predictor within the first step, because `exp` of what is larger could flatten
/// everything at once. It doubles with each step that it cuts: a long way takes few steps.
const LARGEST_CHANGE: f64 = 5.0;
/// The decrement at which rounding, rather than the wrong direction, is why a step finds nothing better.
const ROUNDING: f64 = 1e-10;
/// A share of a column's variance, left after the columns before it, which is rounding: that of a column is 1e-16 of the
/// least share before it.
const COLLINEAR: f64 = 1e-7;
/// The same of a parameter's information. It is as good as none, and so it is near infinity.
const NO_INFORMATION: f64 = 1e-13;

/// A symmetric matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Symmetric {
    size: usize,
    values: Vec<f64>,
}

impl Symmetric {
    /// All zero.
    pub fn zero(size: usize) -> Symmetric {
        Symmetric {
            size,
            values: vec![0.0; size * size],
        }
    }

    /// The value at a row and a column.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        // Only the lower triangle is kept up to date.
        self.values[row.max(column) * self.size + row.min(column)]
    }

    /// Adds to the value at a row and a column, and at its mirror image.
    pub fn add(&mut self, row: usize, column: usize, value: f64) {
        self.values[row.max(column) * self.size + row.min(column)] += value;
    }

    /// Adds `weight · x xᵀ`.
    pub fn add_square(&mut self, weight: f64, x: &[f64]) {
        for (row, left) in x.iter().enumerate() {
            let weighted = weight * left;
            let start = row * self.size;
            for (sum, right) in self.values[start..=start + row].iter_mut().zip(x) {
                *sum += weighted * right;
            }
        }
    }

    /// Adds `weight · (x yᵀ + y xᵀ)`.
    pub fn add_product(&mut self, weight: f64, x: &[f64], y: &[f64]) {
        for row in 0..self.size {
            let start = row * self.size;
            for column in 0..=row {
                self.values[start + column] += weight * (x[row] * y[column] + y[row] * x[column]);
            }
        }
    }

    /// Adds `weight` times another matrix of the same size.
    pub fn add_scaled(&mut self, weight: f64, other: &Symmetric) {
        for (sum, value) in self.values.iter_mut().zip(&other.values) {
            *sum += weight * value;
        }
    }

    /// Multiplies all values.
    pub fn scale(&mut self, factor: f64) {
        self.values.iter_mut().for_each(|value| *value *= factor);
    }

    /// Makes all values zero.
    pub fn clear(&mut self) {
        self.values.fill(0.0);
    }

    /// The inverse; `None` where a column is a linear combination of others, up to rounding, or a value no number.
    pub fn inverse(&self) -> Option<Symmetric> {
        let factor = Cholesky::of(self)?;
        (!factor.deficient).then(|| factor.inverse())
    }

    /// The product with a vector.
    pub fn times(&self, x: &[f64]) -> Vec<f64> {
        (0..self.size)
            .map(|row| {
                let products = x.iter().enumerate();
                products.map(|(column, x)| self.get(row, column) * x).sum()
            })
            .collect()
    }

    /// Which columns are no linear combination of those before them. Of collinear ones the first stay.
    ///
    /// - `self`: products of columns that are scaled to variances of about 1
    /// - cost: a third of the size cubed
    pub fn independent(&self) -> Vec<bool> {
        let mut lower = self.clone();
        let mut kept = Vec::with_capacity(self.size);
        for row in 0..self.size {
            let left = lower.reduce_row(row, &kept);
            kept.push(left > COLLINEAR * self.get(row, row));
            lower.values[row * self.size + row] = left.max(0.0).sqrt();
        }
        kept
    }

    /// Turns a row, left of the diagonal, into that of the Cholesky factor, over the columns that are used.
    /// Returns what is left of the diagonal's value.
    fn reduce_row(&mut self, row: usize, used: &[bool]) -> f64 {
        let (above, rest) = self.values.split_at_mut(row * self.size);
        for column in 0..row {
            let start = column * self.size;
            let product = dot(&above[start..start + column], &rest[..column]);
            rest[column] = match used[column] {
                true => (rest[column] - product) / above[start + column],
                false => 0.0,
            };
        }
        rest[row] - dot(&rest[..row], &rest[..row])
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// The factorisation `D L Lᵀ D` of an information matrix, with `D` the roots of its diagonal: a parameter's unit
/// doesn't decide whether the matrix can be solved.
///
/// Near infinity a combination of parameters can be left without information, up to rounding. It gets a little, so
/// that it stays about where it is while the others move on.
#[derive(Debug)]
struct Cholesky {
    lower: Symmetric,
    roots: Vec<f64>,
    /// Whether a combination of parameters has no information.
    deficient: bool,
}

impl Cholesky {
    /// `None` when the matrix has no numbers.
    fn of(matrix: &Symmetric) -> Option<Cholesky> {
        let size = matrix.size;
        let diagonal = (0..size).map(|at| matrix.get(at, at));
        let least = NO_INFORMATION * NO_INFORMATION * diagonal.clone().fold(0.0, f64::max);
        let roots = diagonal
            .map(|value| value.max(least).max(f64::MIN_POSITIVE).sqrt())
            .collect::<Vec<_>>();
        let mut lower = Symmetric::zero(size);
        let used = vec![true; size];
        let mut deficient = false;
        for row in 0..size {
            for column in 0..=row {
                let scaled = matrix.get(row, column) / roots[row] / roots[column];
                lower.add(row, column, scaled);
            }
            let left = lower.reduce_row(row, &used);
            if !left.is_finite() {
                return None;
            }
            deficient |= left <= NO_INFORMATION;
            lower.values[row * size + row] = left.max(NO_INFORMATION).sqrt();
        }
        Some(Cholesky {
            lower,
            roots,
            deficient,
        })
    }

    /// The solution of `matrix · x = right`.
    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let size = self.roots.len();
        let mut x = right
            .iter()
            .zip(&self.roots)
            .map(|(right, root)| right / root)
            .collect::<Vec<_>>();
        for row in 0..size {
            let start = row * size;
            let product = dot(&self.lower.values[start..start + row], &x[..row]);
            x[row] = (x[row] - product) / self.lower.values[start + row];
        }
        for row in (0..size).rev() {
            x[row] /= self.lower.values[row * size + row];
            for column in 0..row {
                x[column] -= self.lower.values[row * size + column] * x[row];
            }
        }
        x.iter_mut()
            .zip(&self.roots)
            .for_each(|(x, root)| *x /= root);
        x
    }

    fn inverse(&self) -> Symmetric {
        let size = self.roots.len();
        let mut inverse = Symmetric::zero(size);
        for column in 0..size {
            let mut unit = vec![0.0; size];
            unit[column] = 1.0;
            for (row, value) in self.solve(&unit).into_iter().enumerate().skip(column) {
                inverse.add(row, column, value);
            }
        }
        inverse
    }
}

/// A log-likelihood at some parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The log-likelihood; NaN or infinite where it has none.
    pub value: f64,
    /// Its first derivatives.
    pub gradient: Vec<f64>,
    /// Its second derivatives, negative: the observed information.
    pub information: Symmetric,
}

/// A concave log-likelihood whose parameters act through a linear predictor of each row.
pub trait LogLikelihood {
    /// The value and the derivatives.
    fn at(&self, parameters: &[f64]) -> Point;

    /// The largest change of a row's linear predictor by a step.
    fn change(&self, step: &[f64]) -> f64;
}

/// Where a log-likelihood is highest.
#[derive(Debug, Clone, PartialEq)]
pub struct Maximum {
    /// The parameters.
    pub parameters: Vec<f64>,
    /// The log-likelihood.
    pub value: f64,
    /// The inverse of the observed information.
    pub covariance: Symmetric,
    /// Where there is no maximum, because the likelihood still grows at infinity: another step on the way there.
    /// `parameters` are then near the limit for those that the step leaves where they are, unless the limit leaves
    /// them without information: their variance is then huge.
    pub runaway: Option<Vec<f64>>,
}

/// Climbs to the maximum.
///
/// - `start`: parameters at which the log-likelihood is a number
/// - returns `None` when the bounded number of steps ends before a maximum, or the log-likelihood has no value at the start
/// - cost: about 10 evaluations of the log-likelihood, 40 where it is separated
pub fn maximise(likelihood: &impl LogLikelihood, start: Vec<f64>) -> Option<Maximum> {
    let mut parameters = start;
    let mut point = likelihood.at(&parameters);
    let mut largest_change = LARGEST_CHANGE;
    let mut last_decrement = f64::INFINITY;
    let mut last_value = f64::NEG_INFINITY;
    for _ in 0..MOST_STEPS {
        let factor = Cholesky::of(&point.information)?;
        let step = factor.solve(&point.gradient);
        let decrement = dot(&step, &point.gradient);
        let change = likelihood.change(&step);
        let slow = decrement >= SLOW * last_decrement;
        let gains_nothing = point.value - last_value <= NO_GAIN;
        // Without information the step is one of rounding, and only what the last one gained tells.
        let exhausted = factor.deficient && gains_nothing;
        let runaway = exhausted || (decrement <= FLAT && change >= RUNAWAY && slow);
        let better = match decrement <= REACHED || runaway {
            true => None,
            false => climb(
                likelihood,
                &parameters,
                &point,
                &step,
                largest_change / change,
            ),
        };
        let Some(better) = better else {
            let is_maximum = decrement <= ROUNDING && !runaway && !factor.deficient;
            return (is_maximum || runaway || gains_nothing).then(|| Maximum {
                parameters,
                value: point.value,
                covariance: factor.inverse(),
                runaway: (!is_maximum).then_some(step),
            });
        };
        last_decrement = decrement;
        last_value = point.value;
        (parameters, point) = better;
        if change > largest_change {
            largest_change *= 2.0;
        }
    }
    None
}

/// The first of a step, its half, its quarter … that doesn't lead down; the step is cut to `longest` of its length.
fn climb(
    likelihood: &impl LogLikelihood,
    from: &[f64],
    point: &Point,
    step: &[f64],
    longest: f64,
) -> Option<(Vec<f64>, Point)> {
    // Near the maximum the gain is smaller than the rounding of the sum.
    let slack = 1e-12 * (1.0 + point.value.abs());
    let mut length = longest.min(1.0);
    for _ in 0..MOST_HALVINGS {
        let parameters = from
            .iter()
            .zip(step)
            .map(|(from, step)| from + length * step)
            .collect::<Vec<_>>();
        let found = likelihood.at(&parameters);
        if found.value.is_finite() && found.value >= point.value - slack {
            return Some((parameters, found));
        }
        length /= 2.0;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn symmetric(rows: &[&[f64]]) -> Symmetric {
        let mut matrix = Symmetric::zero(rows.len());
        for (row, values) in rows.iter().enumerate() {
            for (column, value) in values.iter().enumerate().take(row + 1) {
                matrix.add(row, column, *value);
            }
        }
        matrix
    }

    #[test]
    fn a_system_is_solved_whatever_its_units() {
        let matrix = symmetric(&[&[4e20], &[2e8, 3e-4]]);
        let factor = Cholesky::of(&matrix).unwrap();
        let x = factor.solve(&[4e20 + 2e8 * 3.0, 2e8 + 3e-4 * 3.0]);
        assert!(
            (x[0] - 1.0).abs() < 1e-12 && (x[1] - 3.0).abs() < 1e-3,
            "{x:?}"
        );
        let inverse = factor.inverse();
        let determinant = 4e20 * 3e-4 - 4e16;
        assert!((inverse.get(1, 1) * determinant / 4e20 - 1.0).abs() < 1e-12);
        assert!((inverse.get(0, 1) * determinant / -2e8 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn of_collinear_columns_the_later_one_goes() {
        // The third is the sum of the first two, the fourth is free, the fifth is the third again.
        let matrix = symmetric(&[
            &[1.0],
            &[0.0, 1.0],
            &[1.0, 1.0, 2.0],
            &[0.5, 0.0, 0.5, 1.0],
            &[1.0, 1.0, 2.0, 0.5, 2.0],
        ]);
        assert_eq!(matrix.independent(), [true, true, false, true, false]);
        let factor = Cholesky::of(&matrix).unwrap();
        assert!(factor.deficient);
        assert!(factor.inverse().get(2, 2) > 1e10);
    }

    /// `k` of `n` tosses, in log odds: the sum over rows of a slope of their own.
    struct Toss(f64, f64);

    impl LogLikelihood for Toss {
        fn at(&self, parameters: &[f64]) -> Point {
            let (Toss(k, n), x) = (self, parameters[0]);
            let share = 1.0 / (1.0 + (-x).exp());
            Point {
                value: k * x - n * x.exp().ln_1p(),
                gradient: vec![k - n * share],
                information: symmetric(&[&[n * share * (1.0 - share)]]),
            }
        }

        fn change(&self, step: &[f64]) -> f64 {
            step[0].abs()
        }
    }

    #[test]
    fn it_climbs_from_far_away_and_says_when_there_is_no_top() {
        let top = maximise(&Toss(3.0, 4.0), vec![-20.0]).unwrap();
        assert!(
            (top.parameters[0] - 3_f64.ln()).abs() < 1e-12 && top.runaway.is_none(),
            "{top:?}"
        );
        assert!((top.covariance.get(0, 0) - 4.0 / 3.0).abs() < 1e-9);

        let flat = maximise(&Toss(4.0, 4.0), vec![0.0]).unwrap();
        assert!(flat.runaway.is_some_and(|step| step[0] > 0.1));
    }
}
