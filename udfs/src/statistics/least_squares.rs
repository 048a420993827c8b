//! Weighted least squares, and the variance of a combination of its coefficients where the noise isn't independent.
//!
//! `β = (Σ w x xᵀ)⁻¹ Σ w x y`. A combination `c β` misses its true value by `Σ u`, where `u = (c A x) w e`, `A` is the inverse
//! and `e` the residual of a row. What its variance is depends on which rows are correlated:
//! - each with those near it in time, [`Fit::newey_west`]: `Σ u² + 2 Σ_l (1 - l/(L+1)) Σ u_t u_{t-l}` (Bartlett's weights)
//! - those of one cluster, [`Fit::clustered`]: `Σ (Σ_cluster u)²`
//! - none, each with a variance of its own: [`Fit::robust`]
//!
//! A row can be a group of equal rows: its `weight` is how many, `y` their mean and `within` the sum of squares around it.
//!
//! Cost: a product of each two columns a row. Source: W. Newey and K. West, Econometrica 55 (1987), 703–708; H. White,
//! Econometrica 48 (1980), 817–838; K.-Y. Liang and S. Zeger, Biometrika 73 (1986), 13–22.

use std::collections::BTreeMap;

use super::newton::Symmetric;

/// A row, or a group of rows with the same covariates.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The covariates, the constant too.
    pub x: Vec<f64>,
    /// The value, or the mean of the group's.
    pub y: f64,
    /// Its weight, or how many rows the group has; above 0.
    pub weight: f64,
    /// The sum of the squares of the group's values around their mean; 0 for a row.
    pub within: f64,
}

/// A fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// One for each covariate.
    pub coefficients: Vec<f64>,
    rows: Vec<Row>,
    residuals: Vec<f64>,
    inverse: Symmetric,
}

impl Fit {
    /// Fits the rows; `None` where a covariate is a combination of others, or there are no rows.
    ///
    /// - `rows`: all with as many covariates; for [`Fit::newey_west`] in the order of time
    pub fn new(rows: Vec<Row>) -> Option<Fit> {
        let size = rows.first()?.x.len();
        let mut squares = Symmetric::zero(size);
        let mut products = vec![0.0; size];
        for row in &rows {
            squares.add_square(row.weight, &row.x);
            for (sum, x) in products.iter_mut().zip(&row.x) {
                *sum += row.weight * x * row.y;
            }
        }
        let inverse = squares.inverse()?;
        let coefficients = inverse.times(&products);
        let residuals = rows.iter().map(|row| row.y - dot(&row.x, &coefficients));
        let residuals = residuals.collect();
        Some(Fit {
            coefficients,
            residuals,
            rows,
            inverse,
        })
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What each row's value is beyond its fitted one.
    pub fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    /// The inverse of `Σ w x xᵀ`.
    pub fn inverse(&self) -> &Symmetric {
        &self.inverse
    }

    /// The value of a combination of the coefficients.
    pub fn value(&self, combination: &[f64]) -> f64 {
        dot(&self.coefficients, combination)
    }

    /// How much a row's value, times its weight, moves the combination.
    pub fn leverage(&self, combination: &[f64]) -> Vec<f64> {
        let direction = self.inverse.times(combination);
        self.rows
            .iter()
            .map(|row| dot(&direction, &row.x))
            .collect()
    }

    fn influence(&self, combination: &[f64]) -> Vec<f64> {
        let leverage = self.leverage(combination);
        let rows = self.rows.iter().zip(&self.residuals);
        rows.zip(leverage)
            .map(|((row, residual), leverage)| leverage * row.weight * residual)
            .collect()
    }

    /// The variance of a combination where each row is correlated with so many before it.
    ///
    /// - times `n / (n - columns)`, for the residuals are smaller than the noise
    pub fn newey_west(&self, combination: &[f64], lags: usize) -> f64 {
        let influence = self.influence(combination);
        let product = |lag: usize| {
            let pairs = influence.iter().skip(lag).zip(&influence);
            pairs.map(|(later, earlier)| later * earlier).sum::<f64>()
        };
        let weighted = (1..=lags.min(influence.len().saturating_sub(1)))
            .map(|lag| 2.0 * (1.0 - lag as f64 / (lags + 1) as f64) * product(lag));
        let sum = product(0) + weighted.sum::<f64>();
        sum * self.small_sample(self.rows.len() as f64)
    }

    /// The variance of a combination where the rows of one cluster are correlated; `None` where there is only one.
    ///
    /// - `clusters`: the cluster of each row
    /// - times `G / (G - 1) · (n - 1) / (n - columns)`, with `G` clusters and `n` the sum of the weights
    pub fn clustered(&self, combination: &[f64], clusters: &[usize]) -> Option<f64> {
        let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
        for (cluster, influence) in clusters.iter().zip(self.influence(combination)) {
            *sums.entry(*cluster).or_default() += influence;
        }
        let count = sums.len() as f64;
        if sums.len() < 2 {
            return None;
        }
        let n = self.weight();
        let correction = count / (count - 1.0) * (n - 1.0) / n * self.small_sample(n);
        Some(sums.values().map(|sum| sum * sum).sum::<f64>() * correction)
    }

    /// The variance of a combination where no rows are correlated, whatever the variance of each.
    ///
    /// - times `n / (n - columns)`, with `n` the sum of the weights
    pub fn robust(&self, combination: &[f64]) -> f64 {
        let leverage = self.leverage(combination);
        let rows = self.rows.iter().zip(&self.residuals).zip(leverage);
        let squares = rows.map(|((row, residual), leverage)| {
            leverage * leverage * (row.within + row.weight * residual * residual)
        });
        squares.sum::<f64>() * self.small_sample(self.weight())
    }

    fn weight(&self) -> f64 {
        self.rows.iter().map(|row| row.weight).sum()
    }

    fn small_sample(&self, n: f64) -> f64 {
        n / (n - self.coefficients.len() as f64).max(1.0)
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Ten values with a straight line, a constant and another covariate.
    fn rows(weights: &[f64; 10]) -> Vec<Row> {
        let y = [1.2, 1.9, 3.4, 3.1, 4.8, 5.1, 6.9, 6.2, 8.4, 8.8];
        let z = [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        (0..10)
            .map(|at| Row {
                x: vec![1.0, at as f64, z[at]],
                y: y[at],
                weight: weights[at],
                within: 0.0,
            })
            .collect()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    fn errors(fit: &Fit, variance: impl Fn(&Fit, &[f64]) -> f64) -> [f64; 3] {
        [0, 1, 2].map(|at| {
            let mut unit = [0.0; 3];
            unit[at] = 1.0;
            variance(fit, &unit).sqrt()
        })
    }

    /// statsmodels 0.15.0: `OLS(y, X).fit(cov_type=…)` and `WLS(y, X, weights)`; `'HAC'` with `maxlags=2, use_correction=True`,
    /// `'cluster'` with the default correction, `'HC1'`.
    #[test]
    fn standard_errors_are_those_of_statsmodels() {
        let check = |found: [f64; 3], expected: [f64; 3]| {
            found
                .into_iter()
                .zip(expected)
                .for_each(|(a, b)| close(a, b));
        };
        let fit = Fit::new(rows(&[1.0; 10])).unwrap();
        let coefficients = [1.31221649484536, 0.8652061855670102, -0.45128865979381416];
        check([0, 1, 2].map(|at| fit.coefficients[at]), coefficients);
        let robust = [
            0.28790358301431435,
            0.03487248778210734,
            0.30729146616288666,
        ];
        check(errors(&fit, Fit::robust), robust);
        check(errors(&fit, |fit, unit| fit.newey_west(unit, 0)), robust);
        check(
            errors(&fit, |fit, unit| fit.newey_west(unit, 2)),
            [
                0.18499641138206682,
                0.01851746489048071,
                0.35402111583863904,
            ],
        );
        let clusters = [0, 0, 1, 1, 1, 2, 2, 3, 3, 3];
        check(
            errors(&fit, |fit, unit| fit.clustered(unit, &clusters).unwrap()),
            [0.10432606404564378, 0.018561203135705365, 0.361873026228066],
        );
        let fit = Fit::new(rows(&[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0])).unwrap();
        let coefficients = [1.524086431522082, 0.8450587861455365, -0.6358754369240551];
        check([0, 1, 2].map(|at| fit.coefficients[at]), coefficients);
        check(
            errors(&fit, |fit, unit| fit.newey_west(unit, 2)),
            [0.19725652768605687, 0.03328349470430823, 0.2886106179575259],
        );
    }

    #[test]
    fn a_combination_of_columns_has_no_fit() {
        let mut rows = rows(&[1.0; 10]);
        rows.iter_mut()
            .for_each(|row| row.x.push(row.x[1] * 2.0 - row.x[0]));
        assert_eq!(Fit::new(rows), None);
        assert_eq!(Fit::new(Vec::new()), None);
    }

    #[test]
    fn one_cluster_has_no_variance() {
        let fit = Fit::new(rows(&[1.0; 10])).unwrap();
        assert_eq!(fit.clustered(&[0.0, 1.0, 0.0], &[7; 10]), None);
    }

    #[test]
    fn a_group_of_rows_is_its_rows() {
        let values = [
            (0.0, 1.0),
            (0.0, 3.0),
            (1.0, 4.0),
            (1.0, 5.0),
            (1.0, 9.0),
            (2.0, 8.0),
        ];
        let row = |x: f64, y: f64, weight: f64, within: f64| Row {
            x: vec![1.0, x],
            y,
            weight,
            within,
        };
        let single = Fit::new(values.map(|(x, y)| row(x, y, 1.0, 0.0)).to_vec()).unwrap();
        let grouped = Fit::new(vec![
            row(0.0, 2.0, 2.0, 2.0),
            row(1.0, 6.0, 3.0, 14.0),
            row(2.0, 8.0, 1.0, 0.0),
        ])
        .unwrap();
        close(single.coefficients[1], grouped.coefficients[1]);
        let slope = [0.0, 1.0];
        close(single.robust(&slope), grouped.robust(&slope));
    }
}
