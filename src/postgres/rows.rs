//! Functions that return rows. Each is a function that returns a list, and what returns the rows is `unnest`.

use datafusion::sql::sqlparser::ast::Expr;

use super::rewrite::call;

/// Functions whose rows are values. The list is what the function of [`list_name`] gives.
const LISTS: [&str; 16] = [
    "generate_series",
    "generate_subscripts",
    "regexp_split_to_table",
    "regexp_matches",
    "string_to_table",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "json_array_elements",
    "json_array_elements_text",
    "jsonb_object_keys",
    "json_object_keys",
    "_pg_expandarray",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_ls_dir",
    "pg_stat_get_backend_idset",
];

/// Functions whose rows have columns, and those.
pub const RECORDS: &[(&str, &[&str])] = &[
    ("_pg_expandarray", &["x", "n"]),
    ("jsonb_each", &["key", "value"]),
    ("jsonb_each_text", &["key", "value"]),
    ("json_each", &["key", "value"]),
    ("json_each_text", &["key", "value"]),
    (
        "aclexplode",
        &["grantor", "grantee", "privilege_type", "is_grantable"],
    ),
    ("pg_options_to_table", &["option_name", "option_value"]),
    ("pg_ls_waldir", &["name", "size", "modification"]),
    ("pg_ls_tmpdir", &["name", "size", "modification"]),
];

/// The function of a document that gives the objects whose fields are the columns of another's rows.
pub fn documents_of(function: &str) -> Option<&'static str> {
    Some(match function {
        "json_to_recordset" => "json_array_elements",
        "jsonb_to_recordset" => "jsonb_array_elements",
        "json_to_record" => "cast_as_json",
        "jsonb_to_record" => "cast_as_jsonb",
        _ => return None,
    })
}

/// Whether a function returns rows.
pub fn is_list_function(name: &str) -> bool {
    LISTS.contains(&name) || RECORDS.iter().any(|(record, _)| *record == name)
}

/// What the names of functions begin with that return the rows of others as lists.
pub const LIST: &str = "pg_list_";

/// The name of the function that returns the rows of another as a list.
pub fn list_name(name: &str) -> String {
    format!("{LIST}{}", name.trim_start_matches('_'))
}

/// The elements of a list, each a row, of the type that the list says: an element of a `name[]` is a `name`.
pub fn element(list: Expr) -> Expr {
    match list {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            let unnested = call("unnest", vec![list.clone()]);
            call("pg_element_of", vec![unnested, list])
        }
        list => call("unnest", vec![list]),
    }
}

/// What the column of a function's rows is called, where nobody says.
pub fn column_name(function: &str) -> &str {
    match function {
        "jsonb_array_elements"
        | "jsonb_array_elements_text"
        | "json_array_elements"
        | "json_array_elements_text" => "value",
        other => other,
    }
}
