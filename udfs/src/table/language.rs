//! `lang`: the language of the texts that a function writes.

use datafusion::error::Result;

use super::arguments::Arguments;
use crate::definition::metric::Words;
use crate::definition::text::literal;

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese.
    Chinese,
}

impl Language {
    /// Takes `lang`: `en` (when it isn't given) or `zh`.
    ///
    /// # Errors
    /// 22023 for another one.
    pub fn take(arguments: &mut Arguments) -> Result<Self> {
        let choices = [("en", Language::English), ("zh", Language::Chinese)];
        Ok(arguments.take_choice("lang", &choices)?.unwrap_or_default())
    }

    /// The text in this language.
    pub fn of(self, words: Words) -> &'static str {
        match self {
            Language::English => words.en,
            Language::Chinese => words.zh,
        }
    }

    /// SQL of a text in this language with values put in: each `{}` of the words is the SQL text of the next value.
    ///
    /// `values` are SQL expressions of type text; where one is NULL, the whole text is.
    pub fn sql(self, words: Words, values: &[&str]) -> String {
        let mut parts = Vec::new();
        let mut values = values.iter();
        for (at, part) in self.of(words).split("{}").enumerate() {
            if at > 0 {
                parts.extend(values.next().map(|value| (*value).to_owned()));
            }
            if !part.is_empty() {
                parts.push(literal(part));
            }
        }
        match parts.is_empty() {
            true => literal(""),
            false => format!("({})", parts.join(" || ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_the_words_say() {
        let words = Words {
            en: "{} of {} won",
            zh: "{} 个中成交了 {} 个",
        };
        assert_eq!(
            Language::English.sql(words, &["k", "n"]),
            "(k || ' of ' || n || ' won')"
        );
        assert_eq!(
            Language::Chinese.sql(words, &["n", "k"]),
            "(n || ' 个中成交了 ' || k || ' 个')"
        );
    }
}
