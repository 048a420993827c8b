//! JSON with a part set, added or taken away: `jsonb_set`, `jsonb - key`, `#-`, and several keys at once.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::logical_expr::ScalarUDF;
use serde_json::Value;

use super::documents::read;
use crate::error::Fault;
use crate::postgres::casts::array_elements;
use crate::postgres::function::{Call, Result, Returns, fault, function};
use crate::postgres::json::written;

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let document = Returns::Type("jsonb");
    let boolean = Returns::Type("bool");
    vec![
        function("jsonb_set", document, |call| {
            changed(call, |at, value, create| match create {
                Some(false) => Change::Replace(at, value),
                _ => Change::Set(at, value),
            })
        }),
        function("jsonb_insert", document, |call| {
            changed(call, |at, value, after| {
                Change::Insert(at, value, after == Some(true))
            })
        }),
        without(),
        function("pg_json_without_path", document, |call| {
            call.map_texts(2, |texts| {
                let mut value = read(texts[0])?;
                Change::Remove(steps(texts[1])?).apply(&mut value);
                Ok(Some(written(&value)))
            })
        }),
        function("pg_json_exists_any", boolean, |call| exists(call, false)),
        function("pg_json_exists_all", boolean, |call| exists(call, true)),
    ]
}

/// `document - key`
pub fn without() -> ScalarUDF {
    function("pg_json_without", Returns::Type("jsonb"), taken)
}

/// The steps of a path, `{a,0,b}`.
fn steps(text: &str) -> Result<Vec<String>> {
    match array_elements(text) {
        Some(steps) => Ok(steps.into_iter().flatten().collect()),
        None => fault(
            Fault::InvalidText,
            format!("malformed array literal: \"{text}\""),
        ),
    }
}

enum Change {
    /// Sets what is there, or adds it.
    Set(Vec<String>, Value),
    /// Sets what is there.
    Replace(Vec<String>, Value),
    /// Adds before, or after, what is there.
    Insert(Vec<String>, Value, bool),
    /// Takes away.
    Remove(Vec<String>),
}

impl Change {
    fn path(&self) -> &[String] {
        match self {
            Change::Set(path, _)
            | Change::Replace(path, _)
            | Change::Insert(path, ..)
            | Change::Remove(path) => path,
        }
    }

    fn apply(&self, value: &mut Value) {
        let Some((last, before)) = self.path().split_last() else {
            return;
        };
        let mut place = value;
        for step in before {
            let next = match place {
                Value::Object(map) => map.get_mut(step),
                Value::Array(items) => index(step, items.len()).and_then(|at| items.get_mut(at)),
                _ => None,
            };
            match next {
                Some(next) => place = next,
                None => return,
            }
        }
        match place {
            Value::Object(map) => match self {
                Change::Set(_, new) => drop(map.insert(last.clone(), new.clone())),
                Change::Replace(_, new) if map.contains_key(last) => {
                    drop(map.insert(last.clone(), new.clone()));
                }
                Change::Insert(_, new, _) if !map.contains_key(last) => {
                    drop(map.insert(last.clone(), new.clone()));
                }
                Change::Remove(_) => drop(map.remove(last)),
                _ => {}
            },
            Value::Array(items) => self.apply_to_items(items, last),
            _ => {}
        }
    }

    fn apply_to_items(&self, items: &mut Vec<Value>, step: &str) {
        let at = index(step, items.len());
        let before_all = step.trim().starts_with('-');
        match (self, at) {
            (Change::Set(_, new) | Change::Replace(_, new), Some(at)) => items[at] = new.clone(),
            (Change::Insert(_, new, after), Some(at)) => {
                items.insert(at + usize::from(*after), new.clone());
            }
            (Change::Remove(_), Some(at)) => drop(items.remove(at)),
            (Change::Set(_, new) | Change::Insert(_, new, _), None) => match before_all {
                true => items.insert(0, new.clone()),
                false => items.push(new.clone()),
            },
            (Change::Replace(..) | Change::Remove(_), None) => {}
        }
    }
}

/// The place in an array that a step names, counted from its end where it is negative.
fn index(step: &str, length: usize) -> Option<usize> {
    let at: i64 = step.trim().parse().ok()?;
    let at = match at < 0 {
        true => i64::try_from(length).ok()? + at,
        false => at,
    };
    usize::try_from(at).ok().filter(|at| *at < length)
}

fn changed(
    call: &Call,
    change: impl Fn(Vec<String>, Value, Option<bool>) -> Change,
) -> Result<ArrayRef> {
    let flag = call.texts(3)?;
    let flag = flag
        .iter()
        .flatten()
        .next()
        .map(|text| text.starts_with('t'));
    call.map_texts(3, |texts| {
        let mut value = read(texts[0])?;
        change(steps(texts[1])?, read(texts[2])?, flag).apply(&mut value);
        Ok(Some(written(&value)))
    })
}

/// `document - key`, `document - place`, `document - keys`
fn taken(call: &Call) -> Result<ArrayRef> {
    let by_number = call.arrays[1].data_type().is_integer();
    let by_list = matches!(
        call.arrays[1].data_type(),
        datafusion::arrow::datatypes::DataType::List(_)
    );
    call.map_texts(2, |texts| {
        let mut value = read(texts[0])?;
        let keys = match by_list {
            true => steps(texts[1])?,
            false => vec![texts[1].to_owned()],
        };
        match &mut value {
            Value::Object(map) if !by_number => map.retain(|key, _| !keys.contains(key)),
            Value::Array(items) if by_number => {
                if let Some(at) = index(texts[1], items.len()) {
                    items.remove(at);
                }
            }
            Value::Array(items) => items.retain(|item| {
                !item
                    .as_str()
                    .is_some_and(|text| keys.iter().any(|key| key == text))
            }),
            _ => return fault(Fault::InvalidArgument, "cannot delete from scalar"),
        }
        Ok(Some(written(&value)))
    })
}

/// `?|` and `?&`
fn exists(call: &Call, all: bool) -> Result<ArrayRef> {
    let (documents, lists) = (call.texts(0)?, call.texts(1)?);
    let answer = |row: usize| -> Result<Option<bool>> {
        if documents.is_null(row) || lists.is_null(row) {
            return Ok(None);
        }
        let value = read(documents.value(row))?;
        let has = |key: &String| match &value {
            Value::Object(map) => map.contains_key(key),
            Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
            Value::String(text) => text == key,
            _ => false,
        };
        let keys = steps(lists.value(row))?;
        Ok(Some(match all {
            true => keys.iter().all(has),
            false => keys.iter().any(has),
        }))
    };
    Ok(Arc::new(
        (0..call.rows)
            .map(answer)
            .collect::<Result<BooleanArray>>()?,
    ))
}
