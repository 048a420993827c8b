//! JSON: an object in each line, or an array of objects.

use std::io::{BufRead, BufReader, Read};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::source::{Cell, Columns, Sink};
use super::{ImportError, Input, Options, Progress};

/// No object is longer.
const MOST_BYTES: u64 = 64 << 20;

pub(super) fn read(
    input: &Input,
    options: &Options,
    progress: &Progress,
    sink: &mut dyn Sink,
) -> Result<(), ImportError> {
    let mut bytes = BufReader::with_capacity(1 << 18, input.open(progress)?);
    let mut objects = Objects {
        columns: Columns::default(),
        options,
        progress,
        sink,
    };
    if is_array(&mut bytes).map_err(|error| ImportError::unreadable(input, &error))? {
        // It is one value, which has no rows that could be read by themselves.
        let values: Vec<Object> = serde_json::from_reader(bytes)
            .map_err(|error| ImportError::malformed(input, &error))?;
        return values
            .iter()
            .zip(1..)
            .try_for_each(|(object, number)| objects.give(number, object, b""));
    }
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = (&mut bytes).take(MOST_BYTES).read_until(b'\n', &mut line);
        let read = read.map_err(|error| ImportError::unreadable(input, &error))?;
        if read == 0 {
            break;
        }
        if read as u64 == MOST_BYTES {
            let message = format!(
                "line {number} of \"{}\" has more than {} MB",
                input.path.display(),
                MOST_BYTES >> 20
            );
            return Err(ImportError::new("54000", message));
        }
        let text = line
            .strip_prefix("\u{feff}".as_bytes())
            .unwrap_or(&line)
            .trim_ascii();
        if text.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Object>(text) {
            Ok(object) => objects.give(number, &object, text)?,
            Err(error) => objects.sink.reject(number, error.to_string(), text)?,
        }
    }
    Ok(())
}

/// An object with its members in the order of the file.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Whether the first thing in it is `[`; nothing else is taken away.
fn is_array(bytes: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let buffer = bytes.fill_buf()?;
        let start = buffer.strip_prefix("\u{feff}".as_bytes()).unwrap_or(buffer);
        let marks = buffer.len() - start.len();
        let blanks = start
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        match start.get(blanks) {
            Some(first) => {
                let first = *first;
                bytes.consume(marks + blanks);
                return Ok(first == b'[');
            }
            None if buffer.is_empty() => return Ok(false),
            None => {
                let all = buffer.len();
                bytes.consume(all);
            }
        }
    }
}

struct Objects<'a> {
    columns: Columns,
    options: &'a Options,
    progress: &'a Progress,
    sink: &'a mut dyn Sink,
}

impl Objects<'_> {
    fn give(&mut self, number: u64, object: &Object, line: &[u8]) -> Result<(), ImportError> {
        self.progress.add_rows(1);
        let mut texts: Vec<Option<(String, bool)>> = Vec::new();
        for (name, value) in &object.0 {
            let place = self.columns.place(name, self.options, self.sink);
            if texts.len() <= place {
                texts.resize(place + 1, None);
            }
            texts[place] = match value {
                Value::Null => None,
                Value::String(text) if text.contains('\0') => {
                    let reason = format!("\"{name}\" has a NUL character, which a text can't have");
                    return self.sink.reject(number, reason, line);
                }
                Value::String(text) => Some((text.clone(), true)),
                Value::Bool(_) | Value::Number(_) => Some((value.to_string(), false)),
                // Lists and objects are kept as they are written.
                Value::Array(_) | Value::Object(_) => Some((value.to_string(), true)),
            };
        }
        let cells: Vec<Cell<'_>> = texts
            .iter()
            .map(|text| match text {
                None => Cell::Null,
                Some((text, true)) => Cell::Text(text),
                Some((text, false)) => Cell::Raw(text),
            })
            .collect();
        self.sink.row(number, &cells)
    }
}
