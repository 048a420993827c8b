//! The table over files, and what is kept of it for the next start.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::catalog::Session;
use datafusion::common::ToDFSchema;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::CreateExternalTable;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};
use datafusion_funnel::error::{FunnelError, Kind};

use super::address::Address;
use super::by_name::ByName;
use super::merge::{Values, merged};
use super::settings::{HIDDEN, SECRETS, take_options};
use super::stores::Stores;
use crate::error::{Error, ForeignFault, Result, character_position};

/// What is kept of a table over files beside its statement.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeptTable {
    /// The columns of files behind a network, so that a start doesn't ask for them; see [`columns_text`].
    pub columns: Option<String>,
    /// The options that are secrets.
    pub secrets: BTreeMap<String, String>,
}

impl std::fmt::Debug for KeptTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptTable").finish_non_exhaustive()
    }
}

/// The table of a definition, which says what is kept of it. With `kept`, which is what was then, nothing is asked of what is
/// behind a network.
///
/// # Errors
/// 58030 for files that aren't there, 42501 and 08001 for stores that don't answer with them, 42804 for columns that don't go
/// together, HV00D and HV024 for options.
pub async fn create(
    state: &SessionState,
    stores: &Stores,
    definition: &CreateExternalTable,
    kept: Option<&KeptTable>,
) -> Result<(ListingTable, KeptTable)> {
    if definition.temporary {
        return Err(Error::Unsupported {
            message: "temporary external tables are not supported".to_owned(),
            hint: Some("CREATE TEMP TABLE ... AS SELECT copies the rows.".to_owned()),
        });
    }
    let mut options = definition.options.clone();
    let mut store_options = take_options(&mut options)?;
    let secrets = secrets_of(&mut store_options, kept)?;
    let declared = !definition.schema.fields().is_empty();
    let format = state
        .get_file_format_factory(match definition.file_type.as_str() {
            kind if kind.eq_ignore_ascii_case("ndjson") => "json",
            kind => kind,
        })
        .ok_or_else(|| Error::Unsupported {
            message: format!("files of format \"{}\" can't be read", definition.file_type),
            hint: Some("STORED AS CSV, JSON, PARQUET or ARROW.".to_owned()),
        })?
        .create(state, &options)?;
    let format = ByName::new(format, &definition.file_type, declared);
    let places = places(state, stores, definition, &store_options)?;
    let values = format.values();
    let shape = Shape::of(definition)?;
    let folder_files = match format.extension() {
        Some(extension) => format!("*.{extension}"),
        None => format!("*.{}", definition.file_type.to_lowercase()),
    };
    let extension = match definition.locations.as_slice() {
        [one] if !places.urls.iter().all(ListingTableUrl::is_collection) => extension(one),
        _ => String::new(),
    };
    let listing = ListingOptions::new(Arc::new(format))
        .with_file_extension(extension)
        .with_table_partition_cols(shape.partitions)
        .with_file_sort_order(definition.order_exprs.clone());
    let columns = kept.and_then(|kept| kept.columns.as_deref());
    let mut urls = places.urls;
    if shape.columns.is_none() {
        for url in &mut urls {
            // A folder may have others beside: only what the format's reader understands is read.
            if url.is_collection() && url.get_glob().is_none() {
                *url = url.clone().with_glob(&folder_files)?;
            }
        }
    }
    let schema = match (shape.columns, columns) {
        (Some(columns), _) => columns,
        (None, Some(text)) if places.remote => columns_of(text)?,
        (None, _) => inferred(state, &listing, &urls, definition, values).await?,
    };
    if !(places.remote && kept.is_some()) {
        for url in &urls {
            listing.validate_partitions(state, url).await?;
        }
    }
    check_order(definition, &schema)?;
    let kept = KeptTable {
        columns: match places.remote {
            true => Some(columns_text(&schema)?),
            false => None,
        },
        secrets,
    };
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(listing)
        .with_schema(schema);
    let statistics = state.runtime_env().cache_manager.get_file_statistic_cache();
    let table = ListingTable::try_new(config)?
        .with_cache(statistics)
        .with_constraints(definition.constraints.clone())
        .with_column_defaults(definition.column_defaults.clone());
    Ok((table, kept))
}

/// Refuses the options of stores for a table over a stream, which is on this machine.
///
/// # Errors
/// HV00D.
pub fn check_unbounded(definition: &CreateExternalTable) -> Result<()> {
    match take_options(&mut definition.options.clone())?.keys().next() {
        None => Ok(()),
        Some(name) => Err(ForeignFault::OptionName.error(
            format!("invalid option \"{name}\" of an unbounded table"),
            Some("Unbounded tables are pipes of this machine."),
        )),
    }
}

/// The statement without its secrets, as it is kept and shown.
///
/// # Errors
/// HV024 for a secret that can't be told from the rest of the statement.
pub fn without_secrets(text: &str, secrets: &BTreeMap<String, String>) -> Result<String> {
    if secrets.is_empty() {
        return Ok(text.to_owned());
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location();
    let mut tokens = tokens.unwrap_or_default();
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    // An option's name stands before its value, in quotes or not.
    let is_named = |name: &Token, option: &str| {
        let last = option.rsplit('.').next().unwrap_or(option);
        value_of(name).is_some_and(|name| {
            name.eq_ignore_ascii_case(option) || name.eq_ignore_ascii_case(last)
        })
    };
    let mut hidden = text.to_owned();
    let mut left: Vec<&String> = secrets.keys().collect();
    // From the last to the first, so that the places of those before stay.
    for pair in tokens.windows(2).rev() {
        let [name, value] = pair else { continue };
        // At a start, what was hidden then is still hidden.
        let found = secrets.iter().find(|(option, secret)| {
            let said = value_of(&value.token);
            is_named(&name.token, option) && (said == Some(secret) || said == Some(HIDDEN))
        });
        let place = |at: Location| character_position(text, at.line, at.column);
        if let Some((option, _)) = found
            && let (Some(start), Some(end)) = (place(value.span.start), place(value.span.end))
        {
            let before: String = hidden.chars().take(start - 1).collect();
            let after: String = hidden.chars().skip(end - 1).collect();
            hidden = format!("{before}'{HIDDEN}'{after}");
            left.retain(|known| *known != option);
        }
    }
    match left.is_empty() {
        true => Ok(hidden),
        false => Err(ForeignFault::OptionValue.error(
            "a secret can't be told from the rest of the statement".to_owned(),
            Some("Write it as a text, 'aws.secret_access_key' '...', or into a file: 'aws.secret_access_key_file' '/run/secrets/s3'."),
        )),
    }
}

/// What a name or literal says.
fn value_of(token: &Token) -> Option<&str> {
    Some(match token {
        Token::SingleQuotedString(value)
        | Token::DoubleQuotedString(value)
        | Token::EscapedStringLiteral(value)
        | Token::NationalStringLiteral(value)
        | Token::UnicodeStringLiteral(value)
        | Token::Number(value, _) => value,
        Token::DollarQuotedString(quoted) => &quoted.value,
        Token::Word(word) => &word.value,
        _ => return None,
    })
}

/// Takes the secrets that were written; those that only stand for one come from what is kept.
fn secrets_of(
    options: &mut BTreeMap<String, String>,
    kept: Option<&KeptTable>,
) -> Result<BTreeMap<String, String>> {
    let mut secrets = BTreeMap::new();
    for name in SECRETS {
        let Some(value) = options.get_mut(name) else {
            continue;
        };
        if value == HIDDEN {
            let known = kept.and_then(|kept| kept.secrets.get(name));
            let known = known.ok_or_else(|| {
                ForeignFault::OptionValue.error(
                    format!("option \"{name}\" isn't kept here"),
                    Some("Write it again, or into a file that 'aws.secret_access_key_file' or 'http.password_file' names."),
                )
            })?;
            value.clone_from(known);
        }
        secrets.insert(name.to_owned(), value.clone());
    }
    Ok(secrets)
}

/// Where a table's files are.
struct Places {
    urls: Vec<ListingTableUrl>,
    /// Behind a network.
    remote: bool,
}

fn places(
    state: &SessionState,
    stores: &Stores,
    definition: &CreateExternalTable,
    options: &BTreeMap<String, String>,
) -> Result<Places> {
    let mut urls: Vec<ListingTableUrl> = Vec::with_capacity(definition.locations.len());
    let mut remote = false;
    for location in &definition.locations {
        let url = match Address::of(location)? {
            None => ListingTableUrl::parse(location)?,
            Some(address) => {
                remote = true;
                stores.locate(state.runtime_env(), &address, options)?
            }
        };
        let url = url.with_table_ref(definition.name.clone());
        if urls.contains(&url) {
            return Err(Error::Foreign {
                fault: ForeignFault::OptionValue,
                message: "a location is named twice".to_owned(),
                hint: None,
            });
        }
        if urls
            .first()
            .is_some_and(|first| first.object_store() != url.object_store())
        {
            return Err(Error::Unsupported {
                message: "the files of a table can't be in several stores".to_owned(),
                hint: Some(
                    "Make a table of each, and a view of them: SELECT ... UNION ALL SELECT ..."
                        .to_owned(),
                ),
            });
        }
        urls.push(url);
    }
    Ok(Places { urls, remote })
}

/// The columns that a definition says.
struct Shape {
    /// Those in the files; nothing where the files say it.
    columns: Option<SchemaRef>,
    /// Those in the names of folders.
    partitions: Vec<(String, DataType)>,
}

impl Shape {
    fn of(definition: &CreateExternalTable) -> Result<Self> {
        let names = &definition.table_partition_cols;
        let declared = definition.schema.inner();
        if declared.fields().is_empty() {
            let texts = names.iter().map(|name| (name.clone(), DataType::Utf8));
            return Ok(Self {
                columns: None,
                partitions: texts.collect(),
            });
        }
        let mut partitions = Vec::with_capacity(names.len());
        for name in names {
            let field = declared
                .field_with_name(name)
                .map_err(|_| unknown_column(name, declared))?;
            partitions.push((name.clone(), field.data_type().clone()));
        }
        let fields = declared.fields().iter();
        let fields = fields.filter(|field| !names.contains(field.name()));
        let fields: Vec<_> = fields.cloned().collect();
        Ok(Self {
            columns: Some(Arc::new(Schema::new(fields))),
            partitions,
        })
    }
}

async fn inferred(
    state: &SessionState,
    listing: &ListingOptions,
    urls: &[ListingTableUrl],
    definition: &CreateExternalTable,
    values: Values,
) -> Result<SchemaRef> {
    let mut schemas = Vec::with_capacity(urls.len());
    for (url, location) in urls.iter().zip(&definition.locations) {
        let schema = listing.infer_schema(state as &dyn Session, url).await;
        let empty = |error: &DataFusionError| matches!(error, DataFusionError::Plan(text) if text.starts_with("No files found"));
        schemas.push(match schema {
            // The message would name the store as it is called inside.
            Err(error) if empty(&error) => {
                return Err(ForeignFault::Storage.error(
                    format!("no files found at \"{location}\""),
                    Some("Put a file there first, or write the columns: CREATE EXTERNAL TABLE t (id bigint, ...)."),
                ));
            }
            schema => schema?,
        });
    }
    let schema = merged(&schemas, values)?;
    // A file may repeat what its folder's name says; the folder counts.
    let partitions = &listing.table_partition_cols;
    let fields = schema.fields().iter();
    let fields = fields.filter(|field| !partitions.iter().any(|(name, _)| name == field.name()));
    Ok(Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>())))
}

fn check_order(definition: &CreateExternalTable, schema: &SchemaRef) -> Result<()> {
    let known = Arc::clone(schema).to_dfschema()?;
    let sorts = definition.order_exprs.iter().flatten();
    for column in sorts.flat_map(|sort| sort.expr.column_refs()) {
        if !known.has_column(column) {
            return Err(unknown_column(column.name(), schema));
        }
    }
    Ok(())
}

fn unknown_column(name: &str, schema: &Schema) -> Error {
    let fields = schema.fields().iter();
    Error::from(FunnelError::Unknown {
        kind: Kind::Column,
        name: name.to_owned(),
        place: String::new(),
        existing: fields.map(|field| field.name().clone()).collect(),
    })
}

/// The ending of a single file's name, with the dot.
fn extension(location: &str) -> String {
    let path = std::path::Path::new(location);
    match path.extension().and_then(|extension| extension.to_str()) {
        // A pattern chooses by itself.
        Some(extension) if !extension.contains(['*', '[', '?']) => format!(".{extension}"),
        _ => String::new(),
    }
}

/// Columns as a text: the beginning of a stream of Arrow's, in base64.
fn columns_text(schema: &SchemaRef) -> Result<String> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(DataFusionError::from)?;
    writer.finish().map_err(DataFusionError::from)?;
    let bytes = writer.into_inner().map_err(DataFusionError::from)?;
    Ok(BASE64_STANDARD.encode(bytes))
}

fn columns_of(text: &str) -> Result<SchemaRef> {
    let bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
    let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(DataFusionError::from)?;
    Ok(reader.schema())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::datatypes::Field;

    use super::*;

    #[test]
    fn a_statement_is_kept_without_its_secrets() {
        let secrets =
            BTreeMap::from([("aws.secret_access_key".to_owned(), "ge'heim/1".to_owned())]);
        let text = "CREATE EXTERNAL TABLE \"表\" STORED AS CSV LOCATION 's3://b/it''s/' OPTIONS ('AWS.Secret_access_key' 'ge''heim/1', 'format.has_header' 'true')";
        assert_eq!(
            without_secrets(text, &secrets).unwrap(),
            "CREATE EXTERNAL TABLE \"表\" STORED AS CSV LOCATION 's3://b/it''s/' OPTIONS ('AWS.Secret_access_key' '***', 'format.has_header' 'true')"
        );
        let hidden = without_secrets(text, &secrets).unwrap();
        assert_eq!(without_secrets(&hidden, &secrets).unwrap(), hidden);
        // What looks like it elsewhere isn't it.
        let same = "CREATE EXTERNAL TABLE ge LOCATION 'ge' OPTIONS (aws.access_key_id 'ge', aws.secret_access_key 'ge')";
        let short = BTreeMap::from([("aws.secret_access_key".to_owned(), "ge".to_owned())]);
        assert_eq!(
            without_secrets(same, &short).unwrap(),
            "CREATE EXTERNAL TABLE ge LOCATION 'ge' OPTIONS (aws.access_key_id 'ge', aws.secret_access_key '***')"
        );
        let nowhere = without_secrets("CREATE EXTERNAL TABLE t", &short).unwrap_err();
        assert_eq!(nowhere.code(), "HV024");
        assert!(
            !format!(
                "{:?}",
                KeptTable {
                    columns: None,
                    secrets
                }
            )
            .contains("heim")
        );
    }

    #[test]
    fn columns_are_the_same_again() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("客户", DataType::Utf8View, true),
            Field::new(
                "at",
                DataType::Timestamp(
                    datafusion::arrow::datatypes::TimeUnit::Nanosecond,
                    Some("UTC".into()),
                ),
                false,
            ),
        ]));
        let text = columns_text(&schema).unwrap();
        assert_eq!(columns_of(&text).unwrap(), schema);
        assert!(columns_of("no columns").is_err());
    }

    #[test]
    fn a_files_ending_is_told_from_a_pattern() {
        assert_eq!(extension("/srv/x.csv.gz"), ".gz");
        assert_eq!(extension("/srv/x"), "");
        assert_eq!(extension("/srv/*.c*"), "");
    }
}
