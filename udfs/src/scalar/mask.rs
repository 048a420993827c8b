//! A phone number, an e-mail address or a name with its middle hidden: `138****1234`, `a***@x.com`, `张*`.
//!
//! What is left tells two people apart on a screen, and doesn't reach either. A text that isn't what the function is for is hidden
//! as a whole (`****`), so that a note in the wrong column isn't shown. NULL gives NULL, the empty text itself.
//!
//! Cost: one pass over the text.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::cast::as_string_array;
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_STRING;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::arguments::{Kind, Parameters, Rows};

const PARAMETERS: Parameters = Parameters {
    required: 1,
    list: &[("text", Kind::Text)],
};

/// What stands for what isn't shown.
const HIDDEN: &str = "****";

/// Phone number with the four digits before the last four hidden.
///
/// - `text`: Utf8, digits with blanks, `+`, `-`, `.`, `/`, `#` and parentheses between them
/// - returns Utf8: of eleven digits the first three and the last four; of more than 13 never more than nine; of fewer than eight, and of
///   a text with anything else in it, nothing; NULL where `text` is NULL
/// ```slt
/// query T
/// SELECT mask_phone('13812341234')
/// ----
/// 138****1234
/// ```
pub fn mask_phone_udf() -> Arc<ScalarUDF> {
    udf(
        "mask_phone",
        phone,
        "A phone number with the digits before its last four hidden: 138****1234.",
        "SELECT mask_phone('13812341234');",
    )
}

/// E-mail address with all but the first letter of its user hidden.
///
/// - `text`: Utf8
/// - returns Utf8: `a***@x.com`, and `***@x.com` for a user of one letter; nothing is shown of a text without `@`; NULL where `text` is NULL
/// ```slt
/// query T
/// SELECT mask_email('ana@example.org')
/// ----
/// a***@example.org
/// ```
pub fn mask_email_udf() -> Arc<ScalarUDF> {
    udf(
        "mask_email",
        email,
        "An e-mail address with its user hidden but for the first letter: a***@x.com.",
        "SELECT mask_email('ana@example.org');",
    )
}

/// Name with all but its first character hidden.
///
/// - `text`: Utf8
/// - returns Utf8: the first character and a star for each other, at most three; a star for a name of one character; NULL where `text` is NULL
/// ```slt
/// query T
/// SELECT mask_name('张三')
/// ----
/// 张*
/// ```
pub fn mask_name_udf() -> Arc<ScalarUDF> {
    udf(
        "mask_name",
        person,
        "A name with all but its first character hidden: 张*.",
        "SELECT mask_name('张三');",
    )
}

fn udf(
    name: &'static str,
    mask: fn(&str) -> String,
    description: &str,
    example: &str,
) -> Arc<ScalarUDF> {
    let page = Documentation::builder(DOC_SECTION_STRING, description, PARAMETERS.syntax(name))
        .with_argument("text", "What is to be hidden.")
        .with_sql_example(format!("```sql\n{example}\n```"))
        .build();
    Arc::new(ScalarUDF::from(MaskText {
        name,
        mask,
        signature: PARAMETERS.signature(),
        page,
    }))
}

#[derive(Debug)]
struct MaskText {
    name: &'static str,
    mask: fn(&str) -> String,
    signature: Signature,
    page: Documentation,
}

// There is one function of a name.
impl PartialEq for MaskText {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for MaskText {}

impl Hash for MaskText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for MaskText {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(self.name, coerced)?;
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let texts = as_string_array(rows.required(0)?)?;
        let masked = rows.map(|row| Ok(Some((self.mask)(texts.value(row)))))?;
        rows.finish(Arc::new(StringArray::from(masked)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.page)
    }
}

/// The digits, with those before the last four hidden.
fn phone(text: &str) -> String {
    /// How many digits are shown at most.
    const SHOWN: usize = 9;
    if text.is_empty() {
        return String::new();
    }
    let known = |character: char| character.is_ascii_digit() || "+-./#() ".contains(character);
    let digits = text.chars().filter(char::is_ascii_digit).count();
    if !text.chars().all(known) || digits < 8 {
        return HIDDEN.to_owned();
    }
    let first = (digits - 8).min(SHOWN - 4);
    let (mut masked, mut digit, mut hid) = (String::new(), 0, false);
    for character in text.chars() {
        let is_digit = character.is_ascii_digit();
        digit += usize::from(is_digit);
        // Of what stands between hidden digits nothing is shown either.
        let inside = if is_digit {
            digit > first && digit + 4 <= digits
        } else {
            digit > first && digit + 4 < digits
        };
        if !inside {
            masked.push(character);
        } else if !hid {
            masked.push_str(HIDDEN);
            hid = true;
        }
    }
    masked
}

/// The first letter of the user, and the domain.
fn email(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let Some((user, domain)) = text.rsplit_once('@') else {
        return HIDDEN.to_owned();
    };
    let mut letters = user.chars();
    let shown = letters.next().filter(|_| letters.next().is_some());
    let shown = shown.map(String::from).unwrap_or_default();
    format!("{shown}***@{domain}")
}

/// The first character, and stars.
fn person(text: &str) -> String {
    /// More would tell how long the name is.
    const STARS: usize = 3;
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return String::new();
    };
    match characters.count() {
        0 => "*".to_owned(),
        rest => format!("{first}{}", "*".repeat(rest.min(STARS))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_keep_their_ends() {
        for (text, masked) in [
            ("13812341234", "138****1234"),
            ("+86 138-1234-5678", "+86 138-****-5678"),
            ("(030) 12345678", "(030) ****5678"),
            ("12345678", "****5678"),
            ("1234567", "****"),
            ("6222021234567890", "62220****7890"),
            ("call 13812341234", "****"),
            ("微信 13812341234", "****"),
            ("１３８１２３４１２３４", "****"),
            ("", ""),
            (" ", "****"),
        ] {
            assert_eq!(phone(text), masked, "{text}");
        }
    }

    #[test]
    fn addresses_keep_their_domain() {
        for (text, masked) in [
            ("ana@x.com", "a***@x.com"),
            ("a@x.com", "***@x.com"),
            ("@x.com", "***@x.com"),
            ("张三@公司.cn", "张***@公司.cn"),
            ("\"a@b\"@x.com", "\"***@x.com"),
            ("ana at x", "****"),
            ("", ""),
        ] {
            assert_eq!(email(text), masked, "{text}");
        }
    }

    #[test]
    fn names_keep_their_first_character() {
        for (text, masked) in [
            ("张三", "张*"),
            ("欧阳锋", "欧**"),
            ("Ana Smith", "A***"),
            ("X", "*"),
            ("", ""),
        ] {
            assert_eq!(person(text), masked, "{text}");
        }
    }
}
