//! Real data sets whose figures are published, or were planted: see the README beside them.
//!
//! They are no part of the project. Where their folder is absent, a test says so and passes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use funnelsql::engine::{Engine, EngineOptions, Session, text_rows};
use tempfile::TempDir;

type Rows = Vec<Vec<Option<String>>>;

/// The file of that name, or `None` where the data aren't there.
fn data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(name);
    match path.canonicalize() {
        Ok(path) => Some(path),
        Err(_) => {
            eprintln!("skipped: {} is absent", path.display());
            None
        }
    }
}

/// A session over a data directory of its own, which lives as long as the first of the two.
async fn session() -> (TempDir, Session) {
    let folder = TempDir::new().unwrap();
    let engine = Engine::open(EngineOptions::new(folder.path()))
        .await
        .unwrap();
    (folder, engine.session("analyst"))
}

async fn run(session: &Session, sql: &str) {
    session
        .run(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{}: {error}", error.code()));
}

async fn rows(session: &Session, sql: &str) -> Rows {
    let batches = session
        .query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{}: {error}", error.code()));
    batches
        .iter()
        .flat_map(|batch| text_rows(batch).unwrap())
        .collect()
}

/// The rows, with their values between bars and `-` for NULL.
async fn check(session: &Session, sql: &str, expected: &[&str]) {
    let found: Vec<String> = rows(session, sql)
        .await
        .into_iter()
        .map(|row| {
            row.into_iter()
                .map(|v| v.unwrap_or_else(|| "-".to_owned()))
                .collect::<Vec<_>>()
                .join("|")
        })
        .collect();
    assert_eq!(found, expected, "{sql}");
}

async fn number(session: &Session, sql: &str) -> i64 {
    rows(session, sql).await[0][0]
        .as_deref()
        .unwrap()
        .parse()
        .unwrap()
}

fn external_table(name: &str, file: &Path, format: &str, options: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE {name} STORED AS {format} LOCATION '{}' {options};",
        file.display()
    )
}

const CSV: &str = "OPTIONS ('format.has_header' 'true')";

/// The CRM's files as they are. `deals` reads the pipeline as a wide table; `deal_log` makes events of it.
const CRM_FUNNELS: &str = "
CREATE VIEW staffed AS
  SELECT p.*, t.manager, date_trunc('quarter', p.close_date) AS quarter
  FROM pipeline p JOIN teams t ON p.sales_agent = t.sales_agent;

CREATE FUNNEL deals ON staffed (
  ENTITY opportunity_id,
  STAGE prospecting AT coalesce(engage_date, DATE '2017-12-31'),
  STAGE engaging AT engage_date,
  STAGE won AT close_date WHEN deal_stage = 'Won',
  LOST AT close_date WHEN deal_stage = 'Lost',
  VALUE close_value,
  OWNER sales_agent,
  DIMENSIONS (manager, quarter)
);

CREATE FUNNEL deal_log ON (
  SELECT opportunity_id, coalesce(engage_date, DATE '2017-12-31') AS happened_on, 'prospecting' AS event,
    sales_agent, manager, quarter, close_value FROM staffed
  UNION ALL
  SELECT opportunity_id, engage_date, 'engaging', sales_agent, manager, quarter, close_value FROM staffed
  UNION ALL
  SELECT opportunity_id, close_date, lower(deal_stage), sales_agent, manager, quarter, close_value
  FROM staffed WHERE deal_stage IN ('Won', 'Lost')
) (
  ENTITY opportunity_id,
  TIME happened_on,
  STAGE prospecting WHEN event = 'prospecting',
  STAGE engaging WHEN event = 'engaging',
  STAGE won WHEN event = 'won',
  LOST WHEN event = 'lost',
  VALUE close_value,
  OWNER sales_agent,
  DIMENSIONS (manager, quarter)
);";

async fn crm() -> Option<(TempDir, Session)> {
    let folder = data("maven-crm")?;
    let (directory, session) = session().await;
    run(
        &session,
        &external_table("pipeline", &folder.join("sales_pipeline.csv"), "CSV", CSV),
    )
    .await;
    run(
        &session,
        &external_table("teams", &folder.join("sales_teams.csv"), "CSV", CSV),
    )
    .await;
    run(
        &session,
        &external_table("products", &folder.join("products.csv"), "CSV", CSV),
    )
    .await;
    run(&session, CRM_FUNNELS).await;
    Some((directory, session))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crm_gives_its_published_figures_as_a_wide_table_and_as_a_log() {
    let Some((_directory, session)) = crm().await else {
        return;
    };
    for funnel in ["deals", "deal_log"] {
        let stages = format!("stage_conversion('{funnel}', as_of => '2018-01-01')");
        // Won 4,238, lost 2,473, engaging 1,589 and prospecting 500; revenue 10,005,534.
        check(
            &session,
            &format!(
                "SELECT stage, entered, passed, lost, open, expired, amount::bigint FROM {stages}"
            ),
            &[
                "prospecting|8800|8300|0|500|0|10005534",
                "engaging|8300|4238|2473|1589|0|10005534",
                "won|4238|4238|0|0|0|10005534",
            ],
        )
        .await;
        check(
            &session,
            &format!(
                "SELECT status, furthest_stage, count(*), sum(value)::bigint
                 FROM journeys('{funnel}', as_of => '2018-01-01') GROUP BY 1, 2 ORDER BY 3 DESC"
            ),
            &[
                "won|won|4238|10005534",
                "lost|engaging|2473|0",
                "open|engaging|1589|-",
                "open|prospecting|500|-",
            ],
        )
        .await;
        // A win rate in hundredths of a percent has a denominator: the closed deals, all deals (the last
        // stage's cum_rate), or those that were engaged (engaging's rate, which counts the open ones too).
        check(
            &session,
            &format!("SELECT round(10000.0 * passed / (passed + lost))::bigint FROM {stages} WHERE stage = 'engaging'"),
            &["6315"],
        )
        .await;
        check(
            &session,
            &format!("SELECT round(10000 * cum_rate)::bigint FROM {stages} WHERE stage = 'won'"),
            &["4816"],
        )
        .await;
        check(
            &session,
            &format!(
                "SELECT round(10000 * rate)::bigint, k, n FROM {stages} WHERE stage = 'engaging'"
            ),
            &["5106|4238|8300"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crm_gives_its_cycle_quarters_and_managers() {
    let Some((_directory, session)) = crm().await else {
        return;
    };
    for funnel in ["deals", "deal_log"] {
        let at = "as_of => '2018-01-01'";
        // median_days of a stage is the wait for the next one, of those that came there: of engaging, the
        // won deals' cycle.
        check(
            &session,
            &format!("SELECT round(median_days)::bigint FROM stage_conversion('{funnel}', {at}) WHERE stage = 'engaging'"),
            &["57"],
        )
        .await;
        check(
            &session,
            &format!(
                "SELECT round(avg(days) * 10)::bigint, round(median(days))::bigint FROM (
                   SELECT extract(epoch FROM won_at - engaging_at) / 86400 AS days
                   FROM journeys('{funnel}', {at}) WHERE status = 'won')"
            ),
            &["518|57"],
        )
        .await;
        check(
            &session,
            &format!(
                "SELECT quarter::date, entered FROM stage_conversion('{funnel}', by => 'quarter', {at})
                 WHERE stage = 'won' AND entered > 0 ORDER BY 1"
            ),
            &["2017-01-01|531", "2017-04-01|1254", "2017-07-01|1257", "2017-10-01|1196"],
        )
        .await;
        check(
            &session,
            &format!(
                "SELECT manager, amount::bigint FROM stage_conversion('{funnel}', by => 'manager', {at})
                 WHERE stage = 'won' ORDER BY 2 DESC"
            ),
            &[
                "Melvin Marxen|2251930",
                "Summer Sewald|1964750",
                "Rocco Neubert|1960545",
                "Celia Rouche|1603897",
                "Cara Losch|1130049",
                "Dustin Brinkmann|1094363",
            ],
        )
        .await;
    }
}

/// Wins and revenue by the quarter of the win are the published ones; the other columns are what plain SQL counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crm_gives_its_times_and_its_trend() {
    let Some((_directory, session)) = crm().await else {
        return;
    };
    for funnel in ["deals", "deal_log"] {
        check(
            &session,
            &format!(
                "SELECT period, entered, amount::bigint, status FROM funnel_trend('{funnel}', every => 'quarter',
                   stage => 'won', calendar => 'stage', as_of => '2018-01-01')"
            ),
            &[
                "2017-01-01|531|1134672|ok",
                "2017-04-01|1254|3086111|ok",
                "2017-07-01|1257|2982255|ok",
                "2017-10-01|1196|2802496|ok",
            ],
        )
        .await;
        // lifelines 0.30, KaplanMeierFitter on the days until a deal was closed, and restricted_mean_survival_time.
        check(
            &session,
            &format!(
                "SELECT n, passed, lost, p25, median, p75, round(rmst, 9) FROM stage_times('{funnel}', tau => 60,
                   as_of => '2018-01-01') WHERE stage = 'engaging'"
            ),
            &["8300|4238|2473|10|69|107|39.532413976"],
        )
        .await;
        let trend = rows(
            &session,
            &format!(
                "SELECT manager, period, k, n FROM funnel_trend('{funnel}', stage => 'engaging', calendar => 'stage',
                   age => 60, by => 'manager', as_of => '2017-10-15') WHERE n > 0 ORDER BY 1, 2"
            ),
        )
        .await;
        let counted = rows(
            &session,
            "SELECT manager, date_trunc('month', engage_date)::date,
               count(*) FILTER (WHERE deal_stage = 'Won' AND close_date <= '2017-10-15'
                 AND close_date <= engage_date + INTERVAL '60 days'),
               count(*)
             FROM pipeline JOIN teams USING (sales_agent)
             WHERE engage_date <= DATE '2017-10-15' - INTERVAL '60 days' GROUP BY 1, 2 ORDER BY 1, 2",
        )
        .await;
        assert!(trend.len() > 30, "{} rows", trend.len());
        assert_eq!(trend, counted, "{funnel}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crm_is_the_same_as_a_wide_table_and_as_a_log() {
    let Some((_directory, session)) = crm().await else {
        return;
    };
    let stages = |funnel: &str, counting: &str| {
        format!(
            "SELECT manager, quarter, stage_no, stage, entered, passed, lost, open, expired, k, n, rate, lo, hi,
               cum_rate, dropoff_rate, skipped, reentered, back_moves, median_days, p90_days, amount, status
             FROM stage_conversion('{funnel}', by => 'manager, quarter', as_of => '2017-10-15',
               counting => '{counting}')"
        )
    };
    for counting in ["ordered", "strict", "any"] {
        let wide = rows(&session, &stages("deals", counting)).await;
        assert!(wide.len() > 60, "{} rows", wide.len());
        assert_eq!(
            wide,
            rows(&session, &stages("deal_log", counting)).await,
            "{counting}"
        );
    }
    let journeys = |funnel: &str| {
        format!("SELECT * FROM journeys('{funnel}', as_of => '2017-10-15') ORDER BY opportunity_id")
    };
    let wide = rows(&session, &journeys("deals")).await;
    assert!(
        wide == rows(&session, &journeys("deal_log")).await,
        "the journeys differ"
    );
    assert_eq!(
        wide.len() as i64,
        number(
            &session,
            "SELECT count(*) FROM pipeline WHERE engage_date <= '2017-10-15'"
        )
        .await,
    );
}

/// `GTXPro` of the pipeline is `GTX Pro` in the products: an inner join loses its deals, silently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_over_the_crm_loses_what_plain_sql_loses() {
    let Some((_directory, session)) = crm().await else {
        return;
    };
    for (join, expected) in [("JOIN", "7320"), ("LEFT JOIN", "8800")] {
        run(
            &session,
            &format!(
                "CREATE OR REPLACE FUNNEL priced ON (
                   SELECT p.*, q.series FROM pipeline p {join} products q ON p.product = q.product
                 ) (
                   ENTITY opportunity_id,
                   STAGE prospecting AT coalesce(engage_date, DATE '2017-12-31'),
                   STAGE engaging AT engage_date,
                   DIMENSIONS (series)
                 )"
            ),
        )
        .await;
        let sql = "SELECT entered FROM stage_conversion('priced', as_of => '2018-01-01') WHERE stage_no = 1";
        check(&session, sql, &[expected]).await;
        let sql = "SELECT sum(entered) FROM stage_conversion('priced', by => 'series', as_of => '2018-01-01')
                   WHERE stage_no = 1";
        check(&session, sql, &[expected]).await;
    }
}

/// The shop's way to a purchase, in its order.
const STEPS: [&str; 6] = [
    "product_view",
    "add_to_cart",
    "cart",
    "shipping_details",
    "payment_details",
    "purchase",
];

async fn shop() -> Option<(TempDir, Session)> {
    let file = data("ecom/ecom.csv.gz")?;
    let (directory, session) = session().await;
    let options = "OPTIONS ('format.has_header' 'true', 'format.compression' 'gzip')";
    run(&session, &external_table("clicks", &file, "CSV", options)).await;
    Some((directory, session))
}

fn shop_funnel(name: &str, entity: &str, steps: &[&str], window_days: i64) -> String {
    let stages: Vec<String> = steps
        .iter()
        .map(|step| format!("STAGE {step} WHEN event = '{step}'"))
        .collect();
    format!(
        "CREATE FUNNEL {name} ON clicks (
           ENTITY {entity}, TIME \"timestamp\", {}, DIMENSIONS (platform),
           WINDOW INTERVAL '{window_days} days'
         )",
        stages.join(", ")
    )
}

/// What an entity did: the second, and the step's place in [`STEPS`].
type Events = Vec<(i64, usize)>;

/// Which steps the entity reached, by the definition of the way of counting and nothing else.
fn reached(events: &Events, window_days: i64, counting: &str) -> Option<[bool; STEPS.len()]> {
    let first = |step: usize, from: i64| {
        let times = events
            .iter()
            .filter(|(at, what)| *what == step && *at >= from);
        times.map(|(at, _)| *at).min()
    };
    let start = match counting {
        "strict" => first(0, i64::MIN)?,
        _ => events.iter().map(|(at, _)| *at).min()?,
    };
    let end = start + window_days * 86_400;
    let within: BTreeSet<usize> = events
        .iter()
        .filter(|(at, _)| (start..=end).contains(at))
        .map(|(_, step)| *step)
        .collect();
    let mut result = [false; STEPS.len()];
    match counting {
        // A later step counts for the ones before it.
        "ordered" => {
            let furthest = *within.last()?;
            result[..=furthest].fill(true);
        }
        "any" => within.into_iter().for_each(|step| result[step] = true),
        // Every step, at or after the one before.
        "strict" => {
            let mut from = start;
            for (step, is_reached) in result.iter_mut().enumerate() {
                match first(step, from) {
                    Some(at) if at <= end => (from, *is_reached) = (at, true),
                    _ => break,
                }
            }
        }
        other => panic!("no way of counting: {other}"),
    }
    Some(result)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_has_the_counts_of_its_description() {
    let Some((_directory, session)) = shop().await else {
        return;
    };
    check(
        &session,
        "SELECT count(*), count(DISTINCT user_id), count(DISTINCT session_id),
           min(\"timestamp\")::date, max(\"timestamp\")::date,
           count(*) FILTER (WHERE event = 'checkout_bug'),
           count(*) FILTER (WHERE event = 'checkout_bug' AND platform = 'mobile'),
           count(*) FILTER (WHERE event = 'payment_error')
         FROM clicks",
        &["31106|600|3605|2024-01-04|2024-06-29|44|44|119"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_is_counted_as_by_brute_force() {
    let Some((_directory, session)) = shop().await else {
        return;
    };
    // Sessions skip steps and go back; of a user's 30 days the steps happen to be complete.
    for (entity, window_days) in [("session_id", 1), ("user_id", 30), ("user_id", 3)] {
        let name = format!("{entity}_{window_days}");
        run(&session, &shop_funnel(&name, entity, &STEPS, window_days)).await;
        let mut entities: BTreeMap<String, Events> = BTreeMap::new();
        let sql = format!(
            "SELECT {entity}, event, extract(epoch FROM \"timestamp\")::bigint FROM clicks"
        );
        for row in rows(&session, &sql).await {
            let [Some(who), Some(event), Some(at)] = row.as_slice() else {
                panic!("a NULL in {row:?}")
            };
            if let Some(step) = STEPS.iter().position(|step| step == event) {
                entities
                    .entry(who.clone())
                    .or_default()
                    .push((at.parse().unwrap(), step));
            }
        }
        for counting in ["ordered", "strict", "any"] {
            let (mut entered, mut passed) = ([0; STEPS.len()], [0; STEPS.len()]);
            for reached in entities
                .values()
                .filter_map(|events| reached(events, window_days, counting))
            {
                for step in 0..STEPS.len() {
                    let is_last = step + 1 == STEPS.len();
                    entered[step] += i64::from(reached[step]);
                    passed[step] += i64::from(
                        reached[step] && (is_last || reached[step + 1..].contains(&true)),
                    );
                }
            }
            // Every window is over, so nothing is open.
            let expected: Vec<String> = (0..STEPS.len())
                .map(|at| {
                    let (entered, passed) = (entered[at], passed[at]);
                    format!(
                        "{}|{entered}|{passed}|{}|0|{passed}|{entered}",
                        STEPS[at],
                        entered - passed
                    )
                })
                .collect();
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            let sql = format!(
                "SELECT stage, entered, passed, lost, open, k, n
                 FROM stage_conversion('{name}', as_of => '2025-01-01', counting => '{counting}')"
            );
            check(&session, &sql, &expected).await;
            if counting != "any" {
                assert!(
                    entered.is_sorted_by(|a, b| a >= b),
                    "{name}, {counting}: {entered:?}"
                );
            }
        }
    }
}

/// The rate of the first stage and its interval, of the journeys that started in a period.
async fn rate(session: &Session, funnel: &str, period: [&str; 2], platform: &str) -> [f64; 3] {
    let [since, until] = period;
    let sql = format!(
        "SELECT lo, rate, hi FROM stage_conversion('{funnel}', since => '{since}', until => '{until}',
           as_of => '2025-01-01', counting => 'strict', where => platform LIKE '{platform}')
         WHERE stage_no = 1"
    );
    let row = rows(session, &sql).await.remove(0);
    [0, 1, 2].map(|at| row[at].as_deref().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_shows_its_payment_incident() {
    let Some((_directory, session)) = shop().await else {
        return;
    };
    run(
        &session,
        &shop_funnel("payment", "session_id", &["payment_details", "purchase"], 1),
    )
    .await;
    let [_, rate_during, hi_during] =
        rate(&session, "payment", ["2024-05-19", "2024-06-08"], "%").await;
    for other in [["2024-01-01", "2024-05-19"], ["2024-06-08", "2024-07-01"]] {
        let [lo, rate, _] = rate(&session, "payment", other, "%").await;
        assert!(
            hi_during < lo,
            "{other:?}: {rate} from {lo}; during: {rate_during} to {hi_during}"
        );
    }
    // Orders that were paid in the incident: less than half of what the time before would give.
    assert!(rate_during < 0.25, "{rate_during}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_shows_its_bug_on_mobile_and_not_on_desktop() {
    let Some((_directory, session)) = shop().await else {
        return;
    };
    run(
        &session,
        &shop_funnel(
            "delivery",
            "session_id",
            &["shipping_details", "payment_details"],
            1,
        ),
    )
    .await;
    let during = ["2024-04-09", "2024-05-10"];
    for other in [["2024-01-01", "2024-04-09"], ["2024-05-10", "2024-07-01"]] {
        let [_, _, mobile_hi] = rate(&session, "delivery", during, "mobile").await;
        let [lo, ..] = rate(&session, "delivery", other, "mobile").await;
        assert!(
            mobile_hi < lo,
            "{other:?}: from {lo}; during: to {mobile_hi}"
        );
        let [_, _, desktop_hi] = rate(&session, "delivery", during, "desktop").await;
        let [lo, ..] = rate(&session, "delivery", other, "desktop").await;
        assert!(
            desktop_hi > lo,
            "{other:?}: from {lo}; during: to {desktop_hi}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retailer_gives_its_revenue_and_its_repeat_purchases() {
    let Some(file) = data("online-retail/onlineretail.parquet") else {
        return;
    };
    let (_directory, session) = session().await;
    run(&session, &external_table("retail", &file, "PARQUET", "")).await;
    check(
        &session,
        "SELECT count(*), count(DISTINCT \"CustomerID\"), count(DISTINCT \"InvoiceNo\"),
           count(*) - count(\"CustomerID\"), round(100 * sum(\"Quantity\" * \"UnitPrice\"))::bigint FROM retail",
        &["541909|4372|25900|135080|974774793"],
    )
    .await;
    // An invoice is a purchase, a cancellation (C…) too. The 3,710 invoices without a customer are nobody's.
    run(
        &session,
        "CREATE VIEW purchases AS
           SELECT \"CustomerID\" AS customer, \"InvoiceNo\" AS invoice, min(\"InvoiceDate\") AS bought_at,
             sum(\"Quantity\" * \"UnitPrice\") AS amount,
             row_number() OVER (PARTITION BY \"CustomerID\" ORDER BY min(\"InvoiceDate\"), \"InvoiceNo\") AS purchase
           FROM retail GROUP BY 1, 2;
         CREATE FUNNEL repeats ON (SELECT * FROM purchases) (
           ENTITY customer, TIME bought_at,
           STAGE first_purchase WHEN purchase = 1,
           STAGE repeat_purchase WHEN purchase = 2,
           VALUE amount
         )",
    )
    .await;
    check(
        &session,
        "SELECT count(*) FROM purchases WHERE customer IS NULL",
        &["3710"],
    )
    .await;
    check(
        &session,
        "SELECT count(*), count(customer) FROM journeys('repeats', as_of => '2011-12-31')",
        &["4372|4372"],
    )
    .await;
    let repeated = number(
        &session,
        "SELECT count(*) FROM (SELECT 1 FROM retail WHERE \"CustomerID\" IS NOT NULL
         GROUP BY \"CustomerID\" HAVING count(DISTINCT \"InvoiceNo\") > 1)",
    )
    .await;
    check(
        &session,
        "SELECT stage, entered, open, k, n, round(10000 * rate)::bigint
         FROM stage_conversion('repeats', as_of => '2011-12-31')",
        &[
            &format!(
                "first_purchase|4372|{0}|{repeated}|4372|{1}",
                4372 - repeated,
                (repeated * 20_000 + 4372) / 8744
            ),
            &format!("repeat_purchase|{repeated}|0|{repeated}|{repeated}|-"),
        ],
    )
    .await;
    // How long the second took.
    let plain = "SELECT round(1000 * median(days))::bigint FROM (
         SELECT extract(epoch FROM b.bought_at - a.bought_at) / 86400 AS days FROM purchases a
         JOIN purchases b ON a.customer = b.customer AND a.purchase = 1 AND b.purchase = 2)";
    let waited = number(&session, plain).await;
    let funnel = "SELECT round(1000 * median_days)::bigint
                  FROM stage_conversion('repeats', as_of => '2011-12-31') WHERE stage_no = 1";
    assert_eq!(number(&session, funnel).await, waited);
}

/// The shop's planted incidents: a bug of the mobile checkout from 2024-04-09 to 05-09, and one of the payment gateway from 05-19 to 06-07.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_cause_locates_the_shops_incidents() {
    let Some((_directory, session)) = shop().await else {
        return;
    };
    run(
        &session,
        "CREATE VIEW visits AS
         SELECT session_id, min(\"timestamp\") AS at, min(platform) AS platform, min(acquisition_channel) AS channel, min(user_lifecycle) AS lifecycle,
           max(CASE WHEN event = 'shipping_details' THEN 1 ELSE 0 END) AS shipping, max(CASE WHEN event = 'payment_details' THEN 1 ELSE 0 END) AS payment
         FROM clicks GROUP BY session_id",
    )
    .await;
    // Of the visits that came to the shipping details, those that went on to pay; the month before is the base.
    check(
        &session,
        "SELECT dimension, array_to_string(elements, ','), base_k, base_n, current_k, current_n, decision FROM root_cause(
           (SELECT *, CASE WHEN at >= '2024-04-09' AND at < '2024-05-10' THEN 'bug' WHEN at >= '2024-03-09' AND at < '2024-04-09' THEN 'before' END AS period
            FROM visits WHERE shipping = 1),
           dims => ['platform', 'channel', 'lifecycle'], period => 'period', k => 'payment', n => 'shipping', current => 'bug', base => 'before')
         WHERE elements = ['mobile']",
        &["platform|mobile|21|24|22|60|root_cause"],
    )
    .await;
    // Of the events from the payment on, which are more?
    check(
        &session,
        "SELECT rank, dimension, elements[1], decision FROM root_cause(
           (SELECT *, 1 AS n, CASE WHEN \"timestamp\" >= '2024-05-19' AND \"timestamp\" < '2024-06-08' THEN 'incident'
              WHEN \"timestamp\" >= '2024-04-29' AND \"timestamp\" < '2024-05-19' THEN 'before' END AS period
            FROM clicks WHERE event IN ('payment_details', 'payment_error', 'purchase', 'error_page', 'support_chat')),
           dims => ['event', 'platform', 'acquisition_channel', 'user_lifecycle'], period => 'period', n => 'n', metric => 'volume',
           current => 'incident', base => 'before')
         WHERE rank = 1",
        &["1|event|payment_error|root_cause"],
    )
    .await;
    // The third, an article that many read from 02-29 to 03-03, brought no more visits than chance does: nothing is blamed.
    check(
        &session,
        "SELECT rank, dimension, base_n, current_n, decision FROM root_cause(
           (SELECT *, 1 AS n, CASE WHEN at >= '2024-02-29' AND at < '2024-03-04' THEN 'article'
              WHEN at >= '2024-02-25' AND at < '2024-02-29' THEN 'before' END AS period
            FROM visits),
           dims => ['platform', 'channel', 'lifecycle'], period => 'period', n => 'n', metric => 'volume',
           current => 'article', base => 'before')",
        &["-|-|45|48|within_chance"],
    )
    .await;
}
