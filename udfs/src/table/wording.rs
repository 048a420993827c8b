//! Numbers as a verdict writes them, as SQL of texts.

/// A fraction in percent with one decimal: `12.5`.
pub fn percent(fraction: &str) -> String {
    format!("CAST(round(100.0 * ({fraction}), 1) AS text)")
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
        "CASE WHEN abs({number}) < 9.95 THEN CAST(round({number}, 1) AS text) ELSE CAST(CAST(round({number}) AS bigint) AS text) END"
    )
}

/// A ratio with two decimals.
pub fn ratio(ratio: &str) -> String {
    format!("CAST(round({ratio}, 2) AS text)")
}

/// A probability of a test: `= 0.012`, `< 0.001`.
pub fn probability(p: &str) -> String {
    format!("CASE WHEN {p} < 0.001 THEN '< 0.001' ELSE '= ' || CAST(round({p}, 3) AS text) END")
}

/// A value of a dimension, which may be missing.
pub fn name(value: &str, missing: &str) -> String {
    format!("coalesce(CAST({value} AS text), {missing})")
//! Numbers in the sentences that functions write, as SQL of texts.

/// `x` with one digit after the point, `12.3`.
pub fn number(x: &str) -> String {
    format!("CAST(CAST(round({x}, 1) AS decimal(38, 1)) AS text)")
}

/// [`number`] with its sign, `+12.3`.
pub fn signed(x: &str) -> String {
    format!(
        "CASE WHEN {x} > 0 THEN '+' ELSE '' END || {}",
        number(&format!("({x})"))
    )
}

/// A fraction in percent, `12.3 %`.
pub fn percent(x: &str) -> String {
    format!("{} || ' %'", number(&format!("100.0 * ({x})")))
}

/// A difference of fractions in points, `-12.3`.
pub fn points(x: &str) -> String {
    signed(&format!("(100.0 * ({x}))"))
}

/// A count.
pub fn count(x: &str) -> String {
    format!("CAST({x} AS text)")
}
