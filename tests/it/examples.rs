//! What the project shows is what happens: the saved queries, and the sessions in the documents.
//!
//! Set `UPDATE_EXAMPLES=1` to write what happens into the stored results and the documents.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use funnelsql::cli::script::{Script, Step, Variables};
use funnelsql::engine::{Engine, EngineOptions, Outcome, Session, text_rows};
use funnelsql::sample::{Language, SampleOptions, write_sample};
use funnelsql::server::{Server, ServerOptions};
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio_postgres::SimpleQueryMessage;

use crate::support::connect;

/// The company that `funnelsql demo` serves.
struct Demo {
    folder: TempDir,
}

impl Demo {
    async fn new(language: Language) -> Self {
        let folder = TempDir::new().unwrap();
        let options = SampleOptions {
            language,
            ..SampleOptions::default()
        };
        write_sample(&folder.path().join("tables/crm"), &options).unwrap();
        let funnels = match language {
            Language::English => include_str!("../../src/cli/demo/funnels_en.sql"),
            Language::Chinese => include_str!("../../src/cli/demo/funnels_zh.sql"),
        };
        let demo = Self { folder };
        demo.engine()
            .await
            .session("funnelsql")
            .run(funnels)
            .await
            .unwrap();
        demo
    }

    async fn engine(&self) -> std::sync::Arc<Engine> {
        Engine::open(EngineOptions::new(self.folder.path()))
            .await
            .unwrap()
    }

    /// What `funnelsql sql` prints, without the blanks at the ends of lines.
    fn printed(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_funnelsql"))
            .args(["sql", "--data-dir"])
            .arg(self.folder.path())
            .args(arguments)
            .current_dir(project())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        trimmed(&String::from_utf8(output.stdout).unwrap())
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

fn is_update() -> bool {
    std::env::var_os("UPDATE_EXAMPLES").is_some()
}

/// Compares with a stored text, or stores it.
fn check_stored(path: &Path, found: &str) {
    if is_update() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, found).unwrap();
    }
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        found,
        stored,
        "{}: UPDATE_EXAMPLES=1 stores what happens",
        path.display()
    );
}

fn saved_queries() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(project().join("queries"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    assert!(files.len() >= 5);
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_saved_query_prints_its_stored_result() {
    let demo = Demo::new(Language::English).await;
    for path in saved_queries() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let printed = demo.printed(&["-f", path.to_str().unwrap()]);
        check_stored(
            &project().join(format!("queries/results/{name}.txt")),
            &printed,
        );
        let header = fs::read_to_string(&path).unwrap();
        for part in [
            "-- Question: ",
            "-- Variables",
            "-- Columns",
            "-- Run: psql ",
        ] {
            assert!(
                header.contains(part),
                "{name} has no {part:?} in its header"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_saved_query_gives_the_same_over_the_wire() {
    let demo = Demo::new(Language::English).await;
    let engine = demo.engine().await;
    let session = engine.session("analyst");
    let options = ServerOptions {
        shutdown_grace: std::time::Duration::from_secs(1),
        ..ServerOptions::new("127.0.0.1:0")
    };
    let server = Server::bind(std::sync::Arc::clone(&engine), options)
        .await
        .unwrap();
    let address = server.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(address.port())
        .user("analyst")
        .dbname("funnelsql");
    let client = connect(&config).await;
    for path in saved_queries() {
        for statement in statements(&path) {
            let rows = client.simple_query(&statement).await.unwrap();
            assert_eq!(
                wire_rows(&rows),
                engine_rows(&session, &statement).await,
                "{statement}"
            );
        }
        check_psql(&path, address.port());
    }
    drop(client);
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

/// The statements of a script with its default variables.
fn statements(path: &Path) -> Vec<String> {
    let mut script = Script::new(&fs::read_to_string(path).unwrap());
    let mut variables = Variables::default();
    let mut statements = Vec::new();
    while let Some(step) = script.next(&variables).unwrap() {
        match step {
            Step::Statement(statement) => statements.push(statement),
            Step::Command { name, arguments } if name == "set" => {
                variables.set(arguments[0].clone(), arguments[1..].concat());
            }
            // Headings, which only a terminal shows.
            Step::Command { name, .. } if name == "echo" => {}
            Step::Command { name, .. } => panic!("\\{name} in {}", path.display()),
        }
    }
    assert!(!statements.is_empty(), "{}", path.display());
    statements
}

fn wire_rows(messages: &[SimpleQueryMessage]) -> Vec<Vec<Option<String>>> {
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|at| row.get(at).map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        })
        .collect()
}

async fn engine_rows(session: &Session, statement: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for statement in session.parse(statement).unwrap() {
        if let Outcome::Rows { stream, .. } = session.execute_statement(statement).await.unwrap() {
            let batches: Vec<_> = stream.try_collect().await.unwrap();
            rows.extend(batches.iter().flat_map(|batch| text_rows(batch).unwrap()));
        }
    }
    rows
}

/// The real psql prints what is stored.
fn check_psql(path: &Path, port: u16) {
    let port = port.to_string();
    let output = Command::new("psql")
        .args([
            "-X",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "analyst",
            "-d",
            "funnelsql",
            "-f",
        ])
        .arg(path)
        .env("PGCLIENTENCODING", "UTF8")
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: psql is not installed");
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let name = path.file_stem().unwrap().to_str().unwrap();
    let stored = project().join(format!("queries/results/{name}.txt"));
    let printed = trimmed(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(
        printed,
        fs::read_to_string(stored).unwrap(),
        "{}",
        path.display()
    );
}

/// A query of a document and what the document says that it prints.
struct Shown {
    query: String,
    /// The lines of the document with the result.
    result: std::ops::Range<usize>,
}

const PROMPTS: [&str; 2] = ["funnelsql=> ", "funnelsql-> "];

/// The queries behind psql's prompt in the ```` ```text ```` blocks of a document.
fn shown(lines: &[String]) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut is_block = false;
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("```") {
            is_block = line == "```text";
            continue;
        }
        if !is_block {
            continue;
        }
        if let Some(text) = line.strip_prefix(PROMPTS[0]) {
            found.push(Shown {
                query: text.to_owned(),
                result: at + 1..at + 1,
            });
        } else if let (Some(text), Some(last)) = (line.strip_prefix(PROMPTS[1]), found.last_mut()) {
            last.query.push('\n');
            last.query.push_str(text);
            last.result = at + 1..at + 1;
        } else if let Some(last) = found.last_mut().filter(|last| last.result.end == at) {
            last.result.end = at + 1;
        }
    }
    found
}

async fn check_document(name: &str, language: Language) {
    let path = project().join(name);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let demo = Demo::new(language).await;
    let mut written = lines.clone();
    let found = shown(&lines);
    assert!(!found.is_empty(), "{name} shows no session");
    // In their order, as a reader would; and put from the end, so that places stay what they are.
    let run = |shown: &Shown| demo.printed(&["-c", &shown.query]);
    let printed: Vec<String> = found.iter().map(run).collect();
    for (Shown { result, .. }, printed) in found.into_iter().zip(printed).rev() {
        written.splice(result, printed.lines().map(str::to_owned));
    }
    let written = written.join("\n") + "\n";
    check_stored(&path, &written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sessions_in_the_documents_are_real() {
    for name in [
        "README.md",
        "docs/ab_tests.md",
        "docs/access.md",
        "docs/attribution.md",
        "docs/bottlenecks.md",
        "docs/changes.md",
        "docs/data.md",
        "docs/funnels.md",
        "docs/questions.md",
        "docs/why.md",
    ] {
        check_document(name, Language::English).await;
    }
    check_document("README.zh-CN.md", Language::Chinese).await;
}

/// A heading, and the functions under it with the sources that document them.
type Chapter = (
    &'static str,
    &'static [(&'static [&'static str], &'static str)],
);

const REFERENCE: &[Chapter] = &[
    (
        "Table functions",
        &[
            (&["journeys"], "table/journeys.rs"),
            (&["journey_stages"], "table/journey_stages.rs"),
            (&["stage_conversion"], "table/stage_conversion.rs"),
            (&["funnel"], "table/funnel.rs"),
            (&["cohort_cycle"], "table/cohort_cycle.rs"),
            (&["funnel_trend"], "table/funnel_trend.rs"),
            (&["stage_metrics"], "table/stage_metrics.rs"),
            (&["metric"], "table/metric.rs"),
            (&["metric_diff"], "table/metric_diff.rs"),
            (&["metric_lint"], "table/metric_lint.rs"),
            (&["stage_times"], "table/stage_times.rs"),
            (&["stage_survival"], "table/stage_survival.rs"),
            (&["stage_cif"], "table/stage_cif.rs"),
            (&["stage_logrank"], "table/stage_logrank.rs"),
            (&["cycle_drivers"], "table/cycle_drivers.rs"),
            (&["cycle_bands"], "table/cycle_bands.rs"),
            (&["ab_test"], "table/ab_test.rs"),
            (&["ab_cuped"], "table/ab_cuped.rs"),
            (&["channel_attribution"], "table/channel_attribution.rs"),
            (&["channel_roi"], "table/channel_roi.rs"),
            (&["funnel_bottleneck"], "table/funnel_bottleneck.rs"),
            (&["eb_rate"], "table/eb_rate.rs"),
            (&["loss_reasons"], "table/loss_reasons.rs"),
            (&["outcome_drivers"], "table/outcome_drivers.rs"),
            (&["overdue_deals"], "table/overdue_deals.rs"),
            (&["stage_moves"], "table/stage_moves.rs"),
            (&["deal_timeline"], "table/deal_timeline.rs"),
            (&["followup_sla"], "table/followup_sla.rs"),
            (&["data_quality"], "table/data_quality.rs"),
            (&["review"], "table/review.rs"),
            (&["template_library"], "table/template_library.rs"),
            (&["funnel_drill"], "table/funnel_drill.rs"),
            (&["funnel_source"], "table/funnel_source.rs"),
            (&["engine_query"], "table/engine_query.rs"),
        ],
    ),
    (
        "Rates and their uncertainty",
        &[
            (
                &["rate_ci", "rate_lower", "rate_upper"],
                "scalar/rate_ci.rs",
            ),
            (
                &["rate_diff_ci", "rate_diff_lower", "rate_diff_upper"],
                "scalar/rate_diff_ci.rs",
            ),
            (
                &["rate_ratio_ci", "rate_ratio_lower", "rate_ratio_upper"],
                "scalar/rate_ratio_ci.rs",
            ),
            (
                &["odds_ratio_ci", "odds_ratio_lower", "odds_ratio_upper"],
                "scalar/odds_ratio_ci.rs",
            ),
            (&["eb_prior"], "aggregate/eb_prior.rs"),
            (&["eb_interval"], "scalar/eb_interval.rs"),
            (&["bottleneck_gains"], "scalar/bottleneck_gains.rs"),
        ],
    ),
    (
        "Tests of two groups and more",
        &[
            (&["z_test_p"], "scalar/z_test_p.rs"),
            (&["fisher_p"], "scalar/fisher_p.rs"),
            (&["mean_diff_ci"], "scalar/mean_diff_ci.rs"),
            (&["ab_looks"], "aggregate/ab_looks.rs"),
            (&["ab_sequential"], "scalar/ab_sequential.rs"),
            (&["ab_bayes"], "scalar/ab_bayes.rs"),
            (&["ab_best", "ab_best_mean"], "scalar/ab_best.rs"),
            (
                &["ab_sample_size", "ab_power", "ab_mde"],
                "scalar/ab_sample_size.rs",
            ),
            (&["srm_check"], "scalar/srm_check.rs"),
            (&["p_adjust", "p_adjust_level"], "window/p_adjust.rs"),
            (&["norm_quantile"], "scalar/norm_quantile.rs"),
        ],
    ),
    (
        "Attribution and return",
        &[
            (&["channel_credits"], "scalar/channel_credits.rs"),
            (&["attribution"], "aggregate/attribution.rs"),
            (&["bootstrap_sum"], "aggregate/bootstrap_sum.rs"),
            (&["slope_ci"], "scalar/slope_ci.rs"),
        ],
    ),
    (
        "Why a number changed",
        &[
            (&["change_decompose"], "table/change_decompose.rs"),
            (&["mix_rate_decompose"], "table/mix_rate_decompose.rs"),
            (&["root_cause"], "table/root_cause.rs"),
            (&["log_mean"], "scalar/log_mean.rs"),
            (&["lmdi_effect"], "scalar/lmdi_effect.rs"),
            (&["change_effects"], "scalar/change_effects.rs"),
            (&["mix_rate_effects"], "scalar/mix_rate_effects.rs"),
            (&["root_causes"], "scalar/root_causes.rs"),
        ],
    ),
    (
        "Times and how they end",
        &[
            (&["life_table"], "aggregate/life_table.rs"),
            (&["survival_curve"], "scalar/survival/survival_curve.rs"),
            (&["incidence_curve"], "scalar/survival/incidence_curve.rs"),
            (&["incidence_at"], "scalar/survival/incidence_at.rs"),
            (
                &[
                    "survival_quantile",
                    "survival_rmst",
                    "survival_rmst_se",
                    "incidence_quantile",
                    "win_probability",
                ],
                "scalar/survival/figures.rs",
            ),
            (
                &["win_probabilities"],
                "scalar/survival/win_probabilities.rs",
            ),
            (&["logrank"], "scalar/survival/logrank.rs"),
            (&["cox_fit"], "aggregate/cox_fit.rs"),
            (&["did_fit"], "aggregate/did_fit.rs"),
            (&["its_fit"], "aggregate/its_fit.rs"),
            (
                &["cumulative_incidence"],
                "aggregate/cumulative_incidence.rs",
            ),
        ],
    ),
    (
        "Functions over event logs",
        &[
            (
                &["window_funnel", "window_funnel_events"],
                "aggregate/window_funnel/mod.rs",
            ),
            (
                &["window_funnel_detail", "window_funnel_attempts"],
                "aggregate/window_funnel_detail/mod.rs",
            ),
            (
                &["sequence_match", "sequence_count", "sequence_match_events"],
                "aggregate/sequence/mod.rs",
            ),
            (&["sequence_next_node"], "aggregate/sequence_next_node.rs"),
            (&["retention"], "aggregate/retention.rs"),
            (
                &["range_retention_count", "range_retention_sum"],
                "aggregate/range_retention.rs",
            ),
            (&["first_touch", "last_touch"], "aggregate/touch.rs"),
            (&["intersect_count"], "aggregate/intersect_count.rs"),
        ],
    ),
    (
        "What the table functions are made of",
        &[
            (&["journey"], "aggregate/journey/mod.rs"),
            (&["journey_row"], "scalar/journey_row.rs"),
            (&["drill_key"], "scalar/drill_key.rs"),
            (&["bar"], "scalar/bar.rs"),
            (&["mask_email", "mask_name", "mask_phone"], "scalar/mask.rs"),
        ],
    ),
    (
        "Other engines' spellings",
        &[
            (&[], "spelling/mod.rs"),
            (
                &[
                    "todatetime",
                    "todatetime64",
                    "fromunixtimestamp",
                    "fromunixtimestamp64milli",
                    "fromunixtimestamp64micro",
                    "todate",
                    "tounixtimestamp",
                    "unix_timestamp",
                    "tounixtimestamp64milli",
                    "tounixtimestamp64micro",
                    "toyyyymm",
                    "toyyyymmdd",
                ],
                "scalar/clickhouse/instant.rs",
            ),
            (
                &[
                    "touint8",
                    "touint16",
                    "touint32",
                    "touint64",
                    "toint8",
                    "toint16",
                    "toint32",
                    "toint64",
                    "tofloat32",
                    "tofloat64",
                ],
                "scalar/clickhouse/number.rs",
            ),
            (&["tostring"], "scalar/clickhouse/words.rs"),
        ],
    ),
];

/// Names, arguments and results, as `\df` lists them.
fn signatures(names: &[&str]) -> String {
    // A page about more than its own functions.
    if names.is_empty() {
        return "\n".to_owned();
    }
    let functions = datafusion_funnel::functions();
    let mut text = format!("\n### {}\n\n```text\n", names.join(", "));
    for name in names {
        let function = functions
            .iter()
            .find(|function| function.name == *name)
            .unwrap();
        let arguments = function
            .arguments
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        text.push_str(&format!("{name}({arguments}) → {}\n", function.result));
    }
    text + "```\n\n"
}

/// The `//!` page of a source, with its headings three levels down and its links as plain text.
fn page(source: &str) -> String {
    let lines = source.lines().take_while(|line| line.starts_with("//!"));
    let mut is_code = false;
    let mut page = String::new();
    for line in lines {
        let line = line.trim_start_matches("//!");
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if line.starts_with('#') && !is_code {
            page.push_str("###");
        }
        page.push_str(&without_links(line));
        page.push('\n');
    }
    page
}

/// `[text](path::of::an::item)` as `text`: those links are rustdoc's.
fn without_links(line: &str) -> String {
    let mut rest = line;
    let mut plain = String::new();
    while let Some((before, behind)) = rest.split_once("](")
        && let Some((target, after)) = behind.split_once(')')
        && let Some((start, text)) = before.rsplit_once('[')
    {
        plain.push_str(start);
        match target.contains("::") {
            true => plain.push_str(text),
            false => plain.push_str(&format!("[{text}]({target})")),
        }
        rest = after;
    }
    plain + rest
}

#[test]
fn the_reference_is_the_functions_own_documentation() {
    let mut reference = String::from(
        "# Functions\n\nMade from the functions' own documentation; `\\df` in psql lists them with their arguments.\n",
    );
    let mut documented = Vec::new();
    for (title, pages) in REFERENCE {
        reference.push_str(&format!("\n## {title}\n"));
        for (names, file) in pages.iter() {
            let source = fs::read_to_string(project().join("udfs/src").join(file)).unwrap();
            reference.push_str(&signatures(names));
            reference.push_str(&page(&source));
            documented.extend(names.iter().map(|name| (*name).to_owned()));
        }
    }
    let all = datafusion_funnel::functions()
        .into_iter()
        .map(|function| function.name);
    documented.sort();
    assert_eq!(
        documented,
        all.collect::<Vec<_>>(),
        "each function has its place"
    );
    check_stored(&project().join("docs/functions.md"), &reference);
}
