//! The first superuser, who gives the others their passwords.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use datafusion_funnel::definition::text::literal;

use super::exit::Failure;
use crate::catalog::roles::{OWNER, random};
use crate::engine::Engine;

/// The role's name.
const ADMIN: &str = "admin";
/// Where a password may stand instead of in a file.
const VARIABLE: &str = "FUNNELSQL_ADMIN_PASSWORD";
/// Of a generated password; 24 characters.
const PASSWORD_BYTES: usize = 18;

/// The password that the operator gives: the file's first line, or the variable's value.
///
/// # Errors
/// Exit code 2 for a file that can't be read, and for an empty password.
pub fn given(file: Option<PathBuf>) -> Result<Option<String>, Failure> {
    let (password, place) = match file {
        Some(file) => {
            let place = format!("\"{}\"", file.display());
            let text = fs::read_to_string(&file).map_err(|error| {
                let message =
                    format!("can't read the administrator's password in {place}: {error}");
                Failure::usage(message, "Check the path behind --admin-password-file.")
            })?;
            (text.lines().next().unwrap_or_default().to_owned(), place)
        }
        None => match env::var(VARIABLE) {
            Ok(password) => (password, VARIABLE.to_owned()),
            Err(env::VarError::NotPresent) => return Ok(None),
            Err(error) => {
                let message =
                    format!("can't read the administrator's password in {VARIABLE}: {error}");
                return Err(Failure::usage(message, "Write it in UTF-8."));
            }
        },
    };
    match password.is_empty() {
        true => {
            let message = format!("the administrator's password in {place} is empty");
            Err(Failure::usage(
                message,
                "Leave it out to have one generated.",
            ))
        }
        false => Ok(Some(password)),
    }
}

/// Makes the role where no superuser can connect with a password; a generated password is said on stderr.
///
/// # Errors
/// 58030 when the role can't be kept, 22023 for a verifier that isn't one.
pub async fn ensure(engine: &Arc<Engine>, given: Option<String>) -> Result<(), Failure> {
    let roles = engine.catalog().roles();
    if roles.has_administrator() {
        return Ok(());
    }
    let generated = given.is_none();
    let password = match given {
        Some(password) => password,
        None => URL_SAFE_NO_PAD.encode(random::<PASSWORD_BYTES>()?),
    };
    let verb = if roles.find(ADMIN).is_some() {
        "ALTER"
    } else {
        "CREATE"
    };
    let statement = format!(
        "{verb} ROLE {ADMIN} SUPERUSER LOGIN PASSWORD {}",
        literal(&password)
    );
    engine.session(OWNER).run(&statement).await?;
    let mut stderr = io::stderr();
    match generated {
        true => writeln!(
            stderr,
            "created role {ADMIN} with password {password} (shown only now; change it with \\password in psql)"
        )?,
        false => writeln!(stderr, "created role {ADMIN} with the given password")?,
    }
    Ok(())
}
