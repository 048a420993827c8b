//! `funnelsql sql`: the engine without a server, for scripts and pipes.

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::PathBuf;

use clap::parser::ArgMatches;
use clap::{Arg, ArgAction, FromArgMatches};

use super::DataDir;
use super::exit::Failure;
use super::format::{self, Format};
use super::report::{write_error, write_notice};
use super::script::{Script, Step, Variables, is_name};
use crate::engine::{Outcome, Session};
use crate::error::{Error, Result};

/// Run SQL over a data directory and print the results
///
/// Reads stdin where neither -c nor -f is given. Scripts are read as psql reads them: variables :name,
/// :'name' and :"name", and the commands \set, \unset, \if, \elif, \else, \endif, \echo, \qecho, \warn and \q;
/// \pset, \timing and \x are accepted and change nothing. The first error stops it.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Example:
  funnelsql sql -c \"SHOW FUNNELS\"
  funnelsql sql -v channel=referral -f report.sql --format csv > report.csv

Exit codes: 0 done; 1 a -c failed, or the data directory can't be opened; 2 wrong usage; 3 a script stopped midway."
)]
pub struct Arguments {
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    sources: Sources,
    /// Set a variable, which a script names :name, :'name' or :"name"
    #[arg(short = 'v', long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, Option<String>)>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Where the SQL is, in the order of the command line. clap's derive keeps no order between options.
#[derive(Debug, Default)]
struct Sources(Vec<Source>);

#[derive(Debug)]
enum Source {
    Command(String),
    File(PathBuf),
    Stdin,
}

/// Whether a script goes on.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Quit,
}

/// Runs the command.
///
/// # Errors
/// Exit code 1 when a `-c` failed, 3 when a script stopped midway.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        data,
        sources,
        variables,
        format,
    } = arguments;
    let Sources(mut sources) = sources;
    if sources.is_empty() {
        if io::stdin().is_terminal() {
            let message = "there is no SQL to run".to_owned();
            return Err(Failure::usage(
                message,
                "Give it with -c or -f, or pipe it to stdin.",
            ));
        }
        sources.push(Source::Stdin);
    }
    let engine = data.open().await?;
    let mut runner = Runner {
        session: engine.session("funnelsql"),
        variables: Variables::default(),
        format,
        out: BufWriter::new(io::stdout()),
    };
    for (name, value) in variables {
        match value {
            Some(value) => runner.variables.set(name, value),
            None => runner.variables.unset(&name),
        }
    }
    for source in &sources {
        runner.run_source(source).await?;
    }
    Ok(())
}

/// One session, and what its scripts have set.
struct Runner {
    session: Session,
    variables: Variables,
    format: Format,
    /// Flushed before anything is said on stderr, so that both keep their order in a terminal.
    out: BufWriter<Stdout>,
}

impl Runner {
    async fn run_source(&mut self, source: &Source) -> Result<(), Failure> {
        let text = source.read()?;
        let mut script = Script::new(text.strip_prefix('\u{feff}').unwrap_or(&text));
        loop {
            let step = match script.next(&self.variables) {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(self.out.flush()?),
                Err(error) => return Err(self.stop(source, script.line(), "", error.into())),
            };
            let line = script.line();
            match step {
                Step::Statement(sql) => {
                    if let Err(failure) = self.run_statement(source, line, &sql).await {
                        return Err(self.stop(source, line, &sql, failure));
                    }
                }
                Step::Command { name, arguments } => match self.run_command(&name, &arguments) {
                    Ok(Flow::Next) => {}
                    Ok(Flow::Quit) => return Ok(self.out.flush()?),
                    Err(failure) => return Err(self.stop(source, line, "", failure)),
                },
            }
        }
    }

    async fn run_statement(
        &mut self,
        source: &Source,
        line: usize,
        sql: &str,
    ) -> Result<(), Failure> {
        for statement in self.session.parse(sql)? {
            match self.session.execute_statement(statement).await? {
                Outcome::Rows {
                    stream, notices, ..
                } => {
                    self.out.flush()?;
                    for notice in &notices {
                        write_notice(&mut io::stderr(), &source.place(line), notice)?;
                    }
                    let (names, style) = (self.session.names(), self.session.style());
                    let out = &mut self.out;
                    format::write_rows(self.format, stream, sql, &names, style, out).await?;
                }
                Outcome::Done { tag, notices, .. } => {
                    self.out.flush()?;
                    for notice in &notices {
                        write_notice(&mut io::stderr(), &source.place(line), notice)?;
                    }
                    match self.format {
                        Format::Table => writeln!(self.out, "{tag}")?,
                        // Whoever reads the data doesn't want it between them.
                        Format::Csv | Format::Json => writeln!(io::stderr(), "{tag}")?,
                    }
                }
            }
        }
        Ok(self.out.flush()?)
    }

    fn run_command(&mut self, name: &str, arguments: &[String]) -> Result<Flow, Failure> {
        match (name, arguments) {
            ("set", []) => {
                for (name, value) in self.variables.iter() {
                    writeln!(self.out, "{name} = '{value}'")?;
                }
            }
            ("set", [name, values @ ..]) => {
                self.variables.set(variable_name(name)?, values.concat());
            }
            ("unset", [name]) => self.variables.unset(variable_name(name)?),
            ("echo" | "qecho", words) => write_words(&mut self.out, words)?,
            ("warn", words) => {
                self.out.flush()?;
                write_words(&mut io::stderr(), words)?;
            }
            // They are about psql's own display.
            ("pset" | "timing" | "x", _) => {}
            ("q", []) => return Ok(Flow::Quit),
            ("unset" | "q", _) => {
                let takes = if name == "q" {
                    "no argument"
                } else {
                    "the name of a variable"
                };
                let message = format!("\\{name} takes {takes}");
                return Err(Error::Syntax {
                    message,
                    position: None,
                }
                .into());
            }
            _ => return Err(unknown_command(name).into()),
        }
        Ok(Flow::Next)
    }

    /// Reports why a source stopped, unless nobody reads the output any more.
    fn stop(&mut self, source: &Source, line: usize, sql: &str, failure: Failure) -> Failure {
        let Some(error) = failure.error() else {
            return failure;
        };
        let before = error
            .position()
            .map_or(0, |position| position.saturating_sub(1));
        let line = line + sql.chars().take(before).filter(|c| *c == '\n').count();
        // The statement's fault is the one to tell of, not that of the streams.
        let _ = self.out.flush();
        let _ = write_error(&mut io::stderr(), &source.place(line), error, sql);
        match source {
            Source::Command(_) => Failure::of_command(),
            Source::File(_) | Source::Stdin => Failure::of_script(),
        }
    }
}

impl Source {
    fn file(path: String) -> Self {
        match path.as_str() {
            "-" => Self::Stdin,
            _ => Self::File(PathBuf::from(path)),
        }
    }

    fn read(&self) -> Result<String> {
        match self {
            Self::Command(sql) => Ok(sql.clone()),
            Self::File(path) => fs::read_to_string(path)
                .map_err(|error| Error::io(format!("can't read \"{}\"", path.display()), error)),
            Self::Stdin => io::read_to_string(io::stdin())
                .map_err(|error| Error::io("can't read stdin", error)),
        }
    }

    /// What stands before a message about a line of it.
    fn place(&self, line: usize) -> String {
        match self {
            Self::Command(_) => String::new(),
            Self::File(path) => format!("funnelsql:{}:{line}: ", path.display()),
            Self::Stdin => format!("funnelsql:<stdin>:{line}: "),
        }
    }
}

impl FromArgMatches for Sources {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found = Vec::new();
        let mut add = |option: &str, make: fn(String) -> Source| {
            let places = matches.indices_of(option).into_iter().flatten();
            let values = matches.get_many::<String>(option).into_iter().flatten();
            found.extend(
                places
                    .zip(values)
                    .map(|(place, value)| (place, make(value.clone()))),
            );
        };
        add("command", Source::Command);
        add("file", Source::file);
        found.sort_by_key(|(place, _)| *place);
        Ok(Self(found.into_iter().map(|(_, source)| source).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Sources {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
            .arg(
                Arg::new("command")
                    .short('c')
                    .long("command")
                    .value_name("SQL")
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true)
                    .help("Run these statements; -c and -f may be mixed and run in their order, in one session"),
            )
            .arg(
                Arg::new("file")
                    .short('f')
                    .long("file")
                    .value_name("FILE")
                    .action(ArgAction::Append)
                    .help("Run this script; - is stdin"),
            )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// `name=value`; a name alone takes the variable away, as in psql.
fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    match is_name(name) {
        true => Ok((name.to_owned(), value)),
        false => Err("write NAME=VALUE; a name has letters, digits and underscores".to_owned()),
    }
}

fn variable_name(name: &str) -> Result<&str> {
    match is_name(name) {
        true => Ok(name),
        false => Err(Error::Syntax {
            message: format!("invalid variable name: \"{name}\""),
            position: None,
        }),
    }
}

/// The words with a blank between them, and a line break unless the first is `-n`.
fn write_words(out: &mut dyn Write, words: &[String]) -> io::Result<()> {
    match words {
        [first, rest @ ..] if first == "-n" => write!(out, "{}", rest.join(" ")),
        words => writeln!(out, "{}", words.join(" ")),
    }
}

fn unknown_command(name: &str) -> Error {
    Error::Unsupported {
        message: format!("command \\{name} is psql's and not supported here"),
        hint: Some("Start funnelsql serve and run the script with psql.".to_owned()),
    }
}
