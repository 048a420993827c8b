//! scratch

use std::fs;
use std::sync::Arc;
use funnelsql::engine::{Engine, EngineOptions, Session, text_rows};

async fn open(dir: &std::path::Path) -> Arc<Engine> {
    Engine::open(EngineOptions::new(dir)).await.unwrap()
}

async fn show(s: &Session, sql: &str) {
    match s.query(sql).await {
        Ok(b) => eprintln!("{sql}\n   -> {:?}", b.iter().flat_map(|b| text_rows(b).unwrap()).collect::<Vec<_>>()),
        Err(e) => eprintln!("{sql}\n   -> ERR {} {} | {:?} | {:?}", e.code(), e, e.hint(), e.detail()),
    }
}

#[tokio::test]
async fn explore() {
    let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).try_init();
    let t = tempfile::tempdir().unwrap();
    let csv = t.path().join("e.csv");
    let text = "id,event,at\n1,a,2026-01-01\n1,b,2026-01-02\n2,a,2026-01-03\n";
    fs::write(&csv, text).unwrap();
    let many = t.path().join("many");
    fs::create_dir_all(&many).unwrap();
    fs::write(many.join("1.csv"), text).unwrap();
    let d = t.path().join("d");
    fs::create_dir_all(d.join("tables/crm")).unwrap();
    fs::write(d.join("tables/crm/ev.csv"), text).unwrap();
    let e = open(&d).await;
    let s = e.session("x");
    show(&s, &format!("CREATE EXTERNAL TABLE ext STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true')", csv.display())).await;
    show(&s, &format!("CREATE EXTERNAL TABLE many STORED AS CSV LOCATION '{}/' OPTIONS ('format.has_header' 'true')", many.display())).await;
    show(&s, &format!("CREATE EXTERNAL TABLE nofile STORED AS CSV LOCATION '{}/nothing.csv' OPTIONS ('format.has_header' 'true')", t.path().display())).await;
    show(&s, "SELECT count(*) FROM nofile").await;
    for f in ["ext", "crm.ev"] {
        show(&s, &format!("CREATE FUNNEL \"f {f}\" ON {f} (ENTITY id, TIME at, STAGE a WHEN event='a', STAGE b WHEN event='b')")).await;
    }
    for q in ["SELECT * FROM ext", "SELECT count(*) FROM many", "SELECT * FROM crm.ev", "SELECT stage, entered FROM stage_conversion('f ext')"] { show(&s, q).await; }
    eprintln!("--- grown");
    fs::write(&csv, format!("{text}3,a,2026-01-05\n")).unwrap();
    fs::write(many.join("2.csv"), text).unwrap();
    fs::write(d.join("tables/crm/ev.csv"), format!("{text}3,a,2026-01-05\n")).unwrap();
    for q in ["SELECT * FROM ext", "SELECT count(*) FROM many", "SELECT * FROM crm.ev", "SELECT stage, entered FROM stage_conversion('f ext')"] { show(&s, q).await; }
    eprintln!("--- grown, other session");
    let s2 = e.session("y");
    for q in ["SELECT * FROM ext", "SELECT count(*) FROM many", "SELECT * FROM crm.ev", "SELECT stage, entered FROM stage_conversion('f ext')"] { show(&s2, q).await; }
    eprintln!("--- header changed");
    fs::write(&csv, "id,kind,at\n1,a,2026-01-01\n1,b,2026-01-02\n2,a,2026-01-03\n3,a,2026-01-05\n").unwrap();
    for q in ["SELECT * FROM ext", "SELECT stage, entered FROM stage_conversion('f ext')"] { show(&s, q).await; }
    eprintln!("--- fewer columns");
    fs::write(&csv, "id,at\n1,2026-01-01\n1,2026-01-02\n2,2026-01-03\n3,2026-01-05\n").unwrap();
    for q in ["SELECT * FROM ext", "SELECT stage, entered FROM stage_conversion('f ext')"] { show(&s, q).await; }
    eprintln!("--- vanished");
    fs::rename(&csv, t.path().join("gone")).unwrap();
    fs::rename(&many, t.path().join("gonemany")).unwrap();
    fs::rename(d.join("tables/crm/ev.csv"), t.path().join("gone2")).unwrap();
    for q in ["SELECT * FROM ext", "SELECT count(*) FROM ext", "SELECT count(*) FROM many", "SELECT * FROM crm.ev", "SELECT stage, entered FROM stage_conversion('f ext')", "SELECT 1"] { show(&s, q).await; }
    drop(s); drop(s2); drop(e);
    eprintln!("--- reopened");
    let e = open(&d).await;
    let s = e.session("x");
    for q in ["SELECT * FROM ext", "SELECT count(*) FROM ext", "SELECT count(*) FROM many", "SELECT * FROM crm.ev", "SELECT stage, entered FROM stage_conversion('f ext')","SELECT stage, entered FROM stage_conversion('f crm.ev')", "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog','information_schema')", "SHOW FUNNELS", "SELECT 1"] { show(&s, q).await; }
    show(&s, &format!("CREATE EXTERNAL TABLE ext STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true')", csv.display())).await;
    show(&s, "DROP TABLE ext").await;
    show(&s, "DROP TABLE IF EXISTS ext").await;
    show(&s, "DROP SCHEMA crm").await;
    show(&s, "CREATE VIEW v AS SELECT * FROM nope").await;
    eprintln!("--- files back");
    fs::rename(t.path().join("gone"), &csv).unwrap();
    fs::write(&csv, "id,kind,at\n1,a,2026-01-01\n").unwrap();
    for q in [&format!("CREATE EXTERNAL TABLE ext STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true')", csv.display())[..], "SELECT stage, entered FROM stage_conversion('f ext')", "CREATE VIEW v AS SELECT * FROM ext", "DROP TABLE v", "DROP TABLE IF EXISTS v", "DROP VIEW IF EXISTS ext", "DROP VIEW nope", "DROP TABLE IF EXISTS nope", "DROP SCHEMA nope", "CREATE SCHEMA s1", "CREATE SCHEMA s1", "CREATE SCHEMA IF NOT EXISTS s1", "CREATE VIEW s2.v AS SELECT 1 AS a", "CREATE VIEW v AS SELECT 2", "CREATE OR REPLACE EXTERNAL TABLE ext STORED AS CSV LOCATION '/nope.csv' OPTIONS ('format.has_header' 'true')", "SELECT * FROM v", "SELECT * FROM ext",
      "CREATE VIEW s1.w AS SELECT * FROM v", "DROP SCHEMA s1", "DROP SCHEMA s1 CASCADE", "DROP TABLE many", "DROP TABLE many"] { show(&s, q).await; }
    for k in e.catalog().kept_statements() { eprintln!("{k:?}"); }
    fs::remove_dir_all(d.join("catalog/objects")).unwrap();
    for q in ["CREATE VIEW u AS SELECT 1 AS a", "SELECT * FROM u", "DROP VIEW v", "SELECT * FROM v", "CREATE SCHEMA s5", "CREATE VIEW s5.x AS SELECT 1 AS a"] { show(&s, q).await; }
}
