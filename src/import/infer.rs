//! Which type each column has, from all of its values.

use std::path::PathBuf;

use chrono::NaiveTime;

use super::reading::{DateOrder, Moment, Number, Reading, Style, boolean, half_width};
use super::source::{Cell, Sink};
use super::{ImportError, Input, Options};

/// Texts that stand for nothing: what databases write, and Excel's errors.
const NULLS: [&str; 10] = [
    "", "NULL", "null", "\\N", "#N/A", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?",
];

/// Whether a text stands for nothing.
pub(super) fn is_null(text: &str, options: &Options) -> bool {
    let is_usual = text.len() <= 7 && NULLS.contains(&text);
    is_usual || options.null.as_deref() == Some(text)
}

/// More digits than these are kept as doubles.
const MOST_SCALE: usize = 6;
/// A numeric has room for more than was seen.
const LEAST_PRECISION: usize = 18;
/// Of so many values it is looked which of them are days, whatever the others are.
const LOOKED_AT: u64 = 10_000;
/// A reading that fits so many values is worth telling where it ends.
const WORTH_TELLING: u64 = 20;

/// A column of the table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in SQL.
    pub sql_type: String,
    /// How its texts are read. What SQL converts better than a reading is read as text, or without a zone.
    pub reading: Reading,
    /// The order of its days and months, where it is to have some.
    pub order: DateOrder,
    /// How many values are there.
    pub values: u64,
    /// How many are not.
    pub nulls: u64,
    /// The first value.
    pub example: Option<String>,
    /// What should be known about the guess.
    pub note: Option<String>,
}

/// What the values of a column still may be.
#[derive(Debug, Default)]
struct Guess {
    values: u64,
    example: Option<String>,
    /// Not one of them, for each kind.
    no_boolean: bool,
    no_number: [bool; 2],
    no_percent: [bool; 2],
    no_moment: [bool; 3],
    /// None of the above: nothing is left to look at but what days there are among the first values, for a column that is to have days.
    is_text: bool,
    /// How many of them are moments in each order.
    moments_in: [u64; 3],
    numbers: [Numbers; 2],
    moments: [Moments; 3],
    /// The value that none of the readings fits.
    last: Option<(u64, String, PathBuf)>,
}

const STYLES: [Style; 2] = [Style::Point, Style::Comma];
const ORDERS: [DateOrder; 3] = [DateOrder::Ymd, DateOrder::Mdy, DateOrder::Dmy];

#[derive(Debug, Default)]
struct Numbers {
    currency: Option<char>,
    most_digits: usize,
    most_scale: usize,
    has_exponent: bool,
    too_big: bool,
}

#[derive(Debug, Default)]
struct Moments {
    with_time: u64,
    with_offset: u64,
}

impl Guess {
    fn look(&mut self, text: &str, is_text: bool, line: u64, file: &std::path::Path) {
        self.values += 1;
        if self.example.is_none() {
            self.example = Some(text.chars().take(40).collect());
        }
        let trimmed = half_width(text.trim());
        let trimmed = trimmed.as_ref();
        if self.values <= LOOKED_AT {
            for (at, order) in ORDERS.into_iter().enumerate() {
                self.moments_in[at] += u64::from(Moment::read(trimmed, order).is_some());
            }
        }
        if self.is_text {
            return;
        }
        self.no_boolean = self.no_boolean || is_text || boolean(trimmed).is_none();
        for (at, style) in STYLES.into_iter().enumerate() {
            self.no_number[at] =
                self.no_number[at] || is_text || !self.numbers[at].take(trimmed, style);
            let is_percent = || {
                let number = trimmed.strip_suffix('%').map(str::trim_end);
                number.is_some_and(|number| Number::read(number, style).is_some())
            };
            self.no_percent[at] = self.no_percent[at] || is_text || !is_percent();
        }
        for (at, order) in ORDERS.into_iter().enumerate() {
            self.no_moment[at] = self.no_moment[at] || !self.moments[at].take(trimmed, order);
        }
        let nothing = [
            &self.no_number[..],
            &self.no_percent,
            &self.no_moment,
            &[self.no_boolean],
        ];
        if nothing.into_iter().flatten().all(|no| *no) {
            self.is_text = true;
            self.last = Some((line, text.chars().take(40).collect(), file.to_owned()));
        }
    }

    /// The order of days and months that most of the first values have.
    fn order(&self, preferred: DateOrder) -> DateOrder {
        let rank = |at: &usize| (self.moments_in[*at], ORDERS[*at] == preferred);
        let most = (0..ORDERS.len()).rev().max_by_key(rank);
        most.filter(|at| self.moments_in[*at] > 0)
            .map_or(preferred, |at| ORDERS[at])
    }

    fn reading(&self, order: DateOrder) -> (Reading, Option<String>) {
        if self.values == 0 {
            return (Reading::Text, Some("no values".to_owned()));
        }
        if !self.no_boolean {
            return (Reading::Boolean, None);
        }
        for (at, style) in STYLES.into_iter().enumerate() {
            if !self.no_number[at] {
                return self.numbers[at].reading(style);
            }
        }
        for (at, style) in STYLES.into_iter().enumerate() {
            if !self.no_percent[at] {
                return (Reading::Percent(style), Some("12% is 0.12".to_owned()));
            }
        }
        let fits: Vec<usize> = (0..ORDERS.len())
            .filter(|at| !self.no_moment[*at])
            .collect();
        let preferred = fits
            .iter()
            .find(|at| ORDERS[**at] == order)
            .or(fits.first());
        if let Some(at) = preferred {
            let ambiguous = fits.len() > 1;
            return self.moments[*at].reading(ORDERS[*at], self.values, ambiguous);
        }
        let note = self
            .last
            .as_ref()
            .filter(|_| self.values > 1)
            .map(|(line, text, _)| format!("not all alike: \"{text}\" in line {line}"));
        (Reading::Text, note.filter(|_| self.is_worth_telling()))
    }

    /// Whether many values before the one that fits nothing had a reading.
    fn is_worth_telling(&self) -> bool {
        let numbers = self
            .numbers
            .iter()
            .map(|numbers| numbers.most_digits + numbers.most_scale)
            .any(|digits| digits > 0);
        let moments = self
            .moments
            .iter()
            .any(|moments| moments.with_time + moments.with_offset > 0);
        self.values >= WORTH_TELLING && (numbers || moments)
    }
}

impl Numbers {
    fn take(&mut self, text: &str, style: Style) -> bool {
        let Some(number) = Number::read(text, style) else {
            return false;
        };
        // 007 is a name. Two currencies make no number; one may stand in some rows alone.
        if number.has_leading_zero() || self.has_other_currency(&number) {
            return false;
        }
        self.currency = self.currency.or(number.currency);
        self.most_digits = self.most_digits.max(number.digits.len());
        self.most_scale = self.most_scale.max(number.fraction.len());
        self.has_exponent |= number.exponent.is_some();
        self.too_big |= !number.fits_bigint();
        true
    }

    fn has_other_currency(&self, number: &Number<'_>) -> bool {
        let (own, other) = (self.currency, number.currency);
        own.zip(other).is_some_and(|(own, other)| own != other)
    }

    fn reading(&self, style: Style) -> (Reading, Option<String>) {
        let note = match (self.currency, style) {
            (Some(symbol), _) => Some(format!("written with {symbol}")),
            (None, Style::Comma) => Some("the decimal mark is a comma".to_owned()),
            (None, Style::Point) => None,
        };
        if self.has_exponent || self.most_scale > MOST_SCALE {
            return (Reading::Double(style), note);
        }
        if self.most_scale == 0 {
            return match self.too_big {
                false => (Reading::Bigint(style), note),
                true => (
                    Reading::Text,
                    Some("numbers too large for bigint".to_owned()),
                ),
            };
        }
        let precision = (self.most_digits + self.most_scale).max(LEAST_PRECISION);
        match (u8::try_from(precision), i8::try_from(self.most_scale)) {
            (Ok(precision @ ..=38), Ok(scale)) => (Reading::Numeric(style, precision, scale), note),
            _ => (Reading::Double(style), note),
        }
    }
}

impl Moments {
    fn take(&mut self, text: &str, order: DateOrder) -> bool {
        let Some(moment) = Moment::read(text, order) else {
            return false;
        };
        // Excel writes days with midnight behind.
        self.with_time += u64::from(
            moment.time.is_some_and(|time| time != NaiveTime::MIN) || moment.offset.is_some(),
        );
        self.with_offset += u64::from(moment.offset.is_some());
        true
    }

    fn reading(&self, order: DateOrder, values: u64, ambiguous: bool) -> (Reading, Option<String>) {
        let note = match order {
            DateOrder::Ymd => None,
            DateOrder::Mdy if ambiguous => {
                Some("month before day; it may be the other way round: --date-order dmy".to_owned())
            }
            DateOrder::Mdy => Some("month before day".to_owned()),
            DateOrder::Dmy if ambiguous => {
                Some("day before month; it may be the other way round: --date-order mdy".to_owned())
            }
            DateOrder::Dmy => Some("day before month".to_owned()),
        };
        match (self.with_offset, self.with_time) {
            (offsets, _) if offsets == values => (Reading::Timestamptz(order), note),
            (0, 0) => (Reading::Date(order), note),
            (0, _) => (Reading::Timestamp(order), note),
            _ => (
                Reading::Text,
                Some("moments with a zone and without".to_owned()),
            ),
        }
    }
}

/// Looks at the rows of all files.
pub(super) struct Inference<'a> {
    options: &'a Options,
    names: Vec<String>,
    guesses: Vec<Guess>,
    /// Of each column of the file that is read, the place in `guesses`.
    places: Vec<usize>,
    file: PathBuf,
    rows: u64,
    notes: Vec<String>,
}

impl<'a> Inference<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self {
            options,
            names: Vec::new(),
            guesses: Vec::new(),
            places: Vec::new(),
            file: PathBuf::new(),
            rows: 0,
            notes: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, input: &Input) {
        self.file.clone_from(&input.path);
        self.places.clear();
    }

    /// The columns, the number of rows, and what was decided for the files.
    pub(super) fn finish(self) -> Result<(Vec<Column>, u64, Vec<String>), ImportError> {
        if self.names.is_empty() {
            return Err(ImportError::new(
                "22P04",
                "there are no rows in it, and no header",
            ));
        }
        let order = self.options.date_order;
        let columns = self
            .names
            .into_iter()
            .zip(self.guesses)
            .map(|(name, guess)| {
                let (reading, note) = guess.reading(order);
                Column {
                    sql_type: reading.sql_type(),
                    order: guess.order(order),
                    reading,
                    values: guess.values,
                    nulls: self.rows - guess.values,
                    example: guess.example,
                    note,
                    name,
                }
            });
        Ok((columns.collect(), self.rows, self.notes))
    }
}

impl Sink for Inference<'_> {
    fn columns(&mut self, names: &[String]) {
        self.places = names
            .iter()
            .map(
                |name| match self.names.iter().position(|known| known == name) {
                    Some(place) => place,
                    None => {
                        self.names.push(name.clone());
                        self.guesses.push(Guess::default());
                        self.names.len() - 1
                    }
                },
            )
            .collect();
    }

    fn row(&mut self, line: u64, cells: &[Cell<'_>]) -> Result<(), ImportError> {
        self.rows += 1;
        for (cell, place) in cells.iter().zip(&self.places) {
            let (text, is_text) = match cell {
                Cell::Null => continue,
                Cell::Raw(text) => (text, false),
                Cell::Text(text) => (text, true),
            };
            if !is_null(text, self.options) {
                self.guesses[*place].look(text, is_text, line, &self.file);
            }
        }
        Ok(())
    }

    fn reject(&mut self, _line: u64, _reason: String, _row: &[u8]) -> Result<(), ImportError> {
        Ok(())
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}
