//! SQL text → statements: FunnelSQL's own, read on top of sqlparser, and everything that DataFusion reads.
//!
//! One tokenizer pass serves both, so that every position counts from the start of the whole text.

mod access;
mod change;
mod copy;
mod foreign;
mod funnel;
mod identity;
mod index;
mod limits;
mod materialized;
mod merge;
mod metric;
mod named_columns;
mod parametric;
mod partitions;
mod postgres;
mod refused;
mod renamed;
mod role;
mod select_into;
mod sequence;
mod splice;
mod unsupported;
mod versions;
mod with;
mod words;

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as EngineStatement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

use datafusion_funnel::definition::text::{folded, folded_name, identifier};
use datafusion_funnel::spelling::{self, Misspelling};

use crate::error::{Error, Result, character_position, syntax_error};

pub use access::{AccessStatement, GrantedOn, Grantee};
pub use change::{CreateChange, ReviewChange};
pub use copy::{Columns, Copied, Copy, CopyFormat, CopyOptions, Header};
pub use datafusion_funnel::definition::template::FunnelBody;
pub use foreign::{ColumnSpec, ForeignStatement, OptionChange, Options, WhichTables};
pub use funnel::{CreateFunnel, Part};
pub use identity::Overriding;
pub use index::{IndexKey, IndexPart, IndexStatement};
pub use materialized::{CreateMaterialized, MaterializedStatement};
pub use merge::does_nothing;
pub use metric::CreateMetric;
pub use named_columns::{alias_with, column_names};
pub use postgres::{Annotation, Commented, CursorOptions, ExplainOptions, Maintenance, Which};
pub use renamed::{Relation, renamed};
pub use role::{NamedRole, Password, RoleOptions, RoleStatement};
pub use sequence::{IdentityChange, SequenceOptions, SequenceStatement};
pub use splice::{Piece, splice};
pub use versions::TABLE_AT;
pub use with::{change_in, changes_rows_anywhere, changing_query};

/// One statement of a text.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// The whole text that it stood in; positions count from its start.
    pub sql: Arc<str>,
    /// The statement's own text.
    pub text: String,
}

/// Settings of a transaction and their values: `transaction_read_only`, `on`.
pub type Modes = Vec<(&'static str, String)>;

/// What a statement says.
#[derive(Debug, Clone)]
pub enum StatementKind {
    /// `CREATE FUNNEL`.
    CreateFunnel(Box<CreateFunnel>),
    /// `DROP FUNNEL [IF EXISTS] name, …`.
    DropFunnel {
        /// The funnels.
        names: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `COMMENT ON FUNNEL name IS 'text' | NULL`.
    CommentOnFunnel {
        /// The funnel.
        name: String,
        /// The comment, or nothing to take it away.
        comment: Option<String>,
    },
    /// `CREATE METRIC`.
    CreateMetric(Box<CreateMetric>),
    /// `DROP METRIC [IF EXISTS] name, …`.
    DropMetric {
        /// The metrics.
        names: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `SHOW CREATE METRIC name`.
    ShowCreateMetric(String),
    /// `CREATE CHANGE`.
    CreateChange(Box<CreateChange>),
    /// `DROP CHANGE [IF EXISTS] name, …`.
    DropChange {
        /// The changes.
        names: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `COMMENT ON CHANGE name IS 'text' | NULL`.
    CommentOnChange {
        /// The change.
        name: String,
        /// Its note, or nothing to take it away.
        note: Option<String>,
    },
    /// `REVIEW CHANGE name`.
    ReviewChange(ReviewChange),
    /// `SHOW CREATE CHANGE name`.
    ShowCreateChange(String),
    /// `SHOW CHANGES`.
    ShowChanges,
    /// `CREATE ROLE` and the other statements about roles.
    Role(Box<RoleStatement>),
    /// `GRANT … ON`, `CREATE POLICY` and the other statements about who may see what.
    Access(Box<AccessStatement>),
    /// `CREATE SERVER` and the other statements about other databases and their tables.
    Foreign(Box<ForeignStatement>),
    /// `CREATE MATERIALIZED VIEW` and what else there is about those.
    Materialized(Box<MaterializedStatement>),
    /// `SHOW FUNNELS`.
    ShowFunnels,
    /// `SHOW CREATE FUNNEL name`.
    ShowCreateFunnel(String),
    /// `SHOW SQL FOR statement`.
    ShowSql(Box<EngineStatement>),
    /// `SET name = value`; the default where the value is absent (`RESET name`, `SET name TO DEFAULT`).
    Set {
        /// The setting, in lower case.
        name: String,
        /// The value as text.
        value: Option<String>,
        /// `SET LOCAL`: until the transaction ends.
        local: bool,
        /// The command's tag: `SET` or `RESET`.
        tag: &'static str,
    },
    /// `SET TRANSACTION …`, and `SET SESSION CHARACTERISTICS AS TRANSACTION …` for those that follow.
    SetModes {
        /// Settings and their values.
        modes: Modes,
        /// For the transactions that follow.
        session: bool,
    },
    /// `RESET ALL`.
    ResetAll,
    /// `SHOW name`.
    Show(String),
    /// `SHOW ALL`.
    ShowAll,
    /// `BEGIN`, `START TRANSACTION`, and how the transaction is to be.
    Begin(Modes),
    /// `SAVEPOINT name`
    Savepoint(String),
    /// `RELEASE name`
    Release(String),
    /// `ROLLBACK TO name`
    RollbackTo(String),
    /// `LISTEN channel`
    Listen(String),
    /// `UNLISTEN channel | *`; all where it is absent.
    Unlisten(Option<String>),
    /// `NOTIFY channel, 'payload'`
    Notify {
        /// The channel.
        channel: String,
        /// What those who listen are told.
        payload: String,
    },
    /// `DECLARE name CURSOR FOR query`
    Declare {
        /// The cursor.
        cursor: String,
        /// How it can be moved.
        options: CursorOptions,
        /// Its query.
        query: Box<Statement>,
    },
    /// `FETCH` and `MOVE`
    Fetch {
        /// The cursor.
        cursor: String,
        /// Which rows.
        which: Which,
        /// `MOVE`: they are only passed.
        moves: bool,
    },
    /// `CLOSE name | ALL`; all where it is absent.
    CloseCursor(Option<String>),
    /// `CREATE SEQUENCE` and the other statements about sequences and identities.
    Sequence(Box<SequenceStatement>),
    /// `DISCARD SEQUENCES`
    DiscardSequences,
    /// Something said about an object.
    Annotate(Annotation),
    /// A statement of Postgres' that there is nothing to do for, and its tag.
    Nothing(&'static str),
    /// `EXPLAIN statement`
    Explain {
        /// How it is explained.
        options: ExplainOptions,
        /// What is explained.
        statement: Box<EngineStatement>,
    },
    /// `OPTIMIZE`, `VACUUM`
    Maintain(Maintenance),
    /// `DISCARD TEMP`
    DiscardTemporary,
    /// `CREATE TEMP TABLE`, `CREATE TEMP VIEW`; the statement makes an ordinary one.
    CreateTemporary(Box<EngineStatement>),
    /// `COPY … TO STDOUT` and `COPY … FROM STDIN`
    Copy(Box<Copy>),
    /// `COMMIT`, `END`.
    Commit {
        /// `AND CHAIN`: the next transaction begins at once.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`.
    Rollback {
        /// `AND CHAIN`: the next transaction begins at once.
        chain: bool,
    },
    /// `PREPARE name [(types)] AS statement`.
    Prepare {
        /// The statement's name.
        name: String,
        /// The declared parameter types.
        types: Vec<ast::DataType>,
        /// The statement.
        statement: Box<Statement>,
    },
    /// `EXECUTE name [(values)]`.
    Execute {
        /// The statement's name.
        name: String,
        /// The values.
        values: Vec<ast::Expr>,
    },
    /// `CREATE INDEX`, `DROP INDEX`.
    Index(Box<IndexStatement>),
    /// `DEALLOCATE name | ALL`; all where the name is absent.
    Deallocate(Option<String>),
    /// `DISCARD ALL`.
    DiscardAll,
    /// Anything that DataFusion reads.
    Engine(Box<EngineStatement>),
}

/// Reads a text into its statements; none for a text without any.
///
/// # Errors
/// 42601 with the position of the first word that can't be read; 54001 for a statement that is too
/// deep or too long to plan safely.
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    limits::check_length(sql)?;
    let dialect = PostgreSqlDialect {};
    let mut tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| syntax_error(&ParserError::from(error), sql))?;
    limits::check_depth(&tokens)?;
    parametric::join_lists(&mut tokens);
    partitions::as_option(&mut tokens);
    versions::as_calls(&mut tokens);
    words::replace(&mut tokens);
    identity::rewrite(&mut tokens);
    merge::rewrite(&mut tokens);
    named_columns::with_types(&mut tokens);
    let mut parser = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .build()
        .map_err(|error| Error::from_engine(&error, sql))?;
    let source: Arc<str> = Arc::from(sql);
    let mut statements = Vec::new();
    let mut reached = Reached::default();
    loop {
        while parser.parser.consume_token(&Token::SemiColon) {}
        if parser.parser.peek_token().token == Token::EOF {
            return Ok(statements);
        }
        let start = parser.parser.peek_token().span.start;
        let mut kind = parse_statement(&mut parser, sql, &source)?;
        if let Some(query) = query_of_table(&mut kind)
            && !materialized::with_data(&mut parser.parser)
                .map_err(|error| syntax_error(&error, sql))?
        {
            query.fetch = None;
            query.limit_clause = Some(ast::LimitClause::LimitOffset {
                limit: Some(crate::postgres::rewrite::number(0)),
                offset: None,
                limit_by: Vec::new(),
            });
        }
        let end = parser.parser.peek_token();
        if !matches!(end.token, Token::SemiColon | Token::EOF) {
            let found = ParserError::ParserError(format!(
                "Expected: end of statement, found: {}{}",
                end.token, end.span.start
            ));
            return Err(syntax_error(&found, sql));
        }
        let from = reached.advance(sql, start);
        let to = match end.token {
            Token::EOF => sql.len(),
            _ => reached.advance(sql, end.span.start),
        };
        let text = sql.get(from..to).unwrap_or_default().trim_end().to_owned();
        statements.push(Statement {
            kind,
            sql: Arc::clone(&source),
            text,
        });
    }
}

/// The query whose rows a new table gets.
fn query_of_table(kind: &mut StatementKind) -> Option<&mut ast::Query> {
    let (StatementKind::Engine(statement) | StatementKind::CreateTemporary(statement)) = kind
    else {
        return None;
    };
    let EngineStatement::Statement(inner) = statement.as_mut() else {
        return None;
    };
    match inner.as_mut() {
        ast::Statement::CreateTable(create) => create.query.as_deref_mut(),
        _ => None,
    }
}

/// How far a text has been read: its statements come in order, so that each of them isn't looked for from the start.
struct Reached {
    line: u64,
    column: u64,
    byte: usize,
}

impl Default for Reached {
    fn default() -> Self {
        Self {
            line: 1,
            column: 1,
            byte: 0,
        }
    }
}

impl Reached {
    /// The byte at a location that isn't behind.
    fn advance(&mut self, sql: &str, location: Location) -> usize {
        let rest = sql.get(self.byte..).unwrap_or_default();
        for character in rest.chars() {
            if (self.line, self.column) >= (location.line, location.column) {
                break;
            }
            self.byte += character.len_utf8();
            match character {
                '\n' => (self.line, self.column) = (self.line + 1, 1),
                _ => self.column += 1,
            }
        }
        self.byte
    }
}

/// The text from one location up to another; to the end where the latter is past it.
fn slice(sql: &str, start: Location, end: Location) -> String {
    let place = |location: Location| character_position(sql, location.line, location.column);
    let from = place(start).unwrap_or(1) - 1;
    let to = place(end)
        .map_or(usize::MAX, |position| position - 1)
        .max(from);
    let text: String = sql
        .chars()
        .skip(from)
        .take(to.saturating_sub(from))
        .collect();
    text.trim_end().to_owned()
}

fn parse_statement(parser: &mut DFParser, sql: &str, source: &Arc<str>) -> Result<StatementKind> {
    if let Some(kind) = funnel::parse(&mut parser.parser, sql)? {
        return Ok(kind);
    }
    if let Some(kind) = metric::parse(&mut parser.parser, sql)? {
        return Ok(kind);
    }
    if let Some(kind) = change::parse(&mut parser.parser, sql)? {
        return Ok(kind);
    }
    if let Some(kind) = access::parse(&mut parser.parser, sql)? {
        return Ok(kind);
    }
    if let Some(kind) = foreign::parse(&mut parser.parser, sql)? {
        return Ok(kind);
    }
    if let Some(kind) = role::parse(&mut parser.parser, sql)? {
        return Ok(kind);
    }
    if show_sql_for(&mut parser.parser) {
        let statement = parse_engine_statement(parser, sql)?;
        return Ok(StatementKind::ShowSql(Box::new(statement)));
    }
    if let Some(kind) = sequence::parse(&mut parser.parser, sql)? {
        return Ok(kind);
    }
    if let Some(kind) = unsupported::check(&mut parser.parser)? {
        return Ok(kind);
    }
    let in_sql = |error: ParserError| syntax_error(&error, sql);
    if let Some(statement) = materialized::parse(&mut parser.parser).map_err(in_sql)? {
        return Ok(StatementKind::Materialized(Box::new(statement)));
    }
    if let Some(header) = materialized::create(&mut parser.parser).map_err(in_sql)? {
        let query = parse_query_of(parser, sql, source)?;
        let with_data = materialized::with_data(&mut parser.parser).map_err(in_sql)?;
        let statement = header.with(query, with_data);
        return Ok(StatementKind::Materialized(Box::new(statement)));
    }
    if let Some(kind) = postgres::parse(&mut parser.parser).map_err(in_sql)? {
        return Ok(kind);
    }
    if let Some(kind) = index::parse(&mut parser.parser).map_err(in_sql)? {
        return Ok(kind);
    }
    if let Some(copy) = copy::parse(&mut parser.parser, sql)? {
        return Ok(StatementKind::Copy(Box::new(copy)));
    }
    if let Some(options) = postgres::explain(&mut parser.parser).map_err(in_sql)? {
        let statement = Box::new(parse_engine_statement(parser, sql)?);
        return Ok(StatementKind::Explain { options, statement });
    }
    let declared = postgres::declare(&mut parser.parser).map_err(in_sql)?;
    if let Some((cursor, options)) = declared {
        let start = parser.parser.peek_token().span.start;
        let kind = parse_statement(parser, sql, source)?;
        check_cursor(&kind)?;
        let text = slice(sql, start, parser.parser.peek_token().span.start);
        let query = Box::new(Statement {
            kind,
            sql: Arc::clone(source),
            text,
        });
        return Ok(StatementKind::Declare {
            cursor,
            options,
            query,
        });
    }
    if let Some(kind) =
        parse_session(&mut parser.parser).map_err(|error| syntax_error(&error, sql))?
    {
        return Ok(kind);
    }
    match parse_engine_statement(parser, sql)? {
        EngineStatement::Statement(statement) => from_ast(*statement, source),
        other => Ok(StatementKind::Engine(Box::new(other))),
    }
}

/// Refuses a cursor over a query that changes rows: how many of them is not for whoever fetches to say.
fn check_cursor(query: &StatementKind) -> Result<()> {
    match query {
        StatementKind::Engine(statement) => match statement.as_ref() {
            EngineStatement::Statement(inner) if changes_rows_anywhere(inner) => {
                Err(Error::Unsupported {
                    message: "DECLARE CURSOR must not contain data-modifying statements in WITH"
                        .to_owned(),
                    hint: None,
                })
            }
            EngineStatement::Statement(inner)
                if matches!(inner.as_ref(), ast::Statement::CreateTable(_)) =>
            {
                Err(into_not_allowed())
            }
            _ => Ok(()),
        },
        StatementKind::CreateTemporary(_) => Err(into_not_allowed()),
        _ => Ok(()),
    }
}

/// A cursor is over rows, and not over a table that they are kept in.
fn into_not_allowed() -> Error {
    Error::Syntax {
        message: "SELECT ... INTO is not allowed here".to_owned(),
        position: None,
    }
}

/// The parts of a relation's name as it is written: `crm."Deals"`.
///
/// # Errors
/// 42601.
pub fn relation_name(text: &str) -> Result<Vec<String>> {
    let dialect = PostgreSqlDialect {};
    let in_text = |error: ParserError| syntax_error(&error, text);
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(in_text)?;
    let parts = postgres::names(&mut parser).map_err(in_text)?;
    match parser.peek_token().token {
        Token::EOF => Ok(parts),
        _ => Err(Error::Syntax {
            message: format!("syntax error: \"{text}\" is not a relation's name"),
            position: None,
        }),
    }
}

/// The query that a statement is about.
fn parse_query_of(parser: &mut DFParser, sql: &str, source: &Arc<str>) -> Result<Statement> {
    let start = parser.parser.peek_token();
    let kind = parse_statement(parser, sql, source)?;
    let is_query = match &kind {
        StatementKind::Engine(statement) => match statement.as_ref() {
            EngineStatement::Statement(statement) => {
                matches!(statement.as_ref(), ast::Statement::Query(_))
            }
            _ => false,
        },
        _ => false,
    };
    if !is_query {
        let expected = parser.parser.expected::<()>("a query", start);
        return match expected {
            Err(error) => Err(syntax_error(&error, sql)),
            Ok(()) => Err(Error::Syntax {
                message: "syntax error: expected: a query".to_owned(),
                position: None,
            }),
        };
    }
    let text = slice(sql, start.span.start, parser.parser.peek_token().span.start);
    Ok(Statement {
        kind,
        sql: Arc::clone(source),
        text,
    })
}

fn parse_engine_statement(parser: &mut DFParser, sql: &str) -> Result<EngineStatement> {
    let mut statement = parser.parse_statement().map_err(|error| match &error {
        DataFusionError::SQL(error, _) => syntax_error(error, sql),
        _ => Error::from_engine(&error, sql),
    })?;
    resolve_spellings(&mut statement, sql)?;
    if let EngineStatement::Statement(inner) = &mut statement {
        select_into::as_create_table(inner);
        refused::check(inner, sql)?;
    }
    Ok(statement)
}

/// Takes `SHOW SQL FOR`, or nothing at all.
fn show_sql_for(parser: &mut Parser) -> bool {
    let next = [0, 1, 2].map(|at| parser.peek_nth_token(at).token);
    let matches = ["show", "sql", "for"]
        .iter()
        .zip(&next)
        .all(|(word, token)| is_word(token, word));
    if matches {
        for _ in next {
            parser.next_token();
        }
    }
    matches
}

/// Other engines' calls of the event functions as ours, inside of `EXPLAIN`, `PREPARE` and definitions too.
fn resolve_spellings(statement: &mut EngineStatement, sql: &str) -> Result<()> {
    match statement {
        EngineStatement::Statement(statement) => {
            spelling::resolve(statement.as_mut()).map_err(|Misspelling { error, span }| {
                let position = character_position(sql, span.start.line, span.start.column);
                Error::Funnel { error, position }
            })
        }
        EngineStatement::Explain(explain) => resolve_spellings(&mut explain.statement, sql),
        EngineStatement::CreateExternalTable(_)
        | EngineStatement::CopyTo(_)
        | EngineStatement::Reset(_) => Ok(()),
    }
}

/// Statements about the session whose spelling sqlparser doesn't have, or has in many shapes.
fn parse_session(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    if parser.parse_keyword(Keyword::RESET) {
        if parser.parse_keyword(Keyword::ALL) {
            return Ok(Some(StatementKind::ResetAll));
        }
        if parser.parse_keywords(&[Keyword::SESSION, Keyword::AUTHORIZATION]) {
            return Ok(Some(StatementKind::Nothing("RESET")));
        }
        let name = setting_name(parser)?;
        return Ok(Some(StatementKind::Set {
            name,
            value: None,
            local: false,
            tag: "RESET",
        }));
    }
    if parser.parse_keyword(Keyword::SET) {
        if word(parser, "constraints") {
            constraints(parser)?;
            return Ok(Some(StatementKind::Nothing("SET CONSTRAINTS")));
        }
        parser.prev_token();
    }
    if word(parser, "abort") {
        let chain = parser.parse_commit_rollback_chain()?;
        return Ok(Some(StatementKind::Rollback { chain }));
    }
    if parser.parse_keyword(Keyword::SHOW) {
        if parser.parse_keyword(Keyword::ALL) {
            return Ok(Some(StatementKind::ShowAll));
        }
        if !matches!(parser.peek_token().token, Token::Word(_)) {
            return parser.expected("the name of a setting", parser.peek_token());
        }
        // SHOW TABLES and the like are DataFusion's.
        let others = [
            Keyword::TABLES,
            Keyword::COLUMNS,
            Keyword::FUNCTIONS,
            Keyword::CREATE,
        ];
        if parser.peek_one_of_keywords(&others).is_some() {
            parser.prev_token();
            return Ok(None);
        }
        return Ok(Some(StatementKind::Show(setting_name(parser)?)));
    }
    Ok(None)
}

/// `ALL DEFERRED`, `a, b IMMEDIATE`: keys and checks hold at the end of each statement, whenever that is said.
fn constraints(parser: &mut Parser) -> Result<(), ParserError> {
    if !parser.parse_keyword(Keyword::ALL) {
        parser.parse_comma_separated(|parser| parser.parse_object_name(false))?;
    }
    match word(parser, "deferred") || word(parser, "immediate") {
        true => Ok(()),
        false => parser.expected("DEFERRED or IMMEDIATE", parser.peek_token()),
    }
}

/// `timezone`, `TIME ZONE`, `transaction isolation level`, `datafusion.execution.batch_size`.
fn setting_name(parser: &mut Parser) -> Result<String, ParserError> {
    if parser.parse_keywords(&[Keyword::TIME, Keyword::ZONE]) {
        return Ok("timezone".to_owned());
    }
    if parser.parse_keywords(&[Keyword::TRANSACTION, Keyword::ISOLATION, Keyword::LEVEL]) {
        return Ok("transaction_isolation".to_owned());
    }
    let name = parser.parse_object_name(false)?;
    Ok(name.to_string().replace('"', "").to_lowercase())
}

fn from_ast(statement: ast::Statement, source: &Arc<str>) -> Result<StatementKind> {
    Ok(match statement {
        ast::Statement::Set(set) => from_set(set)?,
        ast::Statement::StartTransaction { modes, .. } => {
            StatementKind::Begin(transaction_modes(&modes))
        }
        ast::Statement::CreateTable(mut create) if create.temporary => {
            create.temporary = false;
            // `LOCAL TEMPORARY`, and what is so anyway.
            create.global = None;
            if matches!(create.on_commit, Some(ast::OnCommit::PreserveRows)) {
                create.on_commit = None;
            }
            let create = ast::Statement::CreateTable(create);
            StatementKind::CreateTemporary(Box::new(EngineStatement::Statement(Box::new(create))))
        }
        ast::Statement::CreateView(mut create) if create.temporary && !create.materialized => {
            create.temporary = false;
            let create = ast::Statement::CreateView(create);
            StatementKind::CreateTemporary(Box::new(EngineStatement::Statement(Box::new(create))))
        }
        ast::Statement::Commit { chain, .. } => StatementKind::Commit { chain },
        ast::Statement::Rollback {
            chain,
            savepoint: None,
        } => StatementKind::Rollback { chain },
        ast::Statement::Prepare {
            name,
            data_types,
            statement,
        } => {
            let text = statement.to_string();
            let kind = from_ast(*statement, source)?;
            let statement = Statement {
                kind,
                sql: Arc::clone(source),
                text,
            };
            let statement = Box::new(statement);
            StatementKind::Prepare {
                name: folded(&name),
                types: data_types,
                statement,
            }
        }
        ast::Statement::Execute {
            name: Some(name),
            parameters,
            immediate: false,
            ..
        } => StatementKind::Execute {
            name: folded_name(&name),
            values: parameters,
        },
        ast::Statement::Deallocate { name, .. } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            StatementKind::Deallocate((!all).then(|| folded(&name)))
        }
        ast::Statement::Discard {
            object_type: ast::DiscardObject::ALL,
        } => StatementKind::DiscardAll,
        other => StatementKind::Engine(Box::new(EngineStatement::Statement(Box::new(other)))),
    })
}

fn from_set(set: ast::Set) -> Result<StatementKind> {
    match set {
        ast::Set::SingleAssignment {
            scope,
            variable,
            values,
            ..
        } => {
            let name = variable.to_string().replace('"', "").to_lowercase();
            let is_default = |value: &String| value.eq_ignore_ascii_case("default");
            let mut texts: Vec<String> = values.iter().map(setting_value).collect();
            if name == "search_path" && !texts.iter().any(is_default) {
                let names = values.iter().map(|schema| match schema {
                    ast::Expr::Identifier(schema) => folded(schema),
                    other => setting_value(other),
                });
                texts = names.map(|schema| identifier(&schema)).collect();
            }
            let value = texts.join(", ");
            let default = value.eq_ignore_ascii_case("default");
            Ok(StatementKind::Set {
                name,
                value: (!default).then_some(value),
                local: scope == Some(ast::ContextModifier::Local),
                tag: "SET",
            })
        }
        ast::Set::SetTimeZone { local, value } => {
            let value = setting_value(&value);
            let default = ["default", "local"].contains(&value.to_lowercase().as_str());
            Ok(StatementKind::Set {
                name: "timezone".to_owned(),
                value: (!default).then_some(value),
                local,
                tag: "SET",
            })
        }
        ast::Set::SetNames { charset_name, .. } => Ok(StatementKind::Set {
            name: "client_encoding".to_owned(),
            value: Some(charset_name.value),
            local: false,
            tag: "SET",
        }),
        ast::Set::SetNamesDefault {} => Ok(StatementKind::Set {
            name: "client_encoding".to_owned(),
            value: None,
            local: false,
            tag: "SET",
        }),
        ast::Set::SetTransaction { modes, session, .. } => Ok(StatementKind::SetModes {
            modes: transaction_modes(&modes),
            session,
        }),
        ast::Set::SetSessionAuthorization(authorization)
            if matches!(
                authorization.kind,
                ast::SetSessionAuthorizationParamKind::Default
            ) =>
        {
            Ok(StatementKind::Nothing("SET"))
        }
        ast::Set::SetRole {
            role_name: None, ..
        } => Ok(StatementKind::Nothing("SET")),
        other => Err(Error::Unsupported {
            message: format!("{other} is not supported"),
            hint: None,
        }),
    }
}

fn transaction_modes(modes: &[ast::TransactionMode]) -> Modes {
    let mode = |mode: &ast::TransactionMode| match mode {
        ast::TransactionMode::AccessMode(access) => {
            let read_only = *access == ast::TransactionAccessMode::ReadOnly;
            (
                "transaction_read_only",
                if read_only { "on" } else { "off" }.to_owned(),
            )
        }
        ast::TransactionMode::IsolationLevel(level) => {
            ("transaction_isolation", level.to_string().to_lowercase())
        }
    };
    modes.iter().map(mode).collect()
}

fn setting_value(value: &ast::Expr) -> String {
    match value {
        ast::Expr::Value(value) => match value.value.clone().into_string() {
            Some(text) => text,
            None => value.to_string(),
        },
        ast::Expr::Identifier(identifier) => identifier.value.clone(),
        other => other.to_string(),
    }
}

/// Takes the next word when it is `expected`, which is no keyword of sqlparser's.
fn word(parser: &mut Parser, expected: &str) -> bool {
    let found = is_word(&parser.peek_token().token, expected);
    if found {
        parser.next_token();
    }
    found
}

fn is_word(token: &Token, expected: &str) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_its_statements() {
        let statements = parse("select 1 ; ;\n select '中;文' -- end\n;").unwrap();
        let texts: Vec<&str> = statements.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(texts.first(), Some(&"select 1"));
        assert!(texts[1].starts_with("select '中;文'"), "{texts:?}");
        assert_eq!(parse(" ;; -- nothing\n").unwrap().len(), 0);
    }

    #[test]
    fn many_statements_cost_what_their_length_does() {
        let line = "select '漏斗 🛒'; ".repeat(200) + "\n" + &"select\n  1;\r\n".repeat(200);
        let statements = parse(&line).unwrap();
        assert_eq!(statements.len(), 400);
        assert!(
            statements[..200]
                .iter()
                .all(|s| s.text == "select '漏斗 🛒'")
        );
        assert!(statements[200..].iter().all(|s| s.text == "select\n  1"));
    }

    #[test]
    fn a_statement_cut_midway_is_a_syntax_error_with_its_position() {
        let error = parse("select 1 from (select").unwrap_err();
        assert_eq!(error.code(), "42601");
        let error = parse("select 'open").unwrap_err();
        assert_eq!(error.code(), "42601");
        let error = parse("select 1 frm x where").unwrap_err();
        assert_eq!((error.code(), error.position()), ("42601", Some(14)));
    }

    #[test]
    fn other_engines_calls_are_resolved_wherever_they_stand() {
        let planned = |sql: &str| match parse(sql).unwrap().remove(0).kind {
            StatementKind::Engine(statement) | StatementKind::Explain { statement, .. } => {
                statement.to_string()
            }
            StatementKind::Prepare { statement, .. } => match statement.kind {
                StatementKind::Engine(statement) => statement.to_string(),
                _ => panic!("{sql}"),
            },
            _ => panic!("{sql}"),
        };
        let query = "SELECT windowFunnel(60, 'strict_once')(ts, (a), b = ')(') FROM e";
        let resolved = "SELECT window_funnel(60, 'strict_once', ts, (a), b = ')(') FROM e";
        for around in [
            "",
            "EXPLAIN ",
            "EXPLAIN ANALYZE ",
            "INSERT INTO t ",
            "CREATE VIEW v AS ",
            "CREATE TABLE t AS ",
        ] {
            let found = planned(&format!("{around}{query}"));
            assert!(found.ends_with(resolved), "{around}: {found}");
        }
        assert_eq!(planned(&format!("PREPARE p AS {query}")), resolved);
        let both = format!("WITH c AS ({query}) SELECT * FROM c UNION ALL ({query})");
        assert_eq!(planned(&both), both.replace(query, resolved));
        let statements = parse(&format!("CREATE VIEW v AS {query};\n{query}")).unwrap();
        assert_eq!(statements[0].text, format!("CREATE VIEW v AS {query}"));
        assert_eq!(statements[1].text, query);
    }

    #[test]
    fn a_misspelt_call_is_an_error_at_its_name() {
        let error = parse("select 1;\nEXPLAIN SELECT window_funnel(60, ts, 2, a)").unwrap_err();
        assert_eq!((error.code(), error.position()), ("42883", Some(26)));
        assert!(error.hint().unwrap().contains("ARRAY[condition, …]"));
        let error = parse("SELECT windowFunnel(60)(ts, a) FROM e whre x y").unwrap_err();
        assert_eq!((error.code(), error.position()), ("42601", Some(44)));
    }

    #[test]
    fn settings_have_one_shape() {
        let kind = |sql: &str| parse(sql).unwrap().remove(0).kind;
        for sql in [
            "SET TimeZone = 'Asia/Shanghai'",
            "set time zone 'Asia/Shanghai'",
        ] {
            let StatementKind::Set { name, value, .. } = kind(sql) else {
                panic!("{sql}")
            };
            assert_eq!(
                (name.as_str(), value.as_deref()),
                ("timezone", Some("Asia/Shanghai"))
            );
        }
        for sql in ["RESET timezone", "SET timezone TO DEFAULT"] {
            let StatementKind::Set { value, .. } = kind(sql) else {
                panic!("{sql}")
            };
            assert_eq!(value, None, "{sql}");
        }
        assert!(matches!(kind("SHOW time zone"), StatementKind::Show(name) if name == "timezone"));
        assert!(matches!(
            kind("ABORT"),
            StatementKind::Rollback { chain: false }
        ));
        for sql in ["ABORT AND CHAIN", "ROLLBACK WORK AND CHAIN"] {
            assert!(matches!(kind(sql), StatementKind::Rollback { chain: true }));
        }
        assert!(matches!(
            kind("END TRANSACTION AND NO CHAIN"),
            StatementKind::Commit { chain: false }
        ));
        assert!(matches!(
            kind("DEALLOCATE ALL"),
            StatementKind::Deallocate(None)
        ));
    }
}
