//! Names that constraints and sequences get where nobody names them, as PostgreSQL makes them: `t_a_check`, `t_a_b_key`, `t_id_seq`.

/// The most bytes of a name.
const LONGEST: usize = 63;

/// A name that nothing has yet: of a table, its columns and a word, and with a number behind it where that is taken.
pub fn object_name(
    table: &str,
    columns: Option<&str>,
    word: &str,
    is_taken: impl Fn(&str) -> bool,
) -> String {
    let mut number = 0;
    loop {
        let label = match number {
            0 => word.to_owned(),
            number => format!("{word}{number}"),
        };
        let name = joined(table, columns, &label);
        if !is_taken(&name) {
            return name;
        }
        number += 1;
    }
}

/// The parts, each as long as there is room for all of them: what is cut off is the longer one's.
fn joined(table: &str, columns: Option<&str>, label: &str) -> String {
    let between = if columns.is_some() { 2 } else { 1 };
    let room = LONGEST.saturating_sub(label.len() + between);
    let (mut first, mut second) = (table.len(), columns.map_or(0, str::len));
    while first + second > room {
        match first > second {
            true => first -= 1,
            false => second -= 1,
        }
    }
    let table = &table[..table.floor_char_boundary(first)];
    match columns {
        Some(columns) => {
            let columns = &columns[..columns.floor_char_boundary(second)];
            format!("{table}_{columns}_{label}")
        }
        None => format!("{table}_{label}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PostgreSQL 15.18: the names of constraints that weren't given any.
    #[test]
    fn names_are_those_that_postgres_gives() {
        let free = |_: &str| false;
        assert_eq!(object_name("t", Some("a"), "check", free), "t_a_check");
        assert_eq!(object_name("t", None, "check", free), "t_check");
        let taken = |name: &str| ["t_a_key", "t_a_key1"].contains(&name);
        assert_eq!(object_name("t", Some("a"), "key", taken), "t_a_key2");
        let long = "x".repeat(63);
        let name = object_name(&long, Some("y"), "check", free);
        assert_eq!(name, format!("{}_y_check", "x".repeat(55)));
        let name = object_name(&long, Some(&"y".repeat(63)), "key", free);
        assert_eq!(name, format!("{}_{}_key", "x".repeat(29), "y".repeat(29)));
        assert!(object_name(&"漏".repeat(30), Some("a"), "key", free).len() <= 63);
    }
}
