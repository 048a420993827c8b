//! Many tests at once: what that does to each one's `p`, and to its interval.
//!
//! With `m` tests, the i-th smallest `p` becomes
//!
//! - Bonferroni: `m p`
//! - Holm: the largest of `(m - j + 1) p_j` for `j <= i`; S. Holm, Scandinavian Journal of Statistics 6 (1979), 65–70
//! - Benjamini–Hochberg: the smallest of `m/j p_j` for `j >= i`; JRSS B 57 (1995), 289–300
//! - Benjamini–Yekutieli: that times `1 + 1/2 + … + 1/m`; Annals of Statistics 29 (2001), 1165–1188
//!
//! at most 1. Bonferroni's and Holm's bound the chance of any false alarm, the other two the share of false ones among the alarms.
//!
//! [`levels`] gives each test the `alpha` at which its own interval leaves out the null exactly where the adjusted `p` is below `alpha`. With
//! `R` tests that are: Bonferroni `α/m`; Holm `α/(m - R + 1)` for those and `α/(m - R)` for the others; the last two `α max(R, 1)/m`, by
//! Benjamini–Yekutieli divided by the sum above, as Benjamini and Yekutieli have it (JASA 100 (2005), 71–81). None of them ever falls when more
//! tests are below.

use crate::error::FunnelError;

/// How the number of tests is taken into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Adjustment {
    /// Not at all.
    None,
    /// By the number of tests.
    Bonferroni,
    /// Step by step, never worse than Bonferroni.
    Holm,
    /// The share of false alarms, for tests that are independent or go together.
    BenjaminiHochberg,
    /// The share of false alarms, for any tests.
    BenjaminiYekutieli,
}

impl Adjustment {
    /// Each with the name that SQL knows it by.
    pub const NAMES: [(&'static str, Adjustment); 5] = [
        ("holm", Adjustment::Holm),
        ("bh", Adjustment::BenjaminiHochberg),
        ("by", Adjustment::BenjaminiYekutieli),
        ("bonferroni", Adjustment::Bonferroni),
        ("none", Adjustment::None),
    ];

    /// The one of that name.
    ///
    /// - errors: 22023 when there is none
    pub fn parse(name: &str) -> Result<Self, FunnelError> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, adjustment)| *adjustment)
            .ok_or_else(|| FunnelError::InvalidArgument {
                message: format!("\"{name}\" is no way to adjust p"),
                hint: "Use one of 'holm', 'bh', 'by', 'bonferroni', 'none'.".to_owned(),
            })
    }

    /// The name that SQL knows it by.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, known)| *known == self);
        found.map_or("", |(name, _)| *name)
    }
}

/// The adjusted `p` of each test, in the order given; tests without a `p` aren't counted.
///
/// - errors: 22023 when a `p` is outside of 0 and 1
pub fn adjusted(ps: &[Option<f64>], by: Adjustment) -> Result<Vec<Option<f64>>, FunnelError> {
    let mut order: Vec<(usize, f64)> = Vec::new();
    for (at, p) in ps.iter().enumerate() {
        let Some(p) = *p else { continue };
        if !(0.0..=1.0).contains(&p) {
            return Err(FunnelError::InvalidArgument {
                message: format!("{p} is no p: it isn't between 0 and 1"),
                hint: "Give it the results of tests.".to_owned(),
            });
        }
        order.push((at, p));
    }
    order.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let m = order.len();
    let mut scaled: Vec<f64> = order
        .iter()
        .enumerate()
        .map(|(rank, (_, p))| p * factor(by, rank, m))
        .collect();
    match by {
        Adjustment::None | Adjustment::Bonferroni => {}
        Adjustment::Holm => {
            for at in 1..m {
                scaled[at] = scaled[at].max(scaled[at - 1]);
            }
        }
        Adjustment::BenjaminiHochberg | Adjustment::BenjaminiYekutieli => {
            for at in (1..m).rev() {
                scaled[at - 1] = scaled[at - 1].min(scaled[at]);
            }
        }
    }
    let mut result = vec![None; ps.len()];
    for ((at, _), p) in order.iter().zip(scaled) {
        result[*at] = Some(p.min(1.0));
    }
    Ok(result)
}

/// What the `p` at this rank, from 0, is multiplied by.
fn factor(by: Adjustment, rank: usize, m: usize) -> f64 {
    let all = m as f64;
    match by {
        Adjustment::None => 1.0,
        Adjustment::Bonferroni => all,
        Adjustment::Holm => (m - rank) as f64,
        Adjustment::BenjaminiHochberg => all / (rank + 1) as f64,
        Adjustment::BenjaminiYekutieli => all / (rank + 1) as f64 * harmonic(m),
    }
}

/// `1 + 1/2 + … + 1/m`.
fn harmonic(m: usize) -> f64 {
    (1..=m).map(|rank| 1.0 / rank as f64).sum()
}

/// The `alpha` of each test's own interval, in the order given.
///
/// - errors: as [`adjusted`]
pub fn levels(
    ps: &[Option<f64>],
    by: Adjustment,
    alpha: f64,
) -> Result<Vec<Option<f64>>, FunnelError> {
    let adjusted = adjusted(ps, by)?;
    let m = adjusted.iter().flatten().count();
    let below = adjusted.iter().flatten().filter(|p| **p < alpha).count();
    let level = |p: f64| match by {
        Adjustment::None => alpha,
        Adjustment::Bonferroni => alpha / m as f64,
        Adjustment::Holm if p < alpha => alpha / (m - below + 1) as f64,
        Adjustment::Holm => alpha / (m - below) as f64,
        Adjustment::BenjaminiHochberg => alpha * below.max(1) as f64 / m as f64,
        Adjustment::BenjaminiYekutieli => alpha * below.max(1) as f64 / (m as f64 * harmonic(m)),
    };
    Ok(adjusted.into_iter().map(|p| p.map(level)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(by: Adjustment, ps: &[Option<f64>], expected: &[Option<f64>]) {
        let found = adjusted(ps, by).unwrap_or_default();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
                (found, expected) => found == expected,
            };
            assert!(near, "{by:?}: {found:?} is not {expected:?}");
        }
    }

    /// statsmodels 0.15.0: `multipletests(ps, method=…)[1]` with holm, fdr_bh, fdr_by, bonferroni; R's `p.adjust` has the same.
    #[test]
    fn it_equals_statsmodels() {
        check(
            Adjustment::Holm,
            &[Some(0.01), Some(0.04), Some(0.03), Some(0.005)],
            &[Some(0.03), Some(0.06), Some(0.06), Some(0.02)],
        );
        check(
            Adjustment::BenjaminiHochberg,
            &[Some(0.01), Some(0.04), Some(0.03), Some(0.005)],
            &[Some(0.02), Some(0.04), Some(0.04), Some(0.02)],
        );
        check(
            Adjustment::BenjaminiYekutieli,
            &[Some(0.01), Some(0.04), Some(0.03), Some(0.005)],
            &[
                Some(0.04166666666666666),
                Some(0.08333333333333331),
                Some(0.08333333333333331),
                Some(0.04166666666666666),
            ],
        );
        check(
            Adjustment::Bonferroni,
            &[Some(0.01), Some(0.04), Some(0.03), Some(0.005)],
            &[Some(0.04), Some(0.16), Some(0.12), Some(0.02)],
        );
        check(
            Adjustment::Holm,
            &[
                Some(0.02),
                Some(0.02),
                Some(0.5),
                Some(1.0),
                Some(0.0),
                Some(0.03),
                Some(0.02),
            ],
            &[
                Some(0.12),
                Some(0.12),
                Some(1.0),
                Some(1.0),
                Some(0.0),
                Some(0.12),
                Some(0.12),
            ],
        );
        check(
            Adjustment::BenjaminiHochberg,
            &[
                Some(0.02),
                Some(0.02),
                Some(0.5),
                Some(1.0),
                Some(0.0),
                Some(0.03),
                Some(0.02),
            ],
            &[
                Some(0.035),
                Some(0.035),
                Some(0.5833333333333334),
                Some(1.0),
                Some(0.0),
                Some(0.041999999999999996),
                Some(0.035),
            ],
        );
        check(
            Adjustment::BenjaminiYekutieli,
            &[
                Some(0.02),
                Some(0.02),
                Some(0.5),
                Some(1.0),
                Some(0.0),
                Some(0.03),
                Some(0.02),
            ],
            &[
                Some(0.09075),
                Some(0.09075),
                Some(1.0),
                Some(1.0),
                Some(0.0),
                Some(0.10889999999999997),
                Some(0.09075),
            ],
        );
        check(
            Adjustment::Bonferroni,
            &[
                Some(0.02),
                Some(0.02),
                Some(0.5),
                Some(1.0),
                Some(0.0),
                Some(0.03),
                Some(0.02),
            ],
            &[
                Some(0.14),
                Some(0.14),
                Some(1.0),
                Some(1.0),
                Some(0.0),
                Some(0.21),
                Some(0.14),
            ],
        );
    }

    #[test]
    fn what_has_no_p_is_not_counted() {
        check(
            Adjustment::Holm,
            &[None, Some(0.02), None, Some(0.01)],
            &[None, Some(0.02), None, Some(0.02)],
        );
        check(Adjustment::BenjaminiHochberg, &[None, None], &[None, None]);
        check(Adjustment::BenjaminiYekutieli, &[], &[]);
        check(Adjustment::Bonferroni, &[Some(1.0)], &[Some(1.0)]);
    }

    #[test]
    fn what_is_no_p_is_an_error() {
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(adjusted(&[Some(wrong)], Adjustment::Holm).is_err());
        }
    }

    fn tests() -> impl Strategy<Value = Vec<Option<f64>>> {
        let p = prop_oneof![
            3 => (0.0..0.1_f64).prop_map(Some),
            1 => (0.0..=1.0_f64).prop_map(Some),
            1 => Just(Some(0.01)),
            1 => Just(None)
        ];
        proptest::collection::vec(p, 0..9)
    }

    fn any() -> impl Strategy<Value = Adjustment> {
        proptest::sample::select(Adjustment::NAMES.map(|(_, by)| by).to_vec())
    }

    proptest! {
        #[test]
        fn an_interval_at_its_level_says_what_the_adjusted_p_says(ps in tests(), by in any()) {
            let (adjusted, levels) = (adjusted(&ps, by)?, levels(&ps, by, 0.05)?);
            for ((p, adjusted), level) in ps.iter().zip(adjusted).zip(levels) {
                if let (Some(p), Some(adjusted), Some(level)) = (p, adjusted, level) {
                    // At the limit itself the last bit decides.
                    if (adjusted - 0.05).abs() > 1e-12 {
                        prop_assert_eq!(adjusted < 0.05, *p < level, "{} {} {}", p, adjusted, level);
                    }
                }
            }
        }

        #[test]
        fn smaller_ps_never_lower_a_level(ps in tests(), by in any(), shrink in 0.0..1.0_f64, which in 0..9_usize) {
            let before = levels(&ps, by, 0.05)?;
            let mut ps = ps;
            if let Some(Some(p)) = ps.get_mut(which) {
                *p *= shrink;
            }
            for (before, after) in before.iter().zip(levels(&ps, by, 0.05)?) {
                prop_assert!(after.unwrap_or(0.0) >= before.unwrap_or(0.0));
            }
        }
    }
}
