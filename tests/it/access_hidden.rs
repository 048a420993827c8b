//! What a plain role tries, to see what it may not: rows of others, a masked column, objects that weren't granted.
//!
//! Each way is a line of [`WAYS`]. A way is sent by the simple protocol and, where it is one statement, by the
//! extended one in text and in binary; nothing of what the server says in answer, rows, errors, notices, plans, copies, may contain
//! a canary. A way that says which rows are right is one of [`ANSWERS`].

use std::time::Duration;

use funnelsql::server::ServerOptions;
use funnelsql::server::rules::{Addresses, Method, Over, Rule};

use crate::access::{has_psql, psql};
use crate::support::raw::{Message, RawClient, rows};
use crate::support::{TestServer, db_error};

/// Ana has three rows; the other 34 are bob's.
fn deals() -> String {
    let mut text = "deal_id,owner,event,occurred_at,amount,score,phone,note
1,ana,created,2026-01-05T09:00:00Z,100,1,138-1234-5678,11
1,ana,won,2026-01-20T09:00:00Z,100,2,138-1234-5678,12
2,ana,created,2026-02-06T09:00:00Z,200,3,138-1234-5679,13
"
    .to_owned();
    for deal in 100..117 {
        for (event, day) in [("created", 1), ("won", 25)] {
            text.push_str(&format!(
                "{deal},bob,{event},2026-01-{day:02}T10:00:00Z,777.75,5,139-7777-0{deal},KANARI{deal}\n"
            ));
        }
    }
    text
}

const PAY: &str = "name,salary\nKANARI,777.75\n";

const SETUP: &str = "
CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'geheim';
CREATE ROLE sales;
CREATE ROLE bosses;
CREATE USER ana PASSWORD 'a' IN ROLE sales;
CREATE USER bob PASSWORD 'b' IN ROLE sales;
CREATE USER guest PASSWORD 'g';

CREATE OR REPLACE FUNNEL sales ON crm.deals (
  ENTITY deal_id, TIME occurred_at,
  STAGE created WHEN event = 'created', STAGE won WHEN event = 'won',
  VALUE amount, OWNER owner, DIMENSIONS (note, phone)
);
CREATE FUNNEL kanari_funnel ON (SELECT * FROM crm.deals WHERE note <> 'KANARI') (
  ENTITY deal_id, TIME occurred_at,
  STAGE created WHEN event = 'created', STAGE won WHEN event = 'won' AND note <> 'KANARI'
);
COMMENT ON FUNNEL kanari_funnel IS 'KANARI';
CREATE METRIC kanari_metric ON kanari_funnel AS count(*) FILTER (WHERE won_at IS NOT NULL);
CREATE METRIC won_deals ON sales AS count(*) FILTER (WHERE won_at IS NOT NULL);
CREATE VIEW crm.all_deals AS SELECT * FROM crm.deals;
CREATE VIEW crm.view_of_view AS SELECT owner, note, phone, amount FROM crm.all_deals WHERE note IS NOT NULL;
CREATE VIEW crm.own_deals AS SELECT * FROM crm.deals WHERE owner = current_user;
CREATE VIEW crm.pay_total AS SELECT count(*) AS people FROM hr.kanari_pay;
CREATE VIEW crm.part_of_view AS SELECT owner, amount, note FROM crm.deals;
CREATE VIEW crm.kanari_view AS SELECT 'KANARI' AS note;
COMMENT ON TABLE hr.kanari_pay IS 'KANARI';
COMMENT ON COLUMN hr.kanari_pay.name IS 'KANARI';
CREATE TABLE crm.tasks (owner text, task text);
CREATE TABLE crm.cards (owner text, card text, secret text) AS VALUES ('ana', 'one', 'KANARI'), ('bob', 'two', 'KANARI');

CREATE POLICY own ON crm.deals FOR SELECT TO sales USING (owner = current_user);
ALTER TABLE crm.deals ENABLE ROW LEVEL SECURITY;
CREATE MASK phone ON crm.deals (phone) TO sales USING (left(phone, 3) || '****' || right(phone, 4));
GRANT USAGE ON SCHEMA crm TO sales;
GRANT SELECT ON crm.deals, crm.all_deals, crm.view_of_view, crm.own_deals, crm.pay_total TO sales;
GRANT SELECT (owner, card) ON crm.cards TO sales;
GRANT SELECT (owner, amount) ON crm.part_of_view TO sales;
GRANT INSERT ON crm.tasks TO sales;
GRANT SELECT ON FUNNEL sales TO sales;
REVOKE EXECUTE ON FUNCTION repeat FROM PUBLIC;
";

/// What nobody but its owner may see, beside words with "kanari" in them.
const CANARIES: [&str; 6] = [
    // Amounts of bob, and in binary.
    "777.75",
    // Phones that a mask stands for.
    "138-1234",
    "139-7777",
    // How many rows there are, of all and of bob.
    "rows=37",
    "rows=34",
    "deals.csv",
];

/// Ways to something hidden. None may answer with it.
const WAYS: &[&str] = &[
    // The table itself.
    "SELECT * FROM crm.deals",
    "TABLE crm.deals",
    "SELECT note FROM crm.deals WHERE owner = 'bob'",
    "SELECT * FROM crm.deals ORDER BY amount DESC LIMIT 5",
    "SELECT * FROM crm.deals OFFSET 1",
    "SELECT * FROM crm.deals WHERE true OR owner = 'bob'",
    "SELECT * FROM crm.deals WHERE owner <> current_user",
    "SELECT * FROM crm.deals FOR UPDATE",
    "SELECT d FROM crm.deals d",
    "SELECT row_to_json(d) FROM crm.deals d",
    "SELECT * FROM crm.deals TABLESAMPLE SYSTEM (100)",
    "SELECT DISTINCT ON (owner) owner, note FROM crm.deals ORDER BY owner",
    "SELECT max(note), min(note), max(amount), sum(amount) FROM crm.deals",
    "SELECT string_agg(note, ',') FROM crm.deals",
    "SELECT array_agg(note ORDER BY note) FROM crm.deals",
    "SELECT owner, note, count(*) FROM crm.deals GROUP BY ROLLUP (owner, note)",
    "SELECT first_value(note) OVER (ORDER BY deal_id DESC), lead(note) OVER (ORDER BY deal_id) FROM crm.deals",
    "SELECT approx_percentile_cont(amount, 0.5), stddev(amount) FROM crm.deals",
    // Errors and conditions that look at rows before the policy does.
    "SELECT * FROM crm.deals WHERE 1 / (score - 5) > 0",
    "SELECT 1 / (score - 5) FROM crm.deals",
    "SELECT * FROM crm.deals WHERE CAST(note AS bigint) > 0",
    "SELECT CAST(note AS integer) FROM crm.deals",
    "SELECT note::date FROM crm.deals",
    "SELECT CASE WHEN owner = 'bob' THEN CAST(note AS bigint) END FROM crm.deals",
    "SELECT to_number(note, '999') FROM crm.deals",
    "SELECT * FROM crm.deals WHERE note::json IS NOT NULL",
    "SELECT * FROM crm.deals WHERE regexp_like(note, note || '(')",
    "SELECT (SELECT note FROM crm.deals) AS one",
    "SELECT chr(ascii(note) * 1000000) FROM crm.deals",
    // Queries around it.
    "WITH d AS (SELECT * FROM crm.deals) SELECT * FROM d",
    "WITH RECURSIVE d AS (SELECT deal_id, note FROM crm.deals UNION SELECT d.deal_id + 1, e.note FROM d JOIN crm.deals e ON e.deal_id = d.deal_id + 1) SELECT * FROM d",
    "SELECT a.note, b.note FROM crm.deals a CROSS JOIN crm.deals b",
    "SELECT a.note, b.note FROM crm.deals a FULL JOIN crm.deals b ON a.deal_id = b.deal_id + 99",
    "SELECT * FROM crm.deals NATURAL JOIN crm.all_deals",
    "SELECT l.note FROM (VALUES (100), (1)) v(id), LATERAL (SELECT note FROM crm.deals WHERE deal_id = v.id) l",
    "SELECT id, (SELECT max(note) FROM crm.deals WHERE deal_id = id) FROM generate_series(90, 120) AS s(id)",
    "SELECT id FROM generate_series(90, 120) AS s(id) WHERE EXISTS (SELECT 1 FROM crm.deals WHERE deal_id = id AND note LIKE 'KAN%' AND raise(note))",
    "SELECT ARRAY(SELECT note FROM crm.deals)",
    "SELECT * FROM crm.deals UNION ALL SELECT * FROM crm.all_deals",
    "SELECT note FROM crm.deals EXCEPT SELECT note FROM crm.own_deals",
    "SELECT unnest(array_agg(note)) FROM crm.deals",
    // Plans.
    "EXPLAIN SELECT * FROM crm.deals",
    "EXPLAIN VERBOSE SELECT * FROM crm.deals WHERE amount > 1",
    "EXPLAIN ANALYZE SELECT * FROM crm.deals",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT count(*) FROM crm.deals WHERE note > 'A'",
    "EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM crm.all_deals",
    "EXPLAIN ANALYZE SELECT * FROM journeys('sales')",
    "SET datafusion.explain.show_statistics = true; EXPLAIN SELECT count(*) FROM crm.deals",
    "SET datafusion.explain.analyze_level = 'dev'; EXPLAIN ANALYZE VERBOSE SELECT * FROM crm.deals",
    "SET datafusion.execution.parquet.pushdown_filters = true; SELECT * FROM crm.deals WHERE 1/(score-5) > 0",
    "EXPLAIN FORMAT TREE SELECT * FROM crm.deals",
    // The mask.
    "SELECT phone FROM crm.deals",
    "SELECT * FROM crm.deals WHERE phone LIKE '138-1%'",
    "SELECT substring(phone, 4, 4), reverse(phone), upper(phone), md5(phone) FROM crm.deals",
    "SELECT string_agg(phone, '') FROM crm.deals",
    "SELECT CAST(phone AS bigint) FROM crm.deals",
    "SELECT phone FROM crm.own_deals GROUP BY phone ORDER BY phone",
    "SELECT a.phone FROM crm.deals a JOIN crm.all_deals b ON a.phone = b.phone",
    "SELECT * FROM journeys('sales')",
    "SELECT * FROM stage_conversion('sales', by => 'phone')",
    // Views.
    "SELECT * FROM crm.all_deals",
    "SELECT * FROM crm.view_of_view",
    "SELECT * FROM crm.own_deals",
    "SELECT * FROM crm.kanari_view",
    "SELECT * FROM crm.part_of_view",
    "EXPLAIN SELECT * FROM crm.pay_total",
    "EXPLAIN ANALYZE VERBOSE SELECT * FROM crm.pay_total",
    "EXPLAIN (FORMAT JSON) SELECT * FROM crm.pay_total",
    "EXPLAIN FORMAT INDENT SELECT * FROM crm.pay_total",
    "EXPLAIN FORMAT GRAPHVIZ SELECT * FROM crm.deals",
    "SELECT * FROM 'tables/crm/deals.csv'",
    "SELECT * FROM \"tables/crm/deals.csv\"",
    "SELECT note FROM crm.part_of_view",
    "SELECT amount FROM crm.part_of_view WHERE note > 'A'",
    "SELECT definition FROM pg_views",
    "SELECT pg_get_viewdef('crm.kanari_view')",
    "SELECT pg_get_viewdef(oid) FROM pg_class",
    "SELECT view_definition FROM information_schema.views",
    "CREATE VIEW crm.mine AS SELECT * FROM crm.deals",
    "CREATE OR REPLACE VIEW crm.own_deals AS SELECT * FROM hr.kanari_pay",
    // Objects that weren't granted, their names, columns and comments.
    "SELECT * FROM hr.kanari_pay",
    "SELECT * FROM funnelsql.hr.kanari_pay",
    "SELECT count(*) FROM hr.kanari_pay",
    "SELECT 1 FROM hr.kanari_pay LIMIT 0",
    "SELECT * FROM hr.kanari_pa",
    "SELECT * FROM crm.kanari_vie",
    "SELECT * FROM kanari_pa",
    "SELECT secret FROM crm.cards",
    "SELECT * FROM crm.cards",
    "SELECT card FROM crm.cards WHERE secret LIKE 'K%'",
    "SELECT card FROM crm.cards ORDER BY secret",
    "SELECT count(secret) FROM crm.cards",
    "SELECT c.card FROM crm.cards c JOIN crm.cards d ON c.secret = d.secret",
    "SELECT secre FROM crm.cards",
    "SELECT task FROM crm.tasks",
    "SHOW TABLES",
    "SHOW COLUMNS FROM hr.kanari_pay",
    "DESCRIBE hr.kanari_pay",
    "SELECT * FROM pg_class",
    "SELECT * FROM pg_attribute WHERE attrelid > 200000",
    "SELECT * FROM pg_type WHERE typtype = 'c'",
    "SELECT * FROM pg_tables",
    "SELECT * FROM pg_namespace",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM information_schema.columns WHERE table_schema <> 'pg_catalog'",
    "SELECT * FROM information_schema.table_privileges",
    "SELECT * FROM information_schema.column_privileges",
    "SELECT * FROM pg_description",
    "SELECT obj_description(oid) FROM pg_class",
    "SELECT obj_description('hr.kanari_pay'::regclass)",
    "SELECT col_description('hr.kanari_pay'::regclass, 1)",
    "SELECT * FROM pg_stats",
    "SELECT * FROM pg_stat_user_tables",
    "SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'deals'",
    "SELECT usename, application_name, query FROM pg_stat_activity WHERE usename = 'admin'",
    "SELECT to_regclass('hr.kanari_pay')",
    "SELECT 'hr.kanari_pay'::regclass::text",
    "SELECT has_table_privilege('hr.kanari_pay', 'SELECT')",
    "SET datafusion.catalog.information_schema = true; SELECT * FROM information_schema.views",
    "SET datafusion.catalog.default_schema = 'hr'; SELECT * FROM kanari_pay",
    "SET search_path = hr; SELECT * FROM kanari_pay",
    // Funnels.
    "SELECT * FROM journeys.sales",
    "SELECT * FROM journey_stages('sales')",
    "SELECT * FROM funnel('sales')",
    "SELECT * FROM funnel('sales', by => 'note')",
    "SELECT * FROM funnel_source('sales')",
    "SELECT * FROM stage_conversion('sales', by => 'note')",
    "SELECT * FROM stage_conversion('sales', by => 'owner')",
    "SELECT * FROM stage_metrics('sales', by => 'note')",
    "SELECT * FROM stage_times('sales', by => 'note')",
    "SELECT * FROM stage_moves('sales')",
    "SELECT * FROM cohort_cycle('sales', by => 'note')",
    "SELECT * FROM funnel_trend('sales', by => 'note')",
    "SELECT * FROM cycle_bands('sales', by => 'note')",
    "SELECT * FROM loss_reasons('sales', by => 'note')",
    "SELECT * FROM stage_survival('sales', by => 'note')",
    "SELECT * FROM stage_cif('sales', by => 'note')",
    "SELECT * FROM stage_logrank('sales', by => 'note')",
    "SELECT * FROM cycle_drivers('sales')",
    "SELECT * FROM outcome_drivers('sales')",
    "SELECT * FROM root_cause('sales', current => '2026-02', base => '2026-01')",
    "SELECT * FROM eb_rate('sales', by => 'note')",
    "SELECT * FROM funnel_bottleneck('sales')",
    "SELECT * FROM overdue_deals('sales')",
    "SELECT * FROM deal_timeline('sales', 100)",
    "SELECT * FROM deal_timeline('sales', '100')",
    "SELECT * FROM data_quality('sales')",
    "SELECT * FROM metric('won_deals', by => 'note')",
    "SELECT * FROM metric('kanari_metric')",
    "SELECT * FROM metric('kanari_metri')",
    "SELECT * FROM metric_lint()",
    "SELECT * FROM review('kanari_change')",
    "SELECT * FROM funnel((SELECT * FROM crm.all_deals), entity => deal_id, time => occurred_at, stage => event, stages => ['created', 'won'])",
    "SELECT * FROM journeys((SELECT * FROM hr.kanari_pay), entity => name, time => salary, stage => name, stages => ['a', 'b'])",
    "SELECT * FROM journeys('kanari_funnel')",
    "SELECT * FROM journeys.kanari_funnel",
    "SELECT * FROM journeys('kanari_funne')",
    "SELECT * FROM journeys.kanari_funne",
    "SELECT * FROM data_quality('kanari_funnel')",
    "SELECT * FROM engine_query((SELECT * FROM crm.deals WHERE 1 / (score - 5) > 0))",
    "SELECT * FROM engine_query((SELECT * FROM hr.kanari_pay))",
    "SELECT * FROM engine_query((SELECT secret FROM crm.cards))",
    "SHOW FUNNELS",
    "SHOW CREATE FUNNEL kanari_funnel",
    "SHOW CREATE FUNNEL kanari_funne",
    "SHOW CREATE METRIC kanari_metric",
    "SHOW CHANGES",
    "SHOW SQL FOR SELECT * FROM stage_conversion('kanari_funnel')",
    "SHOW SQL FOR SELECT * FROM stage_conversion('sales', by => 'note')",
    "SELECT * FROM funnel.funnels",
    "SELECT * FROM funnel.stages",
    "SELECT * FROM funnel.metrics WHERE owner <> 'funnelsql' OR funnel IS NOT NULL",
    "SELECT * FROM funnel.changes",
    "SELECT * FROM funnel.reviews",
    "SELECT * FROM funnel.masks",
    "SELECT * FROM funnel_drill('stage_conversion(kanari_funnel)')",
    "SELECT * FROM pg_policies",
    // Copies, cursors, statements that are kept, tables of one's own.
    "COPY crm.deals TO STDOUT",
    "COPY crm.deals TO STDOUT (FORMAT csv, HEADER)",
    "COPY (SELECT * FROM crm.all_deals) TO STDOUT (FORMAT binary)",
    "COPY hr.kanari_pay TO STDOUT",
    "COPY crm.deals TO '/tmp/stolen.csv'",
    "COPY crm.cards (secret) TO STDOUT",
    "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT * FROM crm.deals; FETCH ALL FROM c; COMMIT",
    "BEGIN; DECLARE c CURSOR FOR SELECT * FROM hr.kanari_pay; FETCH ALL FROM c; COMMIT",
    "PREPARE p AS SELECT * FROM crm.deals WHERE owner <> $1; EXECUTE p('ana'); DEALLOCATE p",
    "PREPARE p AS SELECT * FROM hr.kanari_pay; EXECUTE p",
    "CREATE TEMP TABLE copy_of AS SELECT * FROM crm.deals; SELECT * FROM copy_of; DROP TABLE copy_of",
    "CREATE TEMP TABLE pay AS SELECT * FROM hr.kanari_pay; SELECT * FROM pay",
    "INSERT INTO crm.tasks SELECT note, phone FROM crm.deals; INSERT INTO crm.tasks SELECT * FROM hr.kanari_pay",
    "SELECT * FROM pg_temp_1.stolen",
    "SELECT * FROM pg_temp_2.stolen",
    "SELECT * FROM pg_temp_3.stolen",
    "SELECT * FROM pg_temp_4.stolen",
    "SELECT * FROM pg_temp_5.stolen",
    // Somebody else's role.
    "SET ROLE admin; SELECT * FROM crm.deals",
    "SET ROLE bob; SELECT * FROM crm.deals",
    "SET ROLE funnelsql; SELECT * FROM crm.deals",
    "SET ROLE bosses; SELECT * FROM crm.deals",
    "SET ROLE sales; SELECT * FROM crm.deals; RESET ROLE",
    "SET SESSION AUTHORIZATION bob; SELECT * FROM crm.deals",
    "SET SESSION AUTHORIZATION admin; SELECT * FROM crm.deals",
    "SELECT set_config('role', 'admin', false); SELECT * FROM crm.deals",
    "SELECT set_config('session_authorization', 'admin', false); SELECT * FROM crm.deals",
    "SET asker.role = 'admin'; SELECT * FROM crm.deals",
    "SET is_superuser = on; SELECT * FROM crm.deals",
    "SET row_security = off; SELECT * FROM crm.deals",
    "DISCARD ALL; SELECT * FROM crm.deals",
    // What opens the doors.
    "ALTER TABLE crm.deals DISABLE ROW LEVEL SECURITY; SELECT * FROM crm.deals",
    "DROP POLICY own ON crm.deals; SELECT * FROM crm.deals",
    "CREATE POLICY more ON crm.deals USING (true); SELECT * FROM crm.deals",
    "DROP MASK phone ON crm.deals; SELECT * FROM crm.deals",
    "ALTER POLICY own ON crm.deals USING (true); SELECT * FROM crm.deals",
    "ALTER MASK phone ON crm.deals USING (phone); SELECT * FROM crm.deals",
    "CREATE MASK a ON crm.deals (phone) USING (phone); SELECT * FROM crm.deals",
    "GRANT SELECT ON hr.kanari_pay TO ana; SELECT * FROM hr.kanari_pay",
    "GRANT ALL ON SCHEMA hr TO PUBLIC; SELECT * FROM hr.kanari_pay",
    "GRANT admin TO ana; SET ROLE admin; SELECT * FROM crm.deals",
    "ALTER ROLE ana SUPERUSER; SELECT * FROM crm.deals",
    "CREATE ROLE eve SUPERUSER LOGIN",
    "DROP OWNED BY sales",
    "ALTER TABLE crm.deals RENAME TO mine; SELECT * FROM crm.mine",
    "DROP TABLE crm.cards",
    "DROP VIEW crm.own_deals",
    "DROP SCHEMA hr CASCADE",
    "DROP FUNNEL sales",
    "COMMENT ON TABLE crm.deals IS 'mine'",
    "SET search_path = crm; COMMENT ON TABLE deals IS 'mine'",
    "SET search_path = crm; ALTER TABLE deals RENAME TO mine",
    "SET search_path = crm; ALTER TABLE deals SET SCHEMA public",
    "SET search_path = crm; CREATE INDEX mine ON deals (id)",
    "CREATE SCHEMA loot",
    "CREATE TABLE loot AS SELECT * FROM crm.all_deals",
    "CREATE EXTERNAL TABLE loot STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE FUNNEL loot ON hr.kanari_pay (ENTITY name, STAGE a AT salary, STAGE b AT salary)",
    "CREATE METRIC loot ON sales AS count(*)",
    "REVIEW CHANGE anything",
    "UPDATE crm.deals SET owner = 'ana'; SELECT * FROM crm.deals",
    "UPDATE crm.cards SET card = secret; SELECT card FROM crm.cards",
    "DELETE FROM crm.cards WHERE secret LIKE 'K%'",
    "TRUNCATE crm.cards",
    "INSERT INTO crm.deals SELECT * FROM crm.deals",
    "INSERT INTO crm.cards VALUES ('ana', 'x', 'y')",
    "MERGE INTO crm.cards c USING crm.deals d ON c.secret = d.note WHEN MATCHED THEN UPDATE SET card = c.secret",
    "SELECT pg_terminate_backend(pid), pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'nobody'",
    "SELECT repeat(note, 2) FROM crm.deals",
    "DO $$ BEGIN PERFORM * FROM crm.deals; END $$",
    "CALL steal()",
];

/// Questions with the answer that a role without any rights to more gets: the text of the rows, or of the error.
const ANSWERS: &[(&str, &str)] = &[
    ("SELECT count(*) FROM crm.deals", "3"),
    (
        "SELECT count(*), sum(amount), max(deal_id) FROM crm.all_deals",
        "3 400 2",
    ),
    ("SELECT count(*) FROM crm.own_deals", "3"),
    ("SELECT count(*) FROM crm.deals WHERE owner = 'bob'", "0"),
    ("SELECT count(*) FROM crm.deals WHERE note LIKE 'KAN%'", "0"),
    (
        "SELECT count(*) FROM crm.deals WHERE phone LIKE '%1234%'",
        "0",
    ),
    (
        "SELECT min(phone), max(phone) FROM crm.deals",
        "138****5678 138****5679",
    ),
    ("SELECT count(DISTINCT phone) FROM crm.all_deals", "2"),
    ("SELECT bool_or(1 / (score - 5) > 9) FROM crm.deals", "f"),
    ("SELECT sum(CAST(note AS bigint)) FROM crm.deals", "36"),
    ("SELECT current_user, session_user", "ana ana"),
    ("SELECT count(*) FROM journeys('sales')", "2"),
    ("SELECT count(*) FROM journeys.sales", "2"),
    (
        "SELECT count(*), max(amount) FROM crm.part_of_view",
        "3 200",
    ),
    (
        "SELECT note FROM crm.part_of_view",
        "permission denied for table part_of_view",
    ),
    (
        "SELECT count(*) FROM crm.part_of_view WHERE note > ''",
        "permission denied for table part_of_view",
    ),
    (
        "SELECT string_agg(policyname || ' ' || tablename || ' ' || qual, ',') FROM pg_policies",
        "own deals owner = current_user",
    ),
    (
        "SELECT string_agg(mask || ' ' || \"column\", ',') FROM funnel.masks",
        "phone phone",
    ),
    (
        "SELECT string_agg(card, ',' ORDER BY card) FROM crm.cards",
        "one,two",
    ),
    ("SELECT count(*) FROM crm.cards", "2"),
    // A view reads with its owner's rights what its reader may not.
    ("SELECT people FROM crm.pay_total", "1"),
    (
        "SELECT * FROM hr.kanari_pay",
        "permission denied for schema hr",
    ),
    (
        "SELECT * FROM crm.kanari_view",
        "permission denied for table kanari_view",
    ),
    (
        "SELECT secret FROM crm.cards",
        "permission denied for table cards",
    ),
    (
        "SELECT * FROM journeys('kanari_funnel')",
        "permission denied for funnel kanari_funnel",
    ),
    (
        "SELECT * FROM journeys.kanari_funnel",
        "permission denied for funnel kanari_funnel",
    ),
    (
        "SELECT repeat('x', 2)",
        "permission denied for function repeat",
    ),
    (
        "SELECT * FROM crm.tasks",
        "permission denied for table tasks",
    ),
    (
        "UPDATE crm.cards SET card = 'x'",
        "permission denied for table cards",
    ),
    (
        "CREATE SCHEMA loot",
        "permission denied to run CREATE SCHEMA",
    ),
    ("SET ROLE admin", "permission denied to set role \"admin\""),
    (
        "SELECT has_table_privilege('crm.deals', 'SELECT'), has_table_privilege('crm.deals', 'INSERT')",
        "t f",
    ),
    (
        "SELECT has_table_privilege('crm.cards', 'SELECT'), has_any_column_privilege('crm.cards', 'SELECT')",
        "f t",
    ),
    (
        "SELECT has_column_privilege('crm.cards', 'card', 'SELECT'), has_column_privilege('crm.cards', 'secret', 'SELECT')",
        "t f",
    ),
    (
        "SELECT has_schema_privilege('crm', 'USAGE'), has_schema_privilege('crm', 'CREATE')",
        "t f",
    ),
    (
        "SELECT has_function_privilege('repeat', 'EXECUTE'), has_function_privilege('lower', 'EXECUTE')",
        "f t",
    ),
    (
        "SELECT pg_has_role('sales', 'MEMBER'), pg_has_role('bosses', 'MEMBER')",
        "t f",
    ),
    (
        "SELECT row_security_active('crm.deals'), row_security_active('crm.cards')",
        "t f",
    ),
    (
        "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relkind IN ('r', 'v') AND oid > 200000 AND relnamespace = 'crm'::regnamespace",
        "all_deals,cards,deals,own_deals,part_of_view,pay_total,tasks,view_of_view",
    ),
    (
        "SELECT count(*) FROM pg_namespace WHERE nspname = 'hr'",
        "0",
    ),
    (
        "SELECT string_agg(funnel, ',') FROM funnel.funnels",
        "sales",
    ),
];

fn options() -> ServerOptions {
    let anybody = Rule {
        over: Over::Any,
        address: Addresses::All,
        databases: Vec::new(),
        users: Vec::new(),
        method: Method::Trust,
    };
    ServerOptions {
        rules: Some(vec![anybody]),
        ..ServerOptions::new("127.0.0.1:0")
    }
}

async fn server() -> TestServer {
    let files = [
        ("crm/deals.csv", deals()),
        ("hr/kanari_pay.csv", PAY.to_owned()),
    ];
    TestServer::start_over(options(), &files, SETUP).await
}

async fn client(server: &TestServer, user: &str) -> RawClient {
    RawClient::connect(server.address, &[("user", user), ("database", "funnelsql")]).await
}

/// The canaries that the server's messages have. A hidden name that the way itself says may be in an error about it.
fn seen(way: &str, messages: &[Message]) -> Vec<String> {
    let mut all: Vec<u8> = Vec::new();
    for message in messages {
        all.extend(&message.body);
        all.push(b'\n');
    }
    let (text, way) = (
        String::from_utf8_lossy(&all).to_lowercase(),
        way.to_lowercase(),
    );
    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|character: char| !character.is_alphanumeric() && character != '_')
    }
    let mut found: Vec<String> = words(&text)
        .filter(|word| word.contains("kanari") && !words(&way).any(|said| said == *word))
        .map(str::to_owned)
        .collect();
    let canaries = CANARIES
        .iter()
        .filter(|canary| text.contains(**canary) && !way.contains(**canary));
    found.extend(canaries.map(|canary| (*canary).to_owned()));
    let binary = 777.75f64.to_be_bytes();
    if all.windows(8).any(|window| window == binary) {
        found.push("777.75 in binary".to_owned());
    }
    found
}

/// What the server says to a statement in the extended protocol.
async fn extended(client: &mut RawClient, sql: &str, format: i16) -> Vec<Message> {
    client.parse(sql).await;
    client.describe(b'S').await;
    client.bind(&[], &[format]).await;
    client.describe(b'P').await;
    client.execute(0).await;
    client.sync().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_leads_to_what_is_hidden() {
    let server = server().await;
    // Tables of other roles' sessions, that are there meanwhile.
    let mut others = Vec::new();
    for user in ["admin", "bob"] {
        let mut other = client(&server, user).await;
        other
            .query("CREATE TEMP TABLE stolen AS SELECT * FROM crm.deals; SELECT 'KANARI'")
            .await;
        others.push(other);
    }
    let mut faults = Vec::new();
    for user in ["ana", "guest"] {
        let mut kept = client(&server, user).await;
        for way in WAYS {
            let is_one = !way.contains("; ") && !way.starts_with("COPY");
            // Of several statements something may stay behind: they have a session of their own.
            let mut own = match is_one {
                true => None,
                false => Some(client(&server, user).await),
            };
            let plain = own.as_mut().unwrap_or(&mut kept);
            let mut messages = plain.query(way).await;
            if is_one {
                let format = i16::from(user == "ana");
                messages.extend(extended(plain, way, format).await);
            }
            assert!(!messages.is_empty(), "{way}");
            let found = seen(way, &messages);
            if !found.is_empty() {
                let texts: Vec<String> = messages.iter().map(Message::text).collect();
                let text: String = texts.join(" ¦ ").chars().take(600).collect();
                faults.push(format!("{user}: {way}\n    {found:?}\n    {text}"));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} ways:\n{}",
        faults.len(),
        faults.join("\n")
    );
    // And nothing is broken, nor was changed by any of it: bob still has his rows.
    let mut bob = client(&server, "bob").await;
    let messages = bob.query("SELECT count(*) FROM crm.deals").await;
    assert_eq!(rows(&messages), [[Some("34".to_owned())]]);
    let mut admin = client(&server, "admin").await;
    let messages = admin
        .query("SELECT count(*), max(phone) FROM crm.deals")
        .await;
    assert_eq!(
        rows(&messages),
        [[Some("37".to_owned()), Some("139-7777-0116".to_owned())]]
    );
    drop(others);
}

/// `COPY` to a file, by itself and inside of other statements: a role that can write where the catalog lies makes itself a
/// superuser.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_files_of_the_servers() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("written");
    let copy = format!(
        "COPY (SELECT 'a' AS name, true AS superuser) TO '{}'",
        target.display()
    );
    let formats = [
        "",
        " STORED AS CSV",
        " STORED AS JSON",
        " STORED AS PARQUET PARTITIONED BY (name)",
    ];
    let mut ways = Vec::new();
    for format in formats {
        for before in [
            "",
            "EXPLAIN ",
            "EXPLAIN ANALYZE ",
            "EXPLAIN ANALYZE VERBOSE ",
            "EXPLAIN (ANALYZE, FORMAT JSON) ",
            "EXPLAIN FORMAT INDENT ",
            "PREPARE w AS ",
            "DECLARE w CURSOR FOR ",
            "BEGIN READ ONLY; EXPLAIN ANALYZE ",
            "EXPLAIN ANALYZE EXPLAIN ANALYZE ",
        ] {
            ways.push(format!("{before}{copy}{format}"));
        }
    }
    ways.push(format!(
        "PREPARE p AS {copy}; EXECUTE p; EXPLAIN ANALYZE EXECUTE p"
    ));
    for user in ["guest", "admin"] {
        for way in &ways {
            let mut one = client(&server, user).await;
            let messages = one.query(way).await;
            assert!(
                messages.iter().any(|message| message.kind == 'E'),
                "{user}: {way}"
            );
            if !way.contains("; ") {
                let mut one = client(&server, user).await;
                let messages = extended(&mut one, way, 0).await;
                assert!(
                    messages.iter().any(|message| message.kind == 'E'),
                    "{user}: {way}"
                );
            }
            assert!(!target.exists(), "{user}: {way}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_right() {
    let server = server().await;
    let mut ana = client(&server, "ana").await;
    let mut faults = Vec::new();
    for (sql, expected) in ANSWERS {
        let messages = ana.query(sql).await;
        let texts: Vec<String> = rows(&messages)
            .into_iter()
            .map(|row| {
                let values = row.into_iter().map(|value| value.unwrap_or_default());
                values.collect::<Vec<_>>().join(" ")
            })
            .collect();
        let error = messages
            .iter()
            .find(|message| message.kind == 'E')
            .map(|error| error.field('M').unwrap());
        let answer = error.unwrap_or_else(|| texts.join("\n"));
        if !answer.contains(expected) || (expected.len() < 4 && answer != *expected) {
            faults.push(format!("{sql}\n    {answer}\n    not {expected}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_read_as_whoever_runs_it() {
    let server = server().await;
    let mut admin = client(&server, "admin").await;
    let count = |messages: &[Message]| rows(messages)[0][0].clone().unwrap();
    // Prepared by a superuser, run as a member of sales.
    admin
        .query("PREPARE all_of_it AS SELECT count(*) FROM crm.deals; PREPARE journeys AS SELECT count(*) FROM journeys('sales')")
        .await;
    assert_eq!(count(&admin.query("EXECUTE all_of_it").await), "37");
    assert_eq!(count(&admin.query("EXECUTE journeys").await), "19");
    admin.query("SET ROLE ana").await;
    assert_eq!(count(&admin.query("EXECUTE all_of_it").await), "3");
    assert_eq!(count(&admin.query("EXECUTE journeys").await), "2");
    assert_eq!(count(&admin.query("SELECT current_user").await), "ana");
    admin.query("RESET ROLE").await;
    assert_eq!(count(&admin.query("EXECUTE all_of_it").await), "37");
    // A table of its own session, made before: it is the superuser's.
    admin
        .query("CREATE TEMP TABLE kept AS SELECT * FROM crm.deals; SET ROLE ana")
        .await;
    let messages = admin.query("SELECT count(*) FROM kept").await;
    let error = messages.iter().find(|message| message.kind == 'E').unwrap();
    assert_eq!(error.field('C').as_deref(), Some("42501"));
    admin.query("RESET ROLE").await;
    // A drill key of a superuser's leads a plain role to its own rows.
    let key = admin
        .query("SELECT drill_key FROM stage_conversion('sales') LIMIT 1")
        .await;
    let key = count(&key);
    let sql = format!("SELECT count(*) FROM funnel_drill('{key}')");
    let all: i64 = count(&admin.query(&sql).await).parse().unwrap();
    let mut ana = client(&server, "ana").await;
    let own: i64 = count(&ana.query(&sql).await).parse().unwrap();
    assert!(own <= 2 && all > 2, "{own} {all}");
    let messages = ana
        .query(&format!("SELECT * FROM funnel_drill('{key}')"))
        .await;
    assert_eq!(seen("", &messages), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_follow_a_table_through_other_names() {
    let server = server().await;
    let mut admin = client(&server, "admin").await;
    let mut ana = client(&server, "ana").await;
    let count = |messages: &[Message]| rows(messages).first().map(|row| row[0].clone().unwrap());
    admin.query("CREATE TABLE crm.notes AS SELECT * FROM crm.deals; CREATE VIEW crm.notes_view AS SELECT * FROM crm.notes; GRANT SELECT ON crm.notes_view, crm.notes TO sales").await;
    assert_eq!(
        count(&ana.query("SELECT count(*) FROM crm.notes_view").await).as_deref(),
        Some("37")
    );
    // Enabled later, without a policy: nothing is seen, through the view either.
    admin
        .query("ALTER TABLE crm.notes ENABLE ROW LEVEL SECURITY")
        .await;
    assert_eq!(
        count(&ana.query("SELECT count(*) FROM crm.notes_view").await).as_deref(),
        Some("0")
    );
    admin.query("CREATE POLICY won ON crm.notes TO sales USING (event = 'won'); CREATE POLICY own ON crm.notes TO ana USING (owner = 'ana')").await;
    assert_eq!(
        count(&ana.query("SELECT count(*) FROM crm.notes_view").await).as_deref(),
        Some("20")
    );
    admin
        .query("CREATE POLICY only ON crm.notes AS RESTRICTIVE USING (owner = current_user)")
        .await;
    assert_eq!(
        count(&ana.query("SELECT count(*) FROM crm.notes_view").await).as_deref(),
        Some("3")
    );
    for (change, seen) in [
        (
            "ALTER POLICY only ON crm.notes USING (owner <> current_user)",
            "17",
        ),
        ("ALTER POLICY only ON crm.notes TO bosses", "20"),
        ("ALTER POLICY only ON crm.notes RENAME TO \"只有\"", "20"),
        (
            "ALTER POLICY \"只有\" ON crm.notes TO ana, bob USING (owner = current_user)",
            "3",
        ),
    ] {
        admin.query(change).await;
        let found = count(&ana.query("SELECT count(*) FROM crm.notes_view").await);
        assert_eq!(found.as_deref(), Some(seen), "{change}");
    }
    admin.query("ALTER TABLE crm.notes RENAME TO renamed").await;
    assert_eq!(
        count(&ana.query("SELECT count(*) FROM crm.renamed").await).as_deref(),
        Some("3")
    );
    assert_eq!(
        count(&ana.query("SELECT count(*) FROM crm.notes_view").await).as_deref(),
        Some("3")
    );
    // Another table of its old name has nothing of it: neither the grant nor the policies.
    admin.query("CREATE TABLE crm.notes (x bigint)").await;
    let messages = ana.query("SELECT * FROM crm.notes").await;
    assert!(
        messages
            .iter()
            .any(|m| m.field('C').as_deref() == Some("42501")),
        "{messages:?}"
    );
    assert_eq!(
        count(&ana.query("SELECT count(*) FROM crm.notes_view").await).as_deref(),
        Some("3")
    );
    admin.query("DROP TABLE crm.renamed").await;
    assert_eq!(
        count(&ana.query("SELECT count(*) FROM crm.notes_view").await).as_deref(),
        Some("3")
    );
    // What is taken is gone at once.
    admin
        .query("REVOKE SELECT ON crm.notes_view FROM sales")
        .await;
    let messages = ana.query("SELECT * FROM crm.notes_view").await;
    assert!(
        messages
            .iter()
            .any(|m| m.field('C').as_deref() == Some("42501")),
        "{messages:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_sees_its_own_rows_and_postgres_errors() {
    let server = server().await;
    let mut config = server.config();
    config.connect_timeout(Duration::from_secs(10));
    let client = crate::support::connect(&config).await;
    let rows = client
        .query(
            "SELECT deal_id, phone FROM crm.deals WHERE deal_id > $1",
            &[&0i64],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 3);
    let phone: &str = rows[0].get(1);
    assert_eq!(phone, "138****5678");
    let error = client
        .query("SELECT * FROM hr.kanari_pay", &[])
        .await
        .unwrap_err();
    let error = db_error(&error);
    assert_eq!(
        (error.code().code(), error.message()),
        ("42501", "permission denied for schema hr")
    );
    assert_eq!(
        error.hint(),
        Some("A superuser can let you: GRANT USAGE ON SCHEMA hr TO your role.")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_shows_who_may_see_what() {
    if !has_psql() {
        return;
    }
    let server = server().await;
    let port = server.address.port();
    for (user, command, parts) in [
        ("admin", r"\dp crm.*", "sales=r/funnelsql|owner:|card:|own (r):|(u): owner = current_user|to: sales|sales=a/funnelsql".to_owned()),
        ("ana", r"\d crm.deals", "POLICY \"own\" FOR SELECT|TO sales|USING (owner = current_user)".to_owned()),
        ("admin", r"\ddp", "Default access privileges".to_owned()),
        ("admin", r"\dn+", "crm|sales=U/funnelsql".to_owned()),
        ("ana", "SELECT grantee, privilege_type FROM information_schema.table_privileges WHERE table_name = 'deals'", "sales|SELECT".to_owned()),
    ] {
        let shown = psql(port, &format!("user={user}"), "", command).await;
        let shown = shown.unwrap_or_else(|error| error);
        let missing: Vec<&str> = parts.split('|').filter(|part| !shown.contains(part)).collect();
        assert!(
            missing.is_empty(), "{command}: {missing:?}\n{shown}");
        assert!(user == "admin" || !shown.to_lowercase().contains("kanari"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_stops_only_its_own() {
    let server = server().await;
    let mut admin = client(&server, "admin").await;
    let pid = rows(&admin.query("SELECT pg_backend_pid()").await)[0][0]
        .clone()
        .unwrap();
    let mut ana = client(&server, "ana").await;
    let other = client(&server, "ana").await;
    let messages = ana
        .query(&format!("SELECT pg_terminate_backend({pid})"))
        .await;
    let error = messages.iter().find(|message| message.kind == 'E').unwrap();
    assert_eq!(error.field('C').as_deref(), Some("42501"));
    let own = ana
        .query("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE usename = 'ana' AND pid <> pg_backend_pid()")
        .await;
    assert_eq!(rows(&own), [[Some("1".to_owned())]]);
    drop(other);
    assert_eq!(
        rows(&admin.query("SELECT 1").await),
        [[Some("1".to_owned())]]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_about_access_have_postgres_errors() {
    let server = server().await;
    let mut admin = client(&server, "admin").await;
    for (sql, code) in [
        ("DROP POLICY nothing ON crm.deals", "42704"),
        ("DROP MASK nothing ON crm.deals", "42704"),
        ("ALTER POLICY nothing ON crm.deals RENAME TO own", "42704"),
        ("ALTER POLICY own ON crm.deals RENAME TO own", "42710"),
        ("ALTER POLICY own ON crm.deals USING (amount)", "42804"),
        ("ALTER POLICY own ON crm.deals TO nobody", "42704"),
        ("ALTER MASK nothing ON crm.deals USING (NULL)", "42704"),
        ("ALTER MASK phone ON crm.deals USING (1)", "42804"),
        ("CREATE POLICY own ON crm.deals USING (true)", "42710"),
        (
            "CREATE MASK phone ON crm.deals (phone) USING (NULL)",
            "42710",
        ),
        ("CREATE POLICY p ON crm.nothing USING (true)", "42P01"),
        ("CREATE POLICY p ON crm.deals USING (nothing = 1)", "42703"),
        ("CREATE POLICY p ON crm.deals USING (amount)", "42804"),
        ("CREATE POLICY p ON crm.deals USING (count(*) > 1)", "42803"),
        (
            "CREATE POLICY p ON crm.deals USING (owner IN (SELECT owner FROM crm.cards))",
            "0A000",
        ),
        ("CREATE POLICY p ON crm.all_deals USING (true)", "42809"),
        ("CREATE POLICY p ON journeys.sales USING (true)", "42809"),
        (
            "CREATE POLICY p ON crm.deals TO nobody USING (true)",
            "42704",
        ),
        ("CREATE MASK m ON crm.deals (nothing) USING (NULL)", "42703"),
        ("CREATE MASK m ON crm.deals (amount) USING ('***')", "42804"),
        ("GRANT SELECT ON crm.deals TO nobody", "42704"),
        ("GRANT SELECT ON crm.nothing TO sales", "42P01"),
        ("GRANT SELECT (nothing) ON crm.deals TO sales", "42703"),
        ("GRANT USAGE ON crm.deals TO sales", "0LP01"),
        ("GRANT REFERENCES ON crm.deals TO sales", "0A000"),
        ("GRANT NONSENSE ON crm.deals TO sales", "42601"),
        ("GRANT USAGE ON SCHEMA nothing TO sales", "3F000"),
        ("GRANT SELECT ON FUNNEL nothing TO sales", "42704"),
        ("GRANT EXECUTE ON FUNCTION nothing TO sales", "42883"),
        ("GRANT SELECT ON pg_catalog.pg_class TO sales", "42501"),
        ("DROP ROLE sales", "2BP01"),
    ] {
        let messages = admin.query(sql).await;
        let error = messages.iter().find(|message| message.kind == 'E');
        let found = error.map(|error| (error.field('C').unwrap(), error.field('M').unwrap()));
        assert_eq!(
            found.as_ref().map(|(code, _)| code.as_str()),
            Some(code),
            "{sql}: {found:?}"
        );
    }
    for sql in [
        "DROP POLICY IF EXISTS nothing ON crm.deals",
        "DROP OWNED BY sales",
        "DROP ROLE sales",
    ] {
        let messages = admin.query(sql).await;
        assert!(
            messages.iter().all(|message| message.kind != 'E'),
            "{sql}: {messages:?}"
        );
    }
}
