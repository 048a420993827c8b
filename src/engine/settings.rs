//! A session's settings: those of Postgres, with its defaults, units and choices.
//!
//! Most of them change nothing here. Clients set and read them all the same, and what they read back is what they set.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::error::{Error, Result};
use crate::postgres::casts::boolean;
use crate::postgres::datetime::interval;
use crate::postgres::encoding::Encoding;
use crate::postgres::zones;

/// The version of Postgres whose behaviour is the model. Clients choose their catalog queries by it.
pub const POSTGRES_VERSION: &str = "15.18";

/// A setting that there is.
#[derive(Debug)]
pub struct Definition {
    /// Its name, as Postgres writes it.
    pub name: &'static str,
    /// Its value where nothing was set.
    pub default: &'static str,
    /// What its number counts: `ms`, `kB`, `8kB`.
    pub unit: &'static str,
    /// Where it belongs.
    pub category: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Who can set it: `user`, `superuser`, `sighup`, `postmaster`, `internal`.
    pub context: &'static str,
    /// `bool`, `integer`, `real`, `string`, `enum`
    pub kind: &'static str,
    /// What it may be, in braces.
    pub choices: &'static str,
    /// The least that it may be.
    pub least: &'static str,
    /// The most that it may be.
    pub most: &'static str,
}

/// The settings of Postgres.
pub static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    include_str!("settings.txt")
        .lines()
        .filter_map(definition)
        .collect()
});

fn definition(line: &'static str) -> Option<Definition> {
    if line.starts_with('#') {
        return None;
    }
    let mut parts = line.split('|');
    let mut next = || parts.next();
    Some(Definition {
        name: next()?,
        default: next()?,
        unit: next()?,
        category: next()?,
        description: next()?,
        context: next()?,
        kind: next()?,
        choices: next()?,
        least: next()?,
        most: next()?,
    })
}

/// The settings whose changes a client is told (ParameterStatus).
const REPORTED: [&str; 13] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "standard_conforming_strings",
    "TimeZone",
    "max_identifier_length",
];

/// Settings that no plan depends on, and that clients set.
const WITHOUT_PLANS: [&str; 9] = [
    "application_name",
    "client_encoding",
    "client_min_messages",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "statement_timeout",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
];

impl Definition {
    /// Its value as it is shown: in its largest unit.
    fn shown_default(&self) -> String {
        match (self.kind, self.default.parse::<i64>()) {
            ("integer", Ok(number)) => shown(number, self.unit),
            _ => self.default.to_owned(),
        }
    }
}

/// The values of one session.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    /// What they are before they are set, where the engine was told; see [`defaults`].
    defaults: Arc<BTreeMap<String, String>>,
    /// What the client asked for when it connected: what `RESET` goes back to.
    startup: BTreeMap<String, String>,
    changed: BTreeMap<String, String>,
    /// Those of the transaction alone.
    local: BTreeMap<String, String>,
    /// What there was when the transaction began.
    before: Option<BTreeMap<String, String>>,
}

impl Settings {
    /// Settings of a session that begins.
    pub fn with_defaults(defaults: &Arc<BTreeMap<String, String>>) -> Self {
        Self {
            defaults: Arc::clone(defaults),
            ..Self::default()
        }
    }

    /// The value of a setting.
    ///
    /// # Errors
    /// 42704 for one that there isn't.
    pub fn get(&self, name: &str) -> Result<String> {
        let key = name.to_lowercase();
        let set = self.local.get(&key).or_else(|| self.changed.get(&key));
        match set.or_else(|| self.reset_value(&key)) {
            Some(value) => Ok(value.clone()),
            None => Ok(find(name)?.shown_default()),
        }
    }

    /// What `RESET` gives a setting back, by its name in lower case, where that isn't the default of Postgres.
    fn reset_value(&self, key: &str) -> Option<&String> {
        self.startup.get(key).or_else(|| self.defaults.get(key))
    }

    /// What is set so far is what the client asked for when it connected.
    pub fn keep_as_startup(&mut self) {
        self.startup.append(&mut self.changed);
    }

    /// The session's time zone, as Arrow knows it.
    pub fn zone(&self) -> String {
        let zone = self.get("TimeZone").unwrap_or_default();
        zones::of_setting(&zone).unwrap_or_else(|| "UTC".to_owned())
    }

    /// Sets a setting; `None` gives it back what it was when the session began. Returns its name as clients know it when they
    /// have to be told.
    ///
    /// # Errors
    /// 42704 for one that there isn't, 22023 for a value that it can't have, 55P02 for one that can't be set.
    pub fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<Option<&'static str>> {
        let key = name.to_lowercase();
        let (value, reported) = match (find(name), value) {
            // Applications keep values of their own under names with a point.
            (Err(_), value) if is_custom(name) => (value.map(str::to_owned), None),
            (Err(error), _) => return Err(error),
            (Ok(definition), value) => {
                let current = self.get(name)?;
                if let Some(value) = value {
                    check_context(definition, value, &current)?;
                }
                let value = value
                    .map(|value| check(definition, value, &current))
                    .transpose()?;
                (
                    value,
                    REPORTED
                        .into_iter()
                        .find(|reported| *reported == definition.name),
                )
            }
        };
        let values = if local {
            &mut self.local
        } else {
            &mut self.changed
        };
        match value {
            Some(value) => values.insert(key.clone(), value),
            None => values.remove(&key),
        };
        if !local {
            self.local.remove(&key);
        }
        Ok(reported)
    }

    /// What is set that a plan may depend on, by the names of settings.
    pub fn planned_with(&self) -> BTreeMap<String, String> {
        let set = self.startup.iter().chain(&self.changed).chain(&self.local);
        set.filter(|(name, _)| !WITHOUT_PLANS.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// A transaction begins: what is set in it goes with it when it is rolled back.
    pub fn begin(&mut self) {
        self.before.get_or_insert_with(|| self.changed.clone());
    }

    /// The transaction ends.
    pub fn end(&mut self, undo: bool) {
        self.local.clear();
        if let (Some(before), true) = (self.before.take(), undo) {
            self.changed = before;
        }
    }

    /// Whether a transaction block is open.
    pub fn in_transaction(&self) -> bool {
        self.before.is_some()
    }

    /// All settings are again what they were when the session began.
    pub fn reset(&mut self) {
        self.changed.clear();
        self.local.clear();
    }

    /// All names, values and descriptions.
    pub fn all(&self) -> Vec<(String, String, String)> {
        DEFINITIONS
            .iter()
            .filter(|definition| {
                !matches!(
                    definition.name,
                    "role" | "session_authorization" | "is_superuser"
                )
            })
            .map(|definition| {
                (
                    definition.name.to_owned(),
                    self.get(definition.name).unwrap_or_default(),
                    definition.description.to_owned(),
                )
            })
            .collect()
    }

    /// Name, value and the value after a `RESET` of each as `pg_settings` has them: in the setting's own unit.
    pub fn rows(&self) -> Vec<(String, String, String)> {
        let row = |definition: &Definition| {
            let in_unit = |value: String| match definition.kind {
                "integer" => {
                    amount(&value, definition.unit).map_or(value, |number| number.to_string())
                }
                _ => value,
            };
            let value = self.get(definition.name).unwrap_or_default();
            let reset = self.reset_value(&definition.name.to_lowercase()).cloned();
            (
                definition.name.to_owned(),
                in_unit(value),
                reset.map_or_else(|| definition.default.to_owned(), in_unit),
            )
        };
        DEFINITIONS
            .iter()
            .filter(|definition| {
                !matches!(
                    definition.name,
                    "role" | "session_authorization" | "is_superuser"
                )
            })
            .map(row)
            .collect()
    }

    /// The names and values that a client is told when it connects.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        REPORTED
            .into_iter()
            .map(|name| (name, self.get(name).unwrap_or_default()))
            .collect()
    }
}

/// Checks what an engine's settings are to be before anybody sets them; by their names in lower case.
///
/// # Errors
/// 42704 for one that there isn't, 22023 for a value that it can't have, 55P02 for one that is what it is.
pub fn defaults(wanted: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let checked = |(name, value): (&String, &String)| {
        let definition = find(name)?;
        if definition.context == "internal" {
            return Err(Error::FixedSetting(format!(
                "parameter \"{}\" cannot be changed",
                definition.name
            )));
        }
        Ok((
            name.to_lowercase(),
            check(definition, value, definition.default)?,
        ))
    };
    wanted.iter().map(checked).collect()
}

/// Whether only a superuser may set it.
pub fn is_for_superusers(name: &str) -> bool {
    find(name).is_ok_and(|definition| definition.context == "superuser")
}

/// Whether there is a setting of that name.
pub fn exists(name: &str) -> bool {
    find(name).is_ok() || is_custom(name)
}

fn is_custom(name: &str) -> bool {
    name.contains('.') && !name.starts_with("datafusion.")
}

fn find(name: &str) -> Result<&'static Definition> {
    let found = DEFINITIONS
        .iter()
        .find(|definition| definition.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Error::UnknownSetting(name.to_owned()))
}

/// The name of a setting as Postgres writes it: `TimeZone`.
pub fn written_name(name: &str) -> String {
    find(name).map_or_else(|_| name.to_owned(), |definition| definition.name.to_owned())
}

fn check_context(definition: &Definition, value: &str, current: &str) -> Result<()> {
    let name = definition.name;
    let message = match definition.context {
        "internal" => format!("parameter \"{name}\" cannot be changed"),
        "postmaster" => {
            format!("parameter \"{name}\" cannot be changed without restarting the server")
        }
        "sighup" => format!("parameter \"{name}\" cannot be changed now"),
        "backend" | "superuser-backend" => {
            format!("parameter \"{name}\" cannot be set after connection start")
        }
        _ => return Ok(()),
    };
    match value == current {
        true => Ok(()),
        false => Err(Error::FixedSetting(message)),
    }
}

/// A value as it is kept; one that says a part keeps the rest of the current one.
fn check(definition: &Definition, value: &str, current: &str) -> Result<String> {
    let name = definition.name;
    let invalid = |hint: Option<&str>| Error::InvalidSetting {
        message: format!("invalid value for parameter \"{name}\": \"{value}\""),
        hint: hint.map(str::to_owned),
    };
    match name {
        "TimeZone" => {
            let hint = "Write a name such as Asia/Shanghai, or an offset in hours such as 8.";
            return time_zone(value).ok_or_else(|| invalid(Some(hint)));
        }
        "client_encoding" => {
            let encoding = Encoding::named(value).ok_or_else(|| invalid(None))?;
            return match encoding.is_supported() {
                true => Ok(encoding.name.to_owned()),
                false => Err(Error::Unsupported {
                    message: format!(
                        "conversion between {} and UTF8 is not supported",
                        encoding.name
                    ),
                    hint: Some("Speak UTF8.".to_owned()),
                }),
            };
        }
        "DateStyle" => return date_style(value, current).ok_or_else(|| invalid(None)),
        _ => {}
    }
    match definition.kind {
        "bool" => match boolean(value) {
            Some(value) => Ok(if value { "on" } else { "off" }.to_owned()),
            None => Err(Error::InvalidSetting {
                message: format!("parameter \"{name}\" requires a Boolean value"),
                hint: None,
            }),
        },
        "enum" => {
            let choices: Vec<&str> = definition
                .choices
                .trim_matches(['{', '}'])
                .split(',')
                .map(|choice| choice.trim_matches('"'))
                .collect();
            // Truths are choices of some that have more than two.
            let word = match (boolean(value), choices.contains(&"on")) {
                (Some(true), true) => "on",
                (Some(false), true) => "off",
                _ => value,
            };
            let found = choices
                .iter()
                .find(|choice| choice.eq_ignore_ascii_case(word));
            found
                .map(|choice| (*choice).to_owned())
                .ok_or_else(|| invalid(Some(&format!("Available values: {}.", choices.join(", ")))))
        }
        "integer" => {
            let hint = match definition.unit {
                "ms" | "s" | "min" => Some(
                    "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".",
                ),
                "" => None,
                _ => Some(
                    "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
                ),
            };
            let number = amount(value, definition.unit).ok_or_else(|| invalid(hint))?;
            let bound = |text: &str| text.parse::<i64>().ok();
            let low = bound(definition.least).is_some_and(|least| number < least);
            let high = bound(definition.most).is_some_and(|most| number > most);
            match low || high {
                true => Err(Error::InvalidSetting {
                    message: format!(
                        "{number} is outside the valid range for parameter \"{name}\" ({} .. {})",
                        definition.least, definition.most
                    ),
                    hint: None,
                }),
                false => Ok(shown(number, definition.unit)),
            }
        }
        "real" => value
            .trim()
            .parse::<f64>()
            .map(|_| value.trim().to_owned())
            .map_err(|_| invalid(None)),
        _ => Ok(value.to_owned()),
    }
}

/// `ISO, MDY`: a format and an order, either of which may be left out.
fn date_style(value: &str, current: &str) -> Option<String> {
    let (mut format, mut order) = (None, None);
    // A word says it once more, or nothing else.
    fn say<'a>(said: &mut Option<&'a str>, word: &'a str) -> Option<()> {
        (*said.get_or_insert(word) == word).then_some(())
    }
    for word in value.split(',') {
        match word.trim().to_lowercase().as_str() {
            "iso" => say(&mut format, "ISO")?,
            "default" => {
                format.get_or_insert("ISO");
                order.get_or_insert("MDY");
            }
            "postgres" => say(&mut format, "Postgres")?,
            "sql" => say(&mut format, "SQL")?,
            "german" => {
                say(&mut format, "German")?;
                order.get_or_insert("DMY");
            }
            "mdy" | "us" | "noneuropean" | "noneuro" => say(&mut order, "MDY")?,
            "dmy" | "european" | "euro" => say(&mut order, "DMY")?,
            "ymd" => say(&mut order, "YMD")?,
            _ => return None,
        }
    }
    let (current_format, current_order) = current.split_once(", ")?;
    let (format, order) = (
        format.unwrap_or(current_format),
        order.unwrap_or(current_order),
    );
    Some(format!("{format}, {order}"))
}

/// A time zone as it is shown: `Asia/Shanghai` as it is called, an offset in hours as POSIX writes it, `<+08>-08`.
fn time_zone(value: &str) -> Option<String> {
    let value = value.trim();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the seconds of some hours are few"
    )]
    let seconds = match value.parse::<f64>() {
        Ok(hours) if hours.abs() < 16.0 => Some((hours * 3600.0).round() as i32),
        Ok(_) => return None,
        Err(_) => offset_of_interval(value),
    };
    if let Some(seconds) = seconds {
        return Some(zones::shown(seconds));
    }
    let zone = zones::of_setting(value)?;
    // What POSIX writes is kept as it was written.
    let is_offset = zone.starts_with(['+', '-']);
    Some(if is_offset { value.to_owned() } else { zone })
}

/// The seconds of `INTERVAL '+08:00' HOUR TO MINUTE`, as `SET TIME ZONE` takes them.
fn offset_of_interval(value: &str) -> Option<i32> {
    let (word, rest) = value.split_once('\'')?;
    word.trim().eq_ignore_ascii_case("interval").then_some(())?;
    let (text, _) = rest.split_once('\'')?;
    let interval = interval(text)?;
    let seconds = i32::try_from(interval.nanoseconds / 1_000_000_000).ok()?;
    (interval.months == 0 && interval.days == 0 && seconds.abs() < 16 * 3600).then_some(seconds)
}

const TIMES: [(&str, i64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];
const SIZES: [(&str, i64); 5] = [
    ("B", 1),
    ("kB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
];

/// How many of the smallest units one of `unit` is, and the units of its kind.
fn units(unit: &str) -> Option<(i64, &'static [(&'static str, i64)])> {
    if let Some((_, size)) = TIMES.iter().find(|(name, _)| *name == unit) {
        return Some((*size, &TIMES));
    }
    if unit == "8kB" {
        return Some((8 << 10, &SIZES));
    }
    SIZES
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, size)| (*size, SIZES.as_slice()))
}

/// A number in a setting's own unit: `30s` of a setting in milliseconds is 30000.
fn amount(value: &str, unit: &str) -> Option<i64> {
    let value = value.trim();
    let digits = value.len()
        - value
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-' || c == '+')
            .len();
    let number: f64 = value[..digits].parse().ok()?;
    let suffix = value[digits..].trim();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a number that is too large saturates"
    )]
    let whole = |number: f64| number.round() as i64;
    if suffix.is_empty() {
        return Some(whole(number));
    }
    let (own, all) = units(unit)?;
    let (_, given) = all.iter().find(|(name, _)| *name == suffix)?;
    #[allow(clippy::cast_precision_loss, reason = "units are small")]
    let ratio = *given as f64 / own as f64;
    Some(whole(number * ratio))
}

/// A number of units in the largest unit that it is whole in.
fn shown(number: i64, unit: &str) -> String {
    let Some((own, all)) = units(unit) else {
        return number.to_string();
    };
    if number <= 0 {
        return number.to_string();
    }
    let total = number.saturating_mul(own);
    let fits = |(_, size): &&(&str, i64)| *size >= own.min(1 << 10) && total % size == 0;
    match all.iter().rev().find(fits) {
        Some((name, size)) => format!("{}{name}", total / size),
        None => number.to_string(),
    }
}

/// A length of time as Postgres settings write it, in milliseconds.
pub fn milliseconds(value: &str) -> Option<u64> {
    amount(value, "ms").and_then(|number| u64::try_from(number).ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_checked_kept_and_given_back() {
        let mut settings = Settings::default();
        assert_eq!(
            settings
                .set("TimeZone", Some("Asia/Shanghai"), false)
                .unwrap(),
            Some("TimeZone")
        );
        assert_eq!(settings.get("timezone").unwrap(), "Asia/Shanghai");
        let code = |settings: &mut Settings, name: &str, value: &str| {
            settings.set(name, Some(value), false).unwrap_err().code()
        };
        assert_eq!(code(&mut settings, "timezone", "Mars/Base"), "22023");
        assert_eq!(settings.get("timezone").unwrap(), "Asia/Shanghai");
        settings.set("timezone", None, false).unwrap();
        assert_eq!(settings.get("timezone").unwrap(), "UTC");
        assert_eq!(code(&mut settings, "no_such", "1"), "42704");
        assert_eq!(code(&mut settings, "server_version", "9"), "55P02");
        assert_eq!(code(&mut settings, "statement_timeout", "soon"), "22023");
        assert_eq!(code(&mut settings, "bytea_output", "octal"), "22023");
        settings.set("my.tenant", Some("7"), false).unwrap();
        assert_eq!(settings.get("my.tenant").unwrap(), "7");
    }

    /// Expected: PostgreSQL 15.18, `SET x = …; SHOW x`.
    #[test]
    fn numbers_are_shown_in_their_largest_unit() {
        let mut settings = Settings::default();
        for (name, value, expected) in [
            ("statement_timeout", "5000", "5s"),
            ("statement_timeout", "0", "0"),
            ("statement_timeout", "1min", "1min"),
            ("statement_timeout", "1500", "1500ms"),
            ("work_mem", "65536", "64MB"),
            ("effective_cache_size", "524288", "4GB"),
            ("extra_float_digits", "3", "3"),
            ("enable_seqscan", "false", "off"),
            ("DateStyle", "iso, dmy", "ISO, DMY"),
            ("DateStyle", "sql", "SQL, DMY"),
            ("DateStyle", "us", "SQL, MDY"),
            ("DateStyle", "german", "German, DMY"),
            ("DateStyle", "default", "ISO, MDY"),
        ] {
            settings.set(name, Some(value), false).unwrap();
            assert_eq!(settings.get(name).unwrap(), expected, "{name} {value}");
        }
    }

    #[test]
    fn what_a_transaction_sets_goes_with_it() {
        let mut settings = Settings::default();
        settings.begin();
        settings.set("work_mem", Some("8MB"), false).unwrap();
        settings.set("application_name", Some("x"), true).unwrap();
        assert_eq!(settings.get("application_name").unwrap(), "x");
        settings.end(true);
        assert_eq!(settings.get("work_mem").unwrap(), "4MB");
        assert_eq!(settings.get("application_name").unwrap(), "");
    }

    #[test]
    fn a_reset_goes_back_to_what_the_client_asked_for() {
        let mut settings = Settings::default();
        settings.set("TimeZone", Some("Asia/Tokyo"), false).unwrap();
        settings.set("work_mem", Some("8MB"), false).unwrap();
        settings.keep_as_startup();
        settings.set("TimeZone", Some("UTC"), false).unwrap();
        settings.set("work_mem", Some("16MB"), false).unwrap();
        settings.set("TimeZone", None, false).unwrap();
        assert_eq!(settings.get("timezone").unwrap(), "Asia/Tokyo");
        assert_eq!(settings.planned_with()["timezone"], "Asia/Tokyo");
        let rows = settings.rows();
        let row = rows.iter().find(|row| row.0 == "work_mem").unwrap();
        assert_eq!((row.1.as_str(), row.2.as_str()), ("16384", "8192"));
        settings.reset();
        assert_eq!(settings.get("work_mem").unwrap(), "8MB");
    }

    #[test]
    fn lengths_of_time_have_units() {
        assert_eq!(milliseconds("30s"), Some(30_000));
        assert_eq!(milliseconds("500"), Some(500));
        assert_eq!(milliseconds("1 min"), Some(60_000));
        assert_eq!(milliseconds("soon"), None);
    }
}
