-- DBeaver over pgjdbc: the session, the tree of objects, a table's page, its data.
-- setup
SET application_name = 'DBeaver - Main';
-- setup
SET search_path = "$user", public;
SELECT current_schema(), session_user;
SHOW search_path;
SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate AND db.datname = current_database() AND false;
SELECT t.oid, t.*, c.relkind, format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid = t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid = t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid = d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C') AND t.typname IN ('int4', 'text') ORDER BY t.oid;
SELECT n.oid, n.nspname, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass WHERE n.nspname = 'public' ORDER BY nspname;
SELECT c.oid, c.relname, c.relkind, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr, pg_catalog.pg_get_partkeydef(c.oid) AS partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c') ORDER BY c.relname;
SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) AS def_value, dsc.description, dep.objid FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON a.attrelid = c.oid LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum LEFT OUTER JOIN pg_catalog.pg_description dsc ON c.oid = dsc.objoid AND a.attnum = dsc.objsubid LEFT OUTER JOIN pg_depend dep ON dep.refobjid = a.attrelid AND dep.deptype = 'i' AND dep.refobjsubid = a.attnum AND dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.relname = 'none such' ORDER BY a.attnum;
SELECT a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, dsc.description FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON a.attrelid = c.oid LEFT JOIN pg_catalog.pg_description dsc ON c.oid = dsc.objoid AND a.attnum = dsc.objsubid WHERE a.attnum > 0 AND NOT a.attisdropped AND c.oid = 'deals'::regclass ORDER BY a.attnum;
SELECT c.conname, c.contype, c.conkey, c.confkey, t.relname AS tabrelname, rt.relname AS refrelname, rt.relnamespace AS refnamespace, pg_catalog.pg_get_constraintdef(c.oid, true) AS definition FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid WHERE t.relname = 'deals' ORDER BY c.conname;
SELECT c.relname, i.indkey, i.indisunique, i.indisprimary, c.relnamespace, am.amname, pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS pred_expr, pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) AS expr FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam WHERE i.indrelid = 'deals'::regclass ORDER BY tc.relname, c.relname;
SELECT x.oid, x.* FROM pg_catalog.pg_trigger x INNER JOIN pg_catalog.pg_class t ON t.oid = x.tgrelid WHERE t.relnamespace = 'public'::regnamespace AND false;
SELECT r.*, c.relname FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class WHERE c.relname = 'deals';
SELECT reltablespace, relpages, pg_catalog.pg_stat_get_numscans(oid) IS NULL FROM pg_catalog.pg_class WHERE false;
SELECT i.*, c.relnamespace FROM pg_catalog.pg_inherits i, pg_catalog.pg_class c WHERE i.inhparent = 'deals'::regclass AND c.oid = i.inhrelid ORDER BY i.inhseqno;
SELECT x.* FROM deals x LIMIT 3;
SELECT * FROM pg_catalog.pg_enum WHERE enumtypid = 23;
SELECT setting FROM pg_catalog.pg_settings WHERE name = 'server_encoding';
