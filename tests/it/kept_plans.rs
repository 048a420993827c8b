//! A query that comes again is run by the plan of the first time, and nothing of what it shows is of the first time.

use std::sync::Arc;

use funnelsql::engine::{Engine, EngineOptions, Session, text_rows};
use tempfile::TempDir;

const LEADS: &str = "
    CREATE SCHEMA crm;
    CREATE TABLE crm.leads (id bigint PRIMARY KEY, owner text, channel text, came timestamptz, won timestamptz);
    INSERT INTO crm.leads VALUES
      (1, 'ana', 'web', '2026-01-01 09:00+00', '2026-01-03 09:00+00'),
      (2, 'bo', 'web', '2026-01-01 10:00+00', NULL),
      (3, 'ana', '展会', '2026-01-02 23:30+00', NULL);
    CREATE FUNNEL f ON crm.leads (ENTITY id, STAGE came AT came, STAGE won AT won, DIMENSIONS (channel), OWNER owner)";

async fn engine(folder: &TempDir) -> Arc<Engine> {
    let engine = Engine::open(EngineOptions::new(folder.path()))
        .await
        .expect("an engine");
    engine.session("funnelsql").run(LEADS).await.expect("leads");
    engine
}

async fn answer(session: &Session, sql: &str) -> String {
    match session.query(sql).await {
        Ok(batches) => {
            let rows = batches
                .iter()
                .flat_map(|batch| text_rows(batch).expect("text"));
            let rows = rows.map(|row| {
                let cells = row.into_iter();
                let cells = cells.map(|cell| cell.unwrap_or_else(|| "NULL".to_owned()));
                cells.collect::<Vec<_>>().join("|")
            });
            rows.collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("{error}"),
    }
}

/// Whether a query that comes again is run by the plan of the first time.
async fn is_kept(engine: &Engine, session: &Session, sql: &str) -> bool {
    answer(session, sql).await;
    let before = engine.usage().reused_plans;
    answer(session, sql).await;
    engine.usage().reused_plans > before
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_kept_where_they_are_everybodys() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder).await;
    let session = engine.session("funnelsql");
    for zone in ["UTC", "Asia/Shanghai"] {
        session
            .run(&format!("SET TimeZone = '{zone}'"))
            .await
            .unwrap();
        for sql in [
            "SELECT * FROM stage_conversion('f')",
            "SELECT * FROM stage_conversion('f', by => 'channel', as_of => '2026-02-01')",
            "SELECT * FROM cohort_cycle('f', ages => [30, 60])",
            "SELECT * FROM stage_metrics('f')",
            "SELECT * FROM overdue_deals('f')",
            "SELECT * FROM data_quality('f')",
            "SELECT * FROM journeys.f WHERE owner = current_user",
            "SELECT date_trunc('month', came)::date AS month, count(*) FROM crm.leads WHERE came > now() - interval '1 year' GROUP BY 1",
            "SELECT to_char(came, 'YYYY-MM'), count(*)::float8 / 7 FROM crm.leads GROUP BY 1",
            "SELECT 'knowledge', upper(owner) FROM crm.leads WHERE owner IN (SELECT owner FROM crm.leads WHERE won IS NULL)",
        ] {
            assert!(is_kept(&engine, &session, sql).await, "{zone}: {sql}");
        }
        for sql in [
            "SELECT relname FROM pg_class",
            "SELECT * FROM generate_series(1, 3)",
            "SELECT 'today'::date FROM crm.leads",
            "SELECT pg_backend_pid() FROM crm.leads",
            "SELECT current_setting('search_path') FROM crm.leads",
            "INSERT INTO crm.leads (id) SELECT 100 WHERE false",
        ] {
            assert!(!is_kept(&engine, &session, sql).await, "{zone}: {sql}");
        }
    }
    let other = engine.session("funnelsql");
    other.run("SET TimeZone = 'Asia/Shanghai'").await.unwrap();
    let before = engine.usage().reused_plans;
    answer(&other, "SELECT * FROM stage_conversion('f')").await;
    assert!(
        engine.usage().reused_plans > before,
        "another session has it"
    );
    other
        .run("SET datafusion.execution.batch_size = 100")
        .await
        .unwrap();
    assert!(!is_kept(&engine, &other, "SELECT count(*) FROM crm.leads").await);
    for number in 0..300 {
        answer(&session, &format!("SELECT {number} FROM crm.leads")).await;
    }
    assert_eq!(engine.usage().kept_plans, 256, "the oldest go");
    let ids = (0..3_000).map(|id| id.to_string()).collect::<Vec<_>>();
    let ids = ids.join(", ");
    for number in 0..80 {
        let sql = format!("SELECT {number} FROM crm.leads WHERE id IN ({ids})");
        assert_eq!(
            answer(&session, &sql).await,
            vec![number.to_string(); 3].join(" ")
        );
    }
    let kept = engine.usage().kept_plans;
    assert!(
        (60..70).contains(&kept),
        "large ones count for more: {kept}"
    );
    session.run("CREATE SCHEMA other").await.unwrap();
    assert_eq!(engine.usage().kept_plans, 0);
}

/// Runs `sql`, then `change` by `changer`, then `sql` again: what it says before and after, which is what a session that keeps
/// no plans is told.
async fn before_and_after(
    session: &Session,
    changer: &Session,
    sql: &str,
    change: &str,
) -> [String; 2] {
    // Twice: the second time is by the plan of the first.
    let first = answer(session, sql).await;
    assert_eq!(answer(session, sql).await, first, "{sql}");
    changer
        .run(change)
        .await
        .unwrap_or_else(|error| panic!("{change}: {error}"));
    let second = answer(session, sql).await;
    session
        .run("SET plan_cache_mode = force_custom_plan")
        .await
        .unwrap();
    assert_eq!(answer(session, sql).await, second, "{sql} after {change}");
    session.run("RESET plan_cache_mode").await.unwrap();
    [first, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_definitions_that_change_are_seen() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder).await;
    let (one, other) = (engine.session("funnelsql"), engine.session("funnelsql"));
    let stages = "SELECT stage, entered FROM stage_conversion('f')";
    let all = "SELECT * FROM crm.leads ORDER BY id DESC LIMIT 1";
    for (sql, change, first, second) in [
        (
            stages,
            "INSERT INTO crm.leads VALUES (4, 'bo', 'web', '2026-01-05', '2026-01-06')",
            "came|3 won|1",
            "came|4 won|2",
        ),
        (
            stages,
            "DELETE FROM crm.leads WHERE id = 4",
            "came|4 won|2",
            "came|3 won|1",
        ),
        (
            "SELECT count(*) FROM crm.leads WHERE channel = '展会'",
            "UPDATE crm.leads SET channel = '展会' WHERE id = 2",
            "1",
            "2",
        ),
        (
            all,
            "ALTER TABLE crm.leads ADD COLUMN note text DEFAULT 'new'",
            "3|ana|展会|2026-01-02 23:30:00+00|NULL",
            "3|ana|展会|2026-01-02 23:30:00+00|NULL|new",
        ),
        (
            all,
            "ALTER TABLE crm.leads DROP COLUMN note",
            "3|ana|展会|2026-01-02 23:30:00+00|NULL|new",
            "3|ana|展会|2026-01-02 23:30:00+00|NULL",
        ),
        (
            stages,
            "CREATE OR REPLACE FUNNEL f ON crm.leads (ENTITY id, STAGE 来 AT came, STAGE won AT won, OWNER owner)",
            "came|3 won|1",
            "来|3 won|1",
        ),
        (
            "SELECT value FROM metric('f.leads')",
            "CREATE METRIC \"f.leads\" ON f AS count(*)",
            "metric \"f.leads\" does not exist",
            "3",
        ),
        (
            "SELECT value FROM metric('f.leads')",
            "CREATE OR REPLACE METRIC \"f.leads\" ON f AS count(*) * 2",
            "3",
            "6",
        ),
        (
            "SELECT * FROM crm.few",
            "CREATE VIEW crm.few AS SELECT id FROM crm.leads WHERE id = 1",
            "table \"crm.few\" does not exist",
            "1",
        ),
        (
            "SELECT * FROM crm.few",
            "CREATE OR REPLACE VIEW crm.few AS SELECT id FROM crm.leads WHERE id = 2",
            "1",
            "2",
        ),
        (
            "SELECT count(*) FROM crm.copy",
            "CREATE MATERIALIZED VIEW crm.copy AS SELECT * FROM crm.leads",
            "table \"crm.copy\" does not exist",
            "3",
        ),
    ] {
        let [before, after] = before_and_after(&one, &other, sql, change).await;
        assert_eq!(
            before.lines().next().unwrap(),
            first,
            "{sql} before {change}"
        );
        assert_eq!(after, second, "{sql} after {change}");
    }
    other
        .run("INSERT INTO crm.leads VALUES (5, 'bo', 'web', '2026-01-05', NULL)")
        .await
        .unwrap();
    let [before, after] = before_and_after(
        &one,
        &other,
        "SELECT count(*) FROM crm.copy",
        "REFRESH MATERIALIZED VIEW crm.copy",
    )
    .await;
    assert_eq!([before, after], ["3", "4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_are_seen() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder).await;
    let session = engine.session("funnelsql");
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("a.csv"), "id,name\n1,one\n").unwrap();
    let define = format!(
        "CREATE EXTERNAL TABLE crm.files STORED AS CSV LOCATION '{}/' OPTIONS ('has_header' 'true')",
        files.display()
    );
    session.run(&define).await.unwrap();
    let sql = "SELECT id, name FROM crm.files ORDER BY id";
    assert_eq!(answer(&session, sql).await, "1|one");
    std::fs::write(files.join("b.csv"), "id,name\n2,two\n").unwrap();
    assert_eq!(answer(&session, sql).await, "1|one 2|two");
    std::fs::remove_file(files.join("a.csv")).unwrap();
    assert_eq!(answer(&session, sql).await, "2|two");
    std::fs::remove_dir_all(&files).unwrap();
    assert!(answer(&session, sql).await.contains("is not there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_time_has_its_own_moment() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder).await;
    let session = engine.session("funnelsql");
    for sql in [
        "SELECT now() AS at",
        "SELECT max(now()) AS at FROM crm.leads",
        "SELECT now() - came AS old FROM crm.leads WHERE came < now() AND id = 1",
        "SELECT 'now'::timestamptz AS at FROM crm.leads LIMIT 1",
        "SELECT max(stage_days) FROM journey_stages('f')",
        "WITH j AS (SELECT * FROM journey_stages('f')) SELECT max(a.stage_days + b.stage_days) FROM j AS a JOIN j AS b USING (id)",
    ] {
        let first = answer(&session, sql).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let second = answer(&session, sql).await;
        assert!(
            !first.is_empty() && !first.contains("does not exist"),
            "{sql}: {first}"
        );
        assert_ne!(first, second, "{sql}");
    }
    let one = answer(
        &session,
        "SELECT count(*) FROM crm.leads WHERE now() = now() AND current_date = now()::date",
    )
    .await;
    assert_eq!(one, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_and_setting_has_its_own_plan() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder).await;
    let admin = engine.session("funnelsql");
    admin
        .run(
            "CREATE ROLE ana LOGIN; CREATE ROLE bo LOGIN; GRANT USAGE ON SCHEMA crm TO ana, bo;
             GRANT SELECT ON crm.leads TO ana; GRANT SELECT (id) ON crm.leads TO bo; GRANT SELECT ON FUNNEL f TO ana, bo;
             ALTER TABLE crm.leads ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON crm.leads USING (owner = current_user)",
        )
        .await
        .unwrap();
    let (ana, bo) = (engine.session("ana"), engine.session("bo"));
    let all = "SELECT id, owner FROM crm.leads ORDER BY id";
    for _ in 0..2 {
        assert_eq!(answer(&admin, all).await, "1|ana 2|bo 3|ana");
        assert_eq!(answer(&ana, all).await, "1|ana 3|ana");
        assert!(answer(&bo, all).await.contains("permission denied"));
        assert_eq!(
            answer(&bo, "SELECT id FROM crm.leads ORDER BY id").await,
            "2"
        );
        assert_eq!(
            answer(&ana, "SELECT entered FROM stage_conversion('f')").await,
            "2 1"
        );
        assert_eq!(
            answer(&bo, "SELECT entered FROM stage_conversion('f')").await,
            "1 0"
        );
        assert_eq!(
            answer(&ana, "SELECT current_user, count(*) FROM crm.leads").await,
            "ana|2"
        );
        assert_eq!(
            answer(&bo, "SELECT current_user, count(id) FROM crm.leads").await,
            "bo|1"
        );
    }
    for (change, seen) in [
        ("REVOKE SELECT ON crm.leads FROM ana", "permission denied"),
        ("GRANT SELECT ON crm.leads TO ana", "1|ana 3|ana"),
        (
            "DROP POLICY own ON crm.leads; CREATE POLICY own ON crm.leads USING (owner <> current_user)",
            "2|bo",
        ),
        (
            "CREATE MASK name ON crm.leads (owner) USING ('***')",
            "2|***",
        ),
    ] {
        let [_, after] = before_and_after(&ana, &admin, all, change).await;
        assert!(after.contains(seen), "{change}: {after}");
    }

    let local = "SELECT id, to_char(came, 'DD HH24:MI') FROM crm.leads WHERE id = 3";
    let day = "SELECT came::text, came::date FROM crm.leads WHERE id = 3";
    assert_eq!(answer(&admin, local).await, "3|02 23:30");
    assert_eq!(
        answer(&admin, day).await,
        "2026-01-02 23:30:00+00|2026-01-02"
    );
    admin.run("SET TimeZone = 'Asia/Shanghai'").await.unwrap();
    for _ in 0..2 {
        assert_eq!(answer(&admin, local).await, "3|03 07:30");
        assert_eq!(
            answer(&admin, day).await,
            "2026-01-03 07:30:00+08|2026-01-03"
        );
    }
    admin
        .run("RESET TimeZone; SET search_path = crm")
        .await
        .unwrap();
    let path = "SELECT count(*) FROM leads";
    assert_eq!(answer(&admin, path).await, "3");
    admin
        .run("CREATE TABLE public.leads (id bigint); SET search_path = public")
        .await
        .unwrap();
    assert_eq!(answer(&admin, path).await, "0");
    admin.run("SET search_path = crm").await.unwrap();
    assert_eq!(answer(&admin, path).await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_hides_another_from_its_session_alone() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder).await;
    let (one, other) = (engine.session("funnelsql"), engine.session("funnelsql"));
    one.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let sql = "SELECT a FROM t";
    assert_eq!(answer(&one, sql).await, "1");
    other
        .run("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (2)")
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(answer(&one, sql).await, "1");
        assert_eq!(answer(&other, sql).await, "2");
    }
    other.run("DROP TABLE t").await.unwrap();
    assert_eq!(answer(&other, sql).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_sees_its_own_rows_by_the_same_plan() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder).await;
    let (one, other) = (engine.session("funnelsql"), engine.session("funnelsql"));
    let sql = "SELECT entered FROM stage_conversion('f')";
    assert_eq!(answer(&one, sql).await, "3 1");
    one.run("BEGIN; INSERT INTO crm.leads VALUES (9, 'bo', 'web', '2026-01-05', '2026-01-06')")
        .await
        .unwrap();
    assert_eq!(answer(&one, sql).await, "4 2");
    assert_eq!(answer(&other, sql).await, "3 1");
    one.run("ROLLBACK").await.unwrap();
    assert_eq!(answer(&one, sql).await, "3 1");
    one.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    assert_eq!(answer(&one, sql).await, "3 1");
    other
        .run("DELETE FROM crm.leads WHERE id = 1")
        .await
        .unwrap();
    assert_eq!(answer(&one, sql).await, "3 1");
    one.run("COMMIT").await.unwrap();
    assert_eq!(answer(&one, sql).await, "2 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_run_one_plan_at_once_have_their_own_rows() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder).await;
    // Two functions over one funnel share its journeys within a statement, and with no other statement.
    let sql = "SELECT c.stage, c.entered, t.n FROM stage_conversion('f') AS c JOIN stage_times('f') AS t USING (stage_no) ORDER BY 1";
    let wanted = answer(&engine.session("funnelsql"), sql).await;
    assert!(wanted.contains("came|3"), "{wanted}");
    let mut running = Vec::new();
    for _ in 0..8 {
        let session = engine.session("funnelsql");
        running.push(tokio::spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..10 {
                answers.push(answer(&session, sql).await);
            }
            answers
        }));
    }
    for answers in running {
        for found in answers.await.unwrap() {
            assert_eq!(found, wanted);
        }
    }
}
