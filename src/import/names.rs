//! Names of columns as they are convenient in SQL.

use std::collections::BTreeMap;

/// What a header is called in the table: `Deal ID` is `deal_id`, so that nobody has to quote it; other
/// scripts stay as they are. One without a name is `column_3`, by its place from 1.
pub(super) fn name(header: &str, place: usize, keep: bool) -> String {
    let header = header.trim().trim_start_matches('\u{feff}');
    if header.is_empty() {
        return format!("column_{place}");
    }
    if keep {
        return header.to_owned();
    }
    let mut name = String::with_capacity(header.len());
    let mut before: Option<char> = None;
    for character in header.chars() {
        if character.is_alphanumeric() {
            // `CloseDate` is two words.
            let starts_word = character.is_uppercase()
                && before.is_some_and(|before| before.is_lowercase() || before.is_ascii_digit());
            if starts_word && !name.ends_with('_') {
                name.push('_');
            }
            name.extend(character.to_lowercase());
        } else if !name.ends_with('_') && !name.is_empty() {
            name.push('_');
        }
        before = Some(character);
    }
    let name = name.trim_end_matches('_');
    match name.chars().next() {
        None => format!("column_{place}"),
        Some(first) if first.is_numeric() => format!("_{name}"),
        Some(_) => name.to_owned(),
    }
}

/// The names of a header's columns; one that was there already gets a number: `name`, `name_2`.
pub(super) fn of_header<'a>(headers: impl Iterator<Item = &'a str>, keep: bool) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    for (at, header) in headers.enumerate() {
        let first = name(header, at + 1, keep);
        let mut unique = first.clone();
        while seen.contains_key(&unique) {
            let count = seen.entry(first.clone()).or_insert(1);
            *count += 1;
            unique = format!("{first}_{count}");
        }
        seen.insert(unique.clone(), 1);
        names.push(unique);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_no_quotes() {
        for (header, expected) in [
            ("Deal ID", "deal_id"),
            ("CloseDate", "close_date"),
            ("  amount (USD) ", "amount_usd"),
            ("客户 名称", "客户_名称"),
            ("2024 total", "_2024_total"),
            ("", "column_3"),
            ("???", "column_3"),
            ("case:concept:name", "case_concept_name"),
            ("URL", "url"),
            ("Größe", "größe"),
        ] {
            assert_eq!(name(header, 3, false), expected, "{header}");
        }
        assert_eq!(name("Deal ID", 3, true), "Deal ID");
    }

    #[test]
    fn names_are_unique() {
        let headers = ["Name", "name", "NAME", "name_2", ""];
        let names = of_header(headers.into_iter(), false);
        assert_eq!(names, ["name", "name_2", "name_3", "name_2_2", "column_5"]);
    }
}
