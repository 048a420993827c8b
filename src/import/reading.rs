//! What a text means: a number, a moment, a yes or no.

use std::borrow::Cow;

use chrono::{NaiveDate, NaiveTime};

use crate::postgres::datetime::MONTHS;
pub use crate::postgres::style::DateOrder;

/// What is written between the digits of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `1,234.56`
    Point,
    /// `1.234,56`
    Comma,
}

/// How the texts of a column are read, and so its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// `true`, `f`, `yes`, `否` and the like: `boolean`.
    Boolean,
    /// Whole numbers: `bigint`.
    Bigint(Style),
    /// Decimals: `numeric(precision, scale)`.
    Numeric(Style, u8, i8),
    /// Other numbers: `double precision`.
    Double(Style),
    /// `12.5%` is 0.125: `double precision`.
    Percent(Style),
    /// Days: `date`.
    Date(DateOrder),
    /// Moments without a zone: `timestamp`.
    Timestamp(DateOrder),
    /// Moments with a zone: `timestamptz`.
    Timestamptz(DateOrder),
    /// Anything: `text`.
    Text,
}

impl Reading {
    /// The type in SQL.
    pub fn sql_type(self) -> String {
        match self {
            Reading::Boolean => "boolean".to_owned(),
            Reading::Bigint(_) => "bigint".to_owned(),
            Reading::Numeric(_, precision, scale) => format!("numeric({precision},{scale})"),
            Reading::Double(_) | Reading::Percent(_) => "double precision".to_owned(),
            Reading::Date(_) => "date".to_owned(),
            Reading::Timestamp(_) => "timestamp".to_owned(),
            Reading::Timestamptz(_) => "timestamptz".to_owned(),
            Reading::Text => "text".to_owned(),
        }
    }

    /// The reading of a type that a user names.
    pub fn of_type(name: &str, order: DateOrder) -> Option<Self> {
        let name = name.trim().to_lowercase();
        let point = Style::Point;
        Some(match name.as_str() {
            "boolean" | "bool" => Reading::Boolean,
            "bigint" | "int" | "integer" | "int4" | "int8" | "smallint" => Reading::Bigint(point),
            "double precision" | "double" | "float" | "float8" | "real" => Reading::Double(point),
            "numeric" | "decimal" => Reading::Numeric(point, 38, 6),
            "date" => Reading::Date(order),
            "timestamp" | "timestamp without time zone" => Reading::Timestamp(order),
            "timestamptz" | "timestamp with time zone" => Reading::Timestamptz(order),
            "text" | "varchar" | "character varying" => Reading::Text,
            other => {
                let inner = other
                    .strip_prefix("numeric(")
                    .or(other.strip_prefix("decimal("))?
                    .strip_suffix(')')?;
                let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
                let (precision, scale): (u8, i8) =
                    (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
                let fits = (1..=38).contains(&precision)
                    && (0..=38).contains(&scale)
                    && scale.unsigned_abs() <= precision;
                fits.then_some(Reading::Numeric(point, precision, scale))?
            }
        })
    }
}

impl Reading {
    /// The reading of the same texts for a column of another type: what was found out about how they are written stays.
    /// A type that has no reading of its own is read as text.
    #[must_use]
    pub fn as_type(self, sql_type: &str, order: DateOrder) -> Self {
        let style = match self {
            Reading::Bigint(style) | Reading::Numeric(style, ..) | Reading::Double(style) => style,
            // 12% is a number where one is wanted.
            Reading::Percent(_)
                if Self::of_type(sql_type, order) == Some(Reading::Double(Style::Point)) =>
            {
                return self;
            }
            _ => Style::Point,
        };
        let order = match self {
            Reading::Date(found) | Reading::Timestamp(found) | Reading::Timestamptz(found) => found,
            _ => order,
        };
        match Self::of_type(sql_type, order).unwrap_or(Reading::Text) {
            Reading::Bigint(_) => Reading::Bigint(style),
            Reading::Numeric(_, precision, scale) => Reading::Numeric(style, precision, scale),
            Reading::Double(_) => Reading::Double(style),
            // The session's zone is SQL's to know.
            Reading::Timestamptz(_) if matches!(self, Reading::Date(_) | Reading::Timestamp(_)) => {
                Reading::Timestamp(order)
            }
            other => other,
        }
    }
}

/// What a text means, where it is no text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// The digits of a decimal at the column's scale.
    Decimal(i128),
    Double(f64),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970.
    Micros(i64),
    Text(&'a str),
}

impl Reading {
    /// What `text` means; `None` where it means nothing of that type.
    pub fn value<'a>(self, text: &'a str) -> Option<Value<'a>> {
        match self {
            Reading::Text => Some(Value::Text(text)),
            _ => self.meaning(&half_width(text.trim())),
        }
    }

    /// The same of a text that is more than itself.
    fn meaning(self, trimmed: &str) -> Option<Value<'static>> {
        Some(match self {
            Reading::Text => return None,
            Reading::Boolean => Value::Boolean(boolean(trimmed)?),
            Reading::Bigint(style) => {
                let number = Number::read(trimmed, style)?;
                if number.fraction.bytes().any(|digit| digit != b'0') || number.exponent.is_some() {
                    return None;
                }
                Value::Integer(number.whole()?)
            }
            Reading::Numeric(style, precision, scale) => {
                let number = Number::read(trimmed, style)?;
                Value::Decimal(number.at_scale(precision, scale.unsigned_abs())?)
            }
            Reading::Double(style) => Value::Double(Number::read(trimmed, style)?.double()?),
            Reading::Percent(style) => {
                let number = trimmed.strip_suffix('%')?;
                Value::Double(Number::read(number.trim_end(), style)?.double()? / 100.0)
            }
            Reading::Date(order) => {
                let moment = Moment::read(trimmed, order)?;
                match moment.time {
                    None => Value::Date(moment.days()),
                    // Excel writes days with midnight behind.
                    Some(time) if time == NaiveTime::MIN && moment.offset.is_none() => {
                        Value::Date(moment.days())
                    }
                    Some(_) => return None,
                }
            }
            Reading::Timestamp(order) => {
                let moment = Moment::read(trimmed, order)?;
                match moment.offset {
                    None => Value::Micros(moment.micros()),
                    Some(_) => return None,
                }
            }
            Reading::Timestamptz(order) => Value::Micros(Moment::read(trimmed, order)?.micros()),
        })
    }
}

/// The text with `１２．５％` as `12.5%`, as those write it who write Chinese.
pub fn half_width(text: &str) -> Cow<'_, str> {
    let is_wide = |character: &char| matches!(character, '\u{ff01}'..='\u{ff5e}');
    if text.is_ascii() || !text.chars().any(|character| is_wide(&character)) {
        return Cow::Borrowed(text);
    }
    let narrow = |character: char| match character {
        // They stand as far from the others as those of ASCII.
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xff01 + 0x21).unwrap_or(character)
        }
        other => other,
    };
    Cow::Owned(text.chars().map(narrow).collect())
}

/// Yes or no, as programs and people write it.
pub fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "t", "yes", "y", "是"]) {
        Some(true)
    } else if is(&["false", "f", "no", "n", "否"]) {
        Some(false)
    } else {
        None
    }
}

/// A number as it is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// `$` of `$12`, and `¥` for `￥12` and `12元`.
    pub currency: Option<char>,
    pub negative: bool,
    /// Digits before the point, without what groups them.
    pub digits: Cow<'a, str>,
    /// Digits behind it.
    pub fraction: &'a str,
    /// The power of ten, `e5`.
    pub exponent: Option<i32>,
}

const CURRENCIES: [char; 6] = ['$', '€', '£', '¥', '￥', '₹'];

impl<'a> Number<'a> {
    /// Reads `-1,234.50`, `1e5`, `$12`, `12 €`, `12元`, `(12)` for what is owed.
    pub fn read(text: &'a str, style: Style) -> Option<Self> {
        // Most texts are no numbers; most of those that are begin with a digit.
        let first = text.chars().next()?;
        if !(first.is_ascii_digit() || "+-(.".contains(first) || CURRENCIES.contains(&first)) {
            return None;
        }
        let (owed, text) = match text
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'))
        {
            Some(inner) => (true, inner.trim()),
            None => (false, text),
        };
        let (negative, text) = sign(text);
        let (currency, text) = currency_of(text);
        let (second_negative, text) = match currency {
            Some(_) if !negative => sign(text),
            _ => (false, text),
        };
        let (text, exponent) = match text.find(['e', 'E']) {
            Some(at) => {
                let (mantissa, power) = (&text[..at], &text[at + 1..]);
                let power = power.strip_prefix('+').unwrap_or(power);
                let digits = power.strip_prefix('-').unwrap_or(power);
                let written = (1..=3).contains(&digits.len())
                    && digits.bytes().all(|digit| digit.is_ascii_digit());
                written.then_some(())?;
                (mantissa, Some(power.parse().ok()?))
            }
            None => (text, None),
        };
        let (point, group) = match style {
            Style::Point => ('.', ','),
            Style::Comma => (',', '.'),
        };
        let (whole, fraction) = text.split_once(point).unwrap_or((text, ""));
        let digits = ungrouped(whole, group)?;
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        (is_digits(fraction) && !(digits.is_empty() && fraction.is_empty())).then_some(())?;
        Some(Self {
            currency,
            negative: negative ^ second_negative ^ owed,
            digits,
            fraction,
            exponent,
        })
    }

    /// Whether it is written as numbers are not: `007`.
    pub fn has_leading_zero(&self) -> bool {
        self.digits.len() > 1 && self.digits.starts_with('0')
    }

    fn whole(&self) -> Option<i64> {
        let value: i128 = self.digits.parse().ok()?;
        i64::try_from(if self.negative { -value } else { value }).ok()
    }

    /// Whether it is a whole number that a bigint holds.
    pub fn fits_bigint(&self) -> bool {
        self.whole().is_some()
    }

    /// Its digits at a scale, rounded half away from zero as Postgres does.
    fn at_scale(&self, precision: u8, scale: u8) -> Option<i128> {
        if self.exponent.is_some() {
            return None;
        }
        let scale = usize::from(scale);
        let kept = &self.fraction[..self.fraction.len().min(scale)];
        let written = self.digits.trim_start_matches('0');
        (written.len() + scale <= 38).then_some(())?;
        let mut text = String::with_capacity(written.len() + scale + 1);
        text.push('0');
        text.push_str(written);
        text.push_str(kept);
        text.extend(std::iter::repeat_n('0', scale - kept.len()));
        let mut value: i128 = text.parse().ok()?;
        if self
            .fraction
            .as_bytes()
            .get(scale)
            .is_some_and(|digit| *digit >= b'5')
        {
            value += 1;
        }
        let most = 10_i128.checked_pow(u32::from(precision))?;
        (value < most).then_some(if self.negative { -value } else { value })
    }

    fn double(&self) -> Option<f64> {
        let sign = if self.negative { "-" } else { "" };
        let exponent = self.exponent.unwrap_or(0);
        let text = format!("{sign}{}.{}e{exponent}", self.digits, self.fraction);
        let text = if self.digits.is_empty() {
            text.replacen('.', "0.", 1)
        } else {
            text
        };
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn currency_of(text: &str) -> (Option<char>, &str) {
    if let Some(symbol) = text.chars().next()
        && CURRENCIES.contains(&symbol)
    {
        let rest = text[symbol.len_utf8()..].trim_start();
        return (Some(currency(symbol)), rest);
    }
    if let Some(symbol) = text.chars().next_back()
        && (CURRENCIES.contains(&symbol) || symbol == '元')
    {
        let rest = text[..text.len() - symbol.len_utf8()].trim_end();
        return (Some(currency(symbol)), rest);
    }
    (None, text)
}

/// The symbol of a currency that is written in several ways.
fn currency(symbol: char) -> char {
    match symbol {
        '￥' | '元' => '¥',
        other => other,
    }
}

/// `1,234` without its commas, where they stand at every third digit.
fn ungrouped(whole: &str, group: char) -> Option<Cow<'_, str>> {
    if whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Cow::Borrowed(whole));
    }
    let mut parts = whole.split(group);
    let first = parts.next()?;
    let mut digits = String::with_capacity(whole.len());
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    ((1..=3).contains(&first.len()) && is_digits(first)).then_some(())?;
    digits.push_str(first);
    for part in parts {
        (part.len() == 3 && is_digits(part)).then_some(())?;
        digits.push_str(part);
    }
    Some(Cow::Owned(digits))
}

/// A date, and the time and zone with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Moment {
    pub date: NaiveDate,
    pub time: Option<NaiveTime>,
    /// Seconds east of Greenwich.
    pub offset: Option<i32>,
}

/// A part of a date.
enum Part {
    /// A number and how many digits it has.
    Number(u32, usize),
    Month(u32),
}

impl Moment {
    /// Reads `2024-03-01`, `2024/3/1 14:05`, `2024年3月1日 下午 2:05`, `3/1/2024`, `1-Mar-2024`, with a zone or without.
    pub fn read(text: &str, order: DateOrder) -> Option<Self> {
        let mut rest = text;
        let (first, second, third);
        (first, rest) = part(rest)?;
        rest = separator(rest)?;
        (second, rest) = part(rest)?;
        rest = separator(rest)?;
        (third, rest) = part(rest)?;
        rest = rest
            .strip_prefix('日')
            .or(rest.strip_prefix('号'))
            .unwrap_or(rest);
        let date = date(order, &first, &second, &third)?;
        if rest.is_empty() {
            return Some(Self {
                date,
                time: None,
                offset: None,
            });
        }
        let begin = rest.trim_start_matches([' ', ',', '\u{3000}']);
        let rest = match begin.strip_prefix(['T', 't']) {
            Some(rest) if begin.len() == rest.len() + 1 => rest,
            // Something has to be between the day and the hour.
            _ if begin.len() == rest.len() && !begin.starts_with(['上', '下']) => return None,
            _ => begin,
        };
        let (time, rest) = time(rest)?;
        let offset = match rest.trim_start() {
            "" => None,
            zone => Some(zone_offset(zone)?),
        };
        Some(Self {
            date,
            time: Some(time),
            offset,
        })
    }

    fn days(&self) -> i32 {
        self.date
            .signed_duration_since(NaiveDate::default())
            .num_days()
            .try_into()
            .unwrap_or(i32::MAX)
    }

    fn micros(&self) -> i64 {
        let moment = self
            .date
            .and_time(self.time.unwrap_or(NaiveTime::MIN))
            .and_utc()
            .timestamp_micros();
        moment - i64::from(self.offset.unwrap_or(0)) * 1_000_000
    }
}

fn part(text: &str) -> Option<(Part, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 {
        let number = text[..digits].parse().ok().filter(|_| digits <= 4)?;
        return Some((Part::Number(number, digits), &text[digits..]));
    }
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let name = text[..letters].to_ascii_lowercase();
    let is_month = |month: &str| {
        name.len() >= 3 && month.starts_with(&name) || name == "sept" && month.starts_with("sept")
    };
    let month = MONTHS.iter().position(|month| is_month(month))?;
    let rest = text[letters..]
        .strip_prefix('.')
        .unwrap_or(&text[letters..]);
    Some((Part::Month(u32::try_from(month).ok()? + 1), rest))
}

/// What is between the parts of a date.
fn separator(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches([' ', ',']);
    if rest.len() < text.len() {
        return Some(rest);
    }
    let rest = text.strip_prefix(['-', '/', '.', '年', '月'])?;
    Some(rest.trim_start_matches(' '))
}

fn date(order: DateOrder, first: &Part, second: &Part, third: &Part) -> Option<NaiveDate> {
    let (year, month, day) = match (order, first, second, third) {
        (
            DateOrder::Ymd,
            Part::Number(year, 4),
            Part::Number(month, _),
            Part::Number(day, 1 | 2),
        )
        | (DateOrder::Ymd, Part::Number(year, 4), Part::Month(month), Part::Number(day, 1 | 2)) => {
            (*year, *month, *day)
        }
        (
            DateOrder::Mdy,
            Part::Number(month, 1 | 2) | Part::Month(month),
            Part::Number(day, 1 | 2),
            year,
        )
        | (
            DateOrder::Dmy,
            Part::Number(day, 1 | 2),
            Part::Number(month, 1 | 2) | Part::Month(month),
            year,
        ) => {
            let year = match year {
                Part::Number(year, 4) => *year,
                Part::Number(year @ 0..70, 2) => 2000 + year,
                Part::Number(year, 2) => 1900 + year,
                _ => return None,
            };
            (year, *month, *day)
        }
        _ => return None,
    };
    // Postgres has no year 0.
    let year = i32::try_from(year).ok().filter(|year| *year > 0)?;
    NaiveDate::from_ymd_opt(year, month, day)
}

/// `14:05`, `2:05:09.25 PM`, `下午 2:05`, `14时5分`; returns what is behind.
fn time(text: &str) -> Option<(NaiveTime, &str)> {
    let (afternoon, text) = match () {
        () if text.starts_with("上午") => (Some(false), text["上午".len()..].trim_start()),
        () if text.starts_with("下午") => (Some(true), text["下午".len()..].trim_start()),
        () => (None, text),
    };
    let (hour, rest) = two_digits(text)?;
    let rest = rest.strip_prefix([':', '时', '点'])?;
    let (minute, rest) = two_digits(rest)?;
    let rest = rest.strip_prefix('分').unwrap_or(rest);
    let (second, nanos, rest) = match rest.strip_prefix(':') {
        None if rest.starts_with(|next: char| next.is_ascii_digit()) => {
            let (second, rest) = two_digits(rest)?;
            (second, 0, rest.strip_prefix('秒').unwrap_or(rest))
        }
        None => (0, 0, rest),
        Some(rest) => {
            let (second, rest) = two_digits(rest)?;
            match rest.strip_prefix(['.', ',']) {
                None => (second, 0, rest),
                Some(rest) => {
                    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                    (1..=9).contains(&digits).then_some(())?;
                    let fraction: u32 = rest[..digits].parse().ok()?;
                    let power = 9 - u32::try_from(digits).ok()?;
                    (second, fraction * 10_u32.pow(power), &rest[digits..])
                }
            }
        }
    };
    let behind = rest.trim_start();
    let upper: String = behind
        .chars()
        .take(2)
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    let (afternoon, rest) = match upper.as_str() {
        "AM" => (Some(false), &behind[2..]),
        "PM" => (Some(true), &behind[2..]),
        _ => (afternoon, rest),
    };
    let hour = match afternoon {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(afternoon) => hour % 12 + if afternoon { 12 } else { 0 },
    };
    // Postgres reads 60 seconds as the next minute; no program writes them.
    Some((
        NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?,
        rest,
    ))
}

fn two_digits(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=2)
        .contains(&digits)
        .then(|| Some((text[..digits].parse().ok()?, &text[digits..])))?
}

/// Seconds east of Greenwich of `Z`, `+08`, `+08:00`, `-0330`, `UTC`.
fn zone_offset(zone: &str) -> Option<i32> {
    if ["z", "utc", "gmt"]
        .iter()
        .any(|name| zone.eq_ignore_ascii_case(name))
    {
        return Some(0);
    }
    let (sign, rest) = match zone.as_bytes().first()? {
        b'+' => (1, &zone[1..]),
        b'-' => (-1, &zone[1..]),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|character| *character != ':').collect();
    let written =
        rest.len() == digits.len() || rest.as_bytes().get(2) == Some(&b':') && rest.len() == 5;
    (written && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(())?;
    let (hours, minutes) = match digits.len() {
        1 | 2 => (digits.as_str(), "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 15 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<Value<'_>> {
        Reading::Numeric(Style::Point, 20, 2).value(text)
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, cents) in [
            ("0", 0),
            ("12", 1200),
            ("-12.5", -1250),
            ("1,234.50", 123_450),
            ("12,345,678.9", 1_234_567_890),
            ("$1,234.5", 123_450),
            ("-$5", -500),
            ("￥88.00", 8800),
            ("1,200 元", 120_000),
            ("１２．５０", 1250),
            ("－￥８", -800),
            ("（７．００）", -700),
            ("12 €", 1200),
            ("(7.00)", -700),
            (".5", 50),
            ("2.005", 201),
            ("-2.005", -201),
        ] {
            assert_eq!(number(text), Some(Value::Decimal(cents)), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "1,23",
            "1,2345",
            "12,34,567",
            "1.2.3",
            "0x10",
            "NaN",
            "inf",
            "1 2",
            "١٢",
            "--1",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(
            Reading::Numeric(Style::Comma, 20, 2).value("1.234,5"),
            Some(Value::Decimal(123_450))
        );
        assert_eq!(
            Reading::Double(Style::Point).value("1.5e3"),
            Some(Value::Double(1500.0))
        );
        assert_eq!(Reading::Double(Style::Point).value("1e999"), None);
        assert_eq!(
            Reading::Double(Style::Point).value(".5"),
            Some(Value::Double(0.5))
        );
        assert_eq!(
            Reading::Percent(Style::Point).value("12.5 %"),
            Some(Value::Double(0.125))
        );
        assert_eq!(
            Reading::Percent(Style::Point).value("１２．５％"),
            Some(Value::Double(0.125))
        );
        assert_eq!(
            Reading::Text.value("１２"),
            Some(Value::Text("１２")),
            "a text stays as it is"
        );
        let bigint = Reading::Bigint(Style::Point);
        assert_eq!(
            bigint.value("9223372036854775807"),
            Some(Value::Integer(i64::MAX))
        );
        assert_eq!(bigint.value("9223372036854775808"), None);
        assert_eq!(
            bigint.value("-9223372036854775808"),
            Some(Value::Integer(i64::MIN))
        );
        assert_eq!(bigint.value("1.5"), None);
        assert_eq!(bigint.value("3.00"), Some(Value::Integer(3)));
        // Ten to the 20th needs one digit more than the column has.
        assert_eq!(
            number("999999999999999999.99"),
            Some(Value::Decimal(99_999_999_999_999_999_999))
        );
        assert_eq!(number("1000000000000000000"), None);
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        let read = |text: &str, order: DateOrder| {
            Moment::read(text, order).map(|moment| {
                let time = moment
                    .time
                    .map(|time| format!(" {time}"))
                    .unwrap_or_default();
                let offset = moment
                    .offset
                    .map(|offset| format!(" {offset}"))
                    .unwrap_or_default();
                format!("{}{time}{offset}", moment.date)
            })
        };
        for (text, expected) in [
            ("2024-03-01", "2024-03-01"),
            ("2024/3/1", "2024-03-01"),
            ("2024.03.01", "2024-03-01"),
            ("2024年3月1日", "2024-03-01"),
            ("2024年3月1日 14:05", "2024-03-01 14:05:00"),
            ("2024/3/1 下午 2:05:09", "2024-03-01 14:05:09"),
            ("2024/3/1 上午12:05", "2024-03-01 00:05:00"),
            ("2024-03-01T14:05:09.25Z", "2024-03-01 14:05:09.250 0"),
            ("2024-03-01 14:05:09+08:00", "2024-03-01 14:05:09 28800"),
            ("2024-03-01 14:05:09 +0800", "2024-03-01 14:05:09 28800"),
            ("2024-03-01 14:05:09-03", "2024-03-01 14:05:09 -10800"),
            ("2024-03-01 14:05 UTC", "2024-03-01 14:05:00 0"),
            ("2024-03-01 2:05 PM", "2024-03-01 14:05:00"),
            ("2024年3月1日14时5分", "never"),
            ("2024-Mar-01", "2024-03-01"),
            ("9999-12-31", "9999-12-31"),
            ("0001-01-01", "0001-01-01"),
        ] {
            let expected = Some(expected.to_owned()).filter(|expected| expected != "never");
            assert_eq!(read(text, DateOrder::Ymd), expected, "{text}");
        }
        for text in [
            "0000-01-01",
            "2024-13-01",
            "2024-02-30",
            "2023-02-29",
            "24-03-01",
            "20240301",
            "2024-03",
            "2024-03-01 25:00",
            "2024-03-01x",
            "2024-03-01 13:00 PM",
            "12:30",
            "2024-03-01 10:61",
            "march",
            "2024-03-01T",
            "10000-01-01",
        ] {
            assert_eq!(read(text, DateOrder::Ymd), None, "{text}");
        }
        assert_eq!(read("3/1/2024", DateOrder::Mdy).unwrap(), "2024-03-01");
        assert_eq!(read("3/1/2024", DateOrder::Dmy).unwrap(), "2024-01-03");
        assert_eq!(read("13/1/24", DateOrder::Dmy).unwrap(), "2024-01-13");
        assert_eq!(read("13/1/24", DateOrder::Mdy), None);
        assert_eq!(read("1/2/70", DateOrder::Dmy).unwrap(), "1970-02-01");
        assert_eq!(read("Mar 1, 2024", DateOrder::Mdy).unwrap(), "2024-03-01");
        assert_eq!(read("1-Sept-2024", DateOrder::Dmy).unwrap(), "2024-09-01");
        assert_eq!(
            read("1 March 2024 14:05", DateOrder::Dmy).unwrap(),
            "2024-03-01 14:05:00"
        );
        assert_eq!(read("1. Mai 2024", DateOrder::Dmy), None);
        assert_eq!(read("31.12.2024", DateOrder::Dmy).unwrap(), "2024-12-31");
    }

    #[test]
    fn micros_are_utc() {
        let reading = Reading::Timestamptz(DateOrder::Ymd);
        assert_eq!(
            reading.value("1970-01-01 08:00:00+08:00"),
            Some(Value::Micros(0))
        );
        assert_eq!(
            reading.value("1969-12-31T23:59:59.999999Z"),
            Some(Value::Micros(-1))
        );
        assert_eq!(
            Reading::Date(DateOrder::Ymd).value("1970-01-02 00:00:00"),
            Some(Value::Date(1))
        );
        assert_eq!(
            Reading::Date(DateOrder::Ymd).value("1970-01-02 00:00:01"),
            None
        );
    }

    #[test]
    fn types_are_named_as_in_postgres() {
        let of = |name| Reading::of_type(name, DateOrder::Dmy);
        assert_eq!(
            of("NUMERIC(12, 2)"),
            Some(Reading::Numeric(Style::Point, 12, 2))
        );
        assert_eq!(of("date"), Some(Reading::Date(DateOrder::Dmy)));
        assert_eq!(of("numeric(39,2)"), None);
        assert_eq!(of("numeric(2,3)"), None);
        assert_eq!(of("money"), None);
        let comma = Reading::Bigint(Style::Comma);
        assert_eq!(
            comma.as_type("numeric(9,2)", DateOrder::Mdy),
            Reading::Numeric(Style::Comma, 9, 2)
        );
        assert_eq!(comma.as_type("uuid", DateOrder::Mdy), Reading::Text);
        let day = Reading::Date(DateOrder::Dmy);
        assert_eq!(
            day.as_type("timestamptz", DateOrder::Mdy),
            Reading::Timestamp(DateOrder::Dmy)
        );
        assert_eq!(
            Reading::Text.as_type("bigint", DateOrder::Mdy),
            Reading::Bigint(Style::Point)
        );
    }
}
