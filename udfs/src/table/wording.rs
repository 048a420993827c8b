//! A verdict's column, and numbers as it writes them, as SQL of texts.

/// The column `verdict` of this SQL. Its cases have texts of two types, and the plan should name the one that comes.
pub fn verdict_column(verdict: &str) -> String {
    format!("CAST({verdict} AS text) AS verdict")
}

/// A number with so many decimals: `12.0`. As a decimal, because clients and engines write floats in their own ways.
pub fn fixed(number: &str, decimals: u8) -> String {
    format!("CAST(CAST(round({number}, {decimals}) AS decimal(38, {decimals})) AS text)")
}

/// A fraction in percent with one decimal: `12.5`.
pub fn percent(fraction: &str) -> String {
    fixed(&format!("100.0 * ({fraction})"), 1)
}

/// A number of points between two fractions, in percent, without its sign.
pub fn points(fraction: &str) -> String {
    percent(&format!("abs({fraction})"))
}

/// A count.
pub fn count(count: &str) -> String {
    format!("CAST({count} AS text)")
}

/// A quantity: whole from ten on, with one decimal below.
pub fn quantity(number: &str) -> String {
    format!(
        "CASE WHEN abs({number}) < 9.95 THEN {} ELSE CAST(CAST(round({number}) AS bigint) AS text) END",
        fixed(number, 1)
    )
}

/// A ratio: with two decimals below ten, with one from there on.
pub fn ratio(ratio: &str) -> String {
    format!(
        "CASE WHEN abs({ratio}) < 9.995 THEN {} ELSE {} END",
        fixed(ratio, 2),
        fixed(ratio, 1)
    )
}

/// A probability of a test: `= 0.012`, `< 0.001`.
pub fn probability(p: &str) -> String {
    format!(
        "CASE WHEN {p} < 0.001 THEN '< 0.001' ELSE '= ' || {} END",
        fixed(p, 3)
    )
}

/// A value of a dimension, which may be missing.
pub fn name(value: &str, missing: &str) -> String {
    format!("coalesce(CAST({value} AS text), {missing})")
}

/// [`fixed`] with one decimal and its sign: `+12.0`.
pub fn signed(number: &str) -> String {
    format!(
        "CASE WHEN {number} > 0 THEN '+' ELSE '' END || {}",
        fixed(&format!("({number})"), 1)
    )
}

/// A fraction in percent with exactly one decimal and the sign for it: `12.0%`.
pub fn in_percent(fraction: &str) -> String {
    format!("{} || '%'", percent(fraction))
}

/// A number of points between two fractions, in percent, with its sign: `-12.0`.
pub fn signed_points(fraction: &str) -> String {
    signed(&format!("(100.0 * ({fraction}))"))
}
