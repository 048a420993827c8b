//! Window functions: a value for each row, from all rows of its window.

pub mod p_adjust;
