//! What is said of a sequence, as Postgres understands it.

use crate::error::{ChangeFault, Error, Result};
use crate::postgres::types;
use crate::sql::SequenceOptions;
use crate::tables::{SequenceDefinition, Sequences};

/// A sequence that is about to be made.
///
/// # Errors
/// 22023 for what can't be said of one.
pub(super) fn new_sequence(
    schema: &str,
    name: &str,
    kind: &str,
    options: &SequenceOptions,
) -> Result<SequenceDefinition> {
    let definition = SequenceDefinition {
        id: Sequences::new_id(),
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        start: 0,
        increment: 1,
        least: 0,
        most: 0,
        cache: 1,
        cycle: false,
        owner: None,
        last: 0,
        called: false,
    };
    changed(definition, options, true)
}

/// The least and the greatest number of a type.
fn limits(kind: &str) -> (i64, i64) {
    match kind {
        "int2" => (i16::MIN.into(), i16::MAX.into()),
        "int4" => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

pub(super) fn invalid(message: String) -> Error {
    ChangeFault::Other("22023").error(message).into()
}

/// A sequence with what is said of it, as Postgres understands it.
pub(super) fn changed(
    mut definition: SequenceDefinition,
    options: &SequenceOptions,
    new: bool,
) -> Result<SequenceDefinition> {
    let (mut new_least, mut new_most) = (new, new);
    if let Some(kind) = &options.kind {
        let kind = types::alias(kind);
        if !["int2", "int4", "int8"].contains(&kind) {
            let message = "sequence type must be smallint, integer, or bigint";
            return Err(invalid(message.to_owned()));
        }
        // Bounds that were the type's are the new one's.
        let (least, most) = limits(&definition.kind);
        new_least |= definition.least == least;
        new_most |= definition.most == most;
        kind.clone_into(&mut definition.kind);
    }
    let (type_least, type_most) = limits(&definition.kind);
    let kind = types::sql_name(&definition.kind, -1);
    if let Some(increment) = options.increment {
        definition.increment = increment;
    }
    if definition.increment == 0 {
        return Err(invalid("INCREMENT must not be zero".to_owned()));
    }
    let upwards = definition.increment > 0;
    definition.cycle = options.cycle.unwrap_or(definition.cycle);
    match options.most {
        Some(Some(most)) => definition.most = most,
        None if !new_most => {}
        _ => definition.most = if upwards { type_most } else { -1 },
    }
    match options.least {
        Some(Some(least)) => definition.least = least,
        None if !new_least => {}
        _ => definition.least = if upwards { 1 } else { type_least },
    }
    let (least, most) = (definition.least, definition.most);
    for (word, value) in [("MAXVALUE", most), ("MINVALUE", least)] {
        if !(type_least..=type_most).contains(&value) {
            return Err(invalid(format!(
                "{word} ({value}) is out of range for sequence data type {kind}"
            )));
        }
    }
    if least >= most {
        return Err(invalid(format!(
            "MINVALUE ({least}) must be less than MAXVALUE ({most})"
        )));
    }
    match options.start {
        Some(start) => definition.start = start,
        None if new => definition.start = if upwards { least } else { most },
        None => {}
    }
    let within = |word: &str, value: i64| {
        if value < least {
            let message = format!("{word} value ({value}) cannot be less than MINVALUE ({least})");
            return Err(invalid(message));
        }
        if value > most {
            let message =
                format!("{word} value ({value}) cannot be greater than MAXVALUE ({most})");
            return Err(invalid(message));
        }
        Ok(())
    };
    within("START", definition.start)?;
    match options.restart {
        None if !new => {}
        restart => {
            definition.last = restart.flatten().unwrap_or(definition.start);
            definition.called = false;
        }
    }
    within("RESTART", definition.last)?;
    if let Some(cache) = options.cache {
        if cache <= 0 {
            return Err(invalid(format!(
                "CACHE ({cache}) must be greater than zero"
            )));
        }
        definition.cache = cache;
    }
    Ok(definition)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// PostgreSQL 15.18's messages, all of them with 22023.
    #[test]
    fn what_cant_be_a_sequence_is_said_as_postgres_says_it() {
        let options = SequenceOptions::default;
        for (options, expected) in [
            (
                SequenceOptions {
                    increment: Some(0),
                    ..options()
                },
                "INCREMENT must not be zero",
            ),
            (
                SequenceOptions {
                    start: Some(5),
                    increment: Some(-2),
                    ..options()
                },
                "START value (5) cannot be greater than MAXVALUE (-1)",
            ),
            (
                SequenceOptions {
                    start: Some(0),
                    ..options()
                },
                "START value (0) cannot be less than MINVALUE (1)",
            ),
            (
                SequenceOptions {
                    least: Some(Some(10)),
                    most: Some(Some(1)),
                    ..options()
                },
                "MINVALUE (10) must be less than MAXVALUE (1)",
            ),
            (
                SequenceOptions {
                    kind: Some("smallint".to_owned()),
                    most: Some(Some(40_000)),
                    ..options()
                },
                "MAXVALUE (40000) is out of range for sequence data type smallint",
            ),
            (
                SequenceOptions {
                    cache: Some(0),
                    ..options()
                },
                "CACHE (0) must be greater than zero",
            ),
            (
                SequenceOptions {
                    kind: Some("text".to_owned()),
                    ..options()
                },
                "sequence type must be smallint, integer, or bigint",
            ),
        ] {
            let error = new_sequence("public", "s", "int8", &options).unwrap_err();
            assert_eq!(
                (error.code(), error.to_string().as_str()),
                ("22023", expected)
            );
        }
    }

    #[test]
    fn bounds_follow_the_type_and_the_direction() {
        let built = |kind: &str, increment| {
            let options = SequenceOptions {
                increment: Some(increment),
                ..SequenceOptions::default()
            };
            let built = new_sequence("public", "s", kind, &options).unwrap();
            (
                built.least,
                built.most,
                built.start,
                built.last,
                built.called,
            )
        };
        assert_eq!(built("int4", 1), (1, 2_147_483_647, 1, 1, false));
        assert_eq!(built("int2", -1), (-32768, -1, -1, -1, false));
        let small = new_sequence("public", "s", "int4", &SequenceOptions::default()).unwrap();
        let wider = SequenceOptions {
            kind: Some("bigint".to_owned()),
            ..SequenceOptions::default()
        };
        assert_eq!(changed(small, &wider, false).unwrap().most, i64::MAX);
    }
}
