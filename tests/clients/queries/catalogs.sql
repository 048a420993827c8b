-- pg_dump, DBD::Pg, Rails, PostgREST, PostGraphile, massive, pg-structure, sqlsmith and monitors: what they read of the catalogs.
-- pg_dump
SELECT x.tableoid, x.extname FROM pg_extension x;
SELECT tableoid, extname FROM pg_extension WHERE tableoid = 'pg_extension'::regclass;
SELECT n.tableoid, n.nspname, n.tableoid::regclass FROM pg_catalog.pg_namespace n WHERE nspname = 'public';
SELECT kind, array_length(acldefault(kind::"char", 10), 1) FROM unnest(array['r', 'n', 'd', 'f']) AS kind;
SELECT e.tableoid, e.oid, evtname, evtenabled, evtevent, evtowner, array_to_string(array(select quote_literal(x) from unnest(evttags) as t(x)), ', ') as evttags, e.evtfoid::regproc as evtfname FROM pg_event_trigger e ORDER BY e.oid;
SELECT oid, lomowner, lomacl, acldefault('L', lomowner) AS acldefault FROM pg_largeobject_metadata;
SELECT p.tableoid, p.oid, p.pubname, p.pubowner, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot FROM pg_publication p;
SELECT tableoid, oid, prpubid, prrelid, pg_catalog.pg_get_expr(prqual, prrelid) AS prrelqual, (CASE WHEN pr.prattrs IS NOT NULL THEN (SELECT array_agg(attname) FROM pg_catalog.generate_series(0, pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s, pg_catalog.pg_attribute WHERE attrelid = pr.prrelid AND attnum = prattrs[s]) ELSE NULL END) prattrs FROM pg_catalog.pg_publication_rel pr;
SELECT tableoid, oid, pnpubid, pnnspid FROM pg_catalog.pg_publication_namespace;
SELECT s.tableoid, s.oid, s.subname, s.subowner, s.subconninfo, s.subslotname, s.subsynccommit, s.subpublications, s.subbinary, s.substream, s.subtwophasestate, s.subdisableonerr FROM pg_subscription s WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database());
SELECT tableoid, oid, stxname, stxnamespace, stxowner, stxrelid, stxstattarget FROM pg_catalog.pg_statistic_ext;
SELECT inhrelid, inhparent FROM pg_inherits;
SELECT partrelid FROM pg_partitioned_table WHERE (SELECT c.oid FROM pg_opclass c JOIN pg_am a ON c.opcmethod = a.oid WHERE opcname = 'enum_ops' AND opcnamespace = 'pg_catalog'::regnamespace AND amname = 'hash') = ANY(partclass);
WITH RECURSIVE w AS ( SELECT d1.objid, d2.refobjid, c2.relkind AS refrelkind FROM pg_depend d1 JOIN pg_class c1 ON c1.oid = d1.objid AND c1.relkind = 'm' JOIN pg_rewrite r1 ON r1.ev_class = d1.objid JOIN pg_depend d2 ON d2.classid = 'pg_rewrite'::regclass AND d2.objid = r1.oid AND d2.refobjid <> d1.objid JOIN pg_class c2 ON c2.oid = d2.refobjid AND c2.relkind IN ('m','v') WHERE d1.classid = 'pg_class'::regclass UNION SELECT w.objid, d3.refobjid, c3.relkind FROM w JOIN pg_rewrite r3 ON r3.ev_class = w.refobjid JOIN pg_depend d3 ON d3.classid = 'pg_rewrite'::regclass AND d3.objid = r3.oid AND d3.refobjid <> w.refobjid JOIN pg_class c3 ON c3.oid = d3.refobjid AND c3.relkind IN ('m','v') ) SELECT 'pg_class'::regclass::oid AS classid, objid, refobjid FROM w WHERE refrelkind = 'm';
SELECT label, provider, classoid, objoid, objsubid FROM pg_catalog.pg_seclabels ORDER BY classoid, objoid, objsubid;
SELECT useoid FROM (SELECT umid AS useoid FROM pg_user_mappings WHERE srvname = 'nothing') AS mappings;
SELECT tableoid, oid, srvname FROM pg_foreign_server WHERE srvname = 'nothing';
SELECT split_part(makeaclitem(0, 10, 'SELECT', false)::text, '/', 1), split_part(makeaclitem(0, 10, 'UPDATE', true)::text, '/', 1);
SELECT acldefault(NULL, 10), makeaclitem(0, 10, NULL, false);
-- massive
SELECT pg_relation_is_updatable('deals'::regclass, true), pg_relation_is_updatable('deals'::regclass, false), pg_relation_is_updatable(1::oid, true);
SELECT attname, pg_column_is_updatable(attrelid, attnum, false) FROM pg_attribute WHERE attrelid = 'owners'::regclass AND attnum > -2 ORDER BY attnum;
-- DBD::Pg
SELECT p, pg_index_column_has_property('owners_pkey'::regclass, 1, p), pg_index_column_has_property('owners_pkey'::regclass, 2, p) FROM unnest(array['asc', 'desc', 'nulls_first', 'nulls_last', 'orderable', 'distance_orderable', 'returnable', 'search_array', 'search_nulls', 'other']) AS p;
SELECT p, pg_index_has_property('deals_pkey'::regclass, p) FROM unnest(array['clusterable', 'index_scan', 'bitmap_scan', 'backward_scan', 'can_order']) AS p;
SELECT p, pg_indexam_has_property(403, p), pg_indexam_has_property(405, p), pg_indexam_has_property(2, p) FROM unnest(array['can_order', 'can_unique', 'can_multi_col', 'can_exclude', 'can_include', 'other']) AS p;
SELECT c.conname, i.relname, d.deptype FROM pg_constraint c JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid = 0 JOIN pg_class i ON i.oid = d.refobjid WHERE c.contype = 'f' AND c.conrelid = 'deals'::regclass;
SELECT d.refobjid::regclass::text, d.refobjsubid, d.deptype FROM pg_depend d JOIN pg_constraint c ON c.oid = d.objid WHERE d.classid = 'pg_constraint'::regclass AND c.contype = 'f' AND c.conrelid = 'deals'::regclass ORDER BY 1, 2;
SELECT x.indexrelid::regclass::text, x.indkey, x.indclass, x.indcollation, x.indoption FROM pg_index x WHERE x.indrelid IN ('deals'::regclass, 'owners'::regclass) ORDER BY 1;
SELECT conname, conpfeqop, conppeqop, conffeqop FROM pg_constraint WHERE conrelid = 'deals'::regclass AND contype = 'f';
SELECT object_name, object_type, collection_type_identifier, data_type, udt_name, dtd_identifier FROM information_schema.element_types WHERE object_name = 'deals';
-- Rails
-- setup
CREATE TABLE notes (a text DEFAULT 'new', b date DEFAULT current_date, c integer DEFAULT NULL, d integer DEFAULT -1, e timestamp DEFAULT now(), f varchar(10) DEFAULT 'x', g numeric DEFAULT 1.5, h boolean DEFAULT true, i timestamptz DEFAULT current_timestamp, j bigint DEFAULT 5, k text DEFAULT lower('A'), l date DEFAULT '2026-01-01', m integer DEFAULT '7', n integer DEFAULT 1 + 2, o text DEFAULT 'a'::varchar, p jsonb DEFAULT '{}', q timestamptz DEFAULT timezone('utc', now()));
SELECT column_name, column_default FROM information_schema.columns WHERE table_name = 'notes' ORDER BY ordinal_position;
SELECT a.attname, a.atthasdef, pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = 'notes'::regclass AND a.attnum > 0 ORDER BY a.attnum;
-- setup
DROP TABLE notes;
-- pg_activity, check_postgres, postgres_exporter
SELECT host('10.0.0.1/8'::inet), host('::1'::inet), host(NULL);
SELECT pg_wal_lsn_diff('0/10', '0/2') > 0, pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp(), pg_current_wal_lsn() IS NOT NULL;
SELECT count(*) > 0 FROM pg_stat_get_backend_idset() AS id WHERE pg_stat_get_backend_pid(id) = pg_backend_pid();
SELECT txid_current_snapshot() IS NOT NULL, pg_current_snapshot() IS NOT NULL, current_query();
SELECT pg_relation_filenode('pg_class'::regclass) IS NOT NULL, pg_relation_filenode('deals'::regclass) IS NOT NULL, pg_relation_filenode('v_deals'::regclass), pg_relation_filenode('deals_pkey'::regclass) IS NOT NULL;
SELECT regclassin('deals'), regprocedurein('now()') IS NOT NULL, regtypein('int4');
SELECT pg_relation_size('deals_pkey'::regclass) >= 0, pg_relation_size(1::oid), pg_database_size(NULL), pg_database_size(current_database()) > 0;
SELECT pg_has_role(current_user, 'member'), pg_has_role(current_user, 'usage'), pg_has_role(current_user, current_user, 'member');
SELECT pg_tablespace_location(NULL), pg_tablespace_location(1663);
SELECT count(*), min(checkpoints_timed) IS NOT NULL, min(buffers_alloc) IS NOT NULL FROM pg_stat_bgwriter;
SELECT xact_commit IS NOT NULL, deadlocks IS NOT NULL, temp_bytes IS NOT NULL FROM pg_stat_database WHERE datname = current_database();
SELECT pg_stat_get_last_vacuum_time('deals'::regclass), pg_stat_get_last_analyze_time('deals'::regclass) IS NULL OR true, pg_stat_get_dead_tuples('owners'::regclass);
SELECT count(*) >= 0 FROM pg_ls_tmpdir();
SELECT count(size) >= 0 FROM pg_ls_waldir();
SELECT count(*) >= 0 FROM pg_ls_dir('.');
-- pg-structure
SELECT 'deals'::information_schema.sql_identifier AS a, 'YES'::information_schema.yes_or_no AS b, 'x'::information_schema.character_data AS c, 7::information_schema.cardinal_number AS d;
SELECT c.relname::information_schema.sql_identifier FROM pg_class c WHERE c.relname = 'deals';
-- PostgREST
SELECT a.attname, information_schema._pg_truetypid(a, t)::regtype::text AS kind, information_schema._pg_truetypmod(a.*, t.*) AS modifier FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = 'deals'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT a.attname, information_schema._pg_char_max_length(a.atttypid, a.atttypmod) AS longest, information_schema._pg_char_octet_length(a.atttypid, a.atttypmod) AS bytes, information_schema._pg_numeric_precision(a.atttypid, a.atttypmod) AS digits, information_schema._pg_numeric_precision_radix(a.atttypid, a.atttypmod) AS radix, information_schema._pg_numeric_scale(a.atttypid, a.atttypmod) AS scale, information_schema._pg_datetime_precision(a.atttypid, a.atttypmod) AS seconds, information_schema._pg_interval_type(a.atttypid, a.atttypmod) AS parts FROM pg_attribute a WHERE a.attrelid = 'deals'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT information_schema._pg_index_position('owners_pkey'::regclass, 1::smallint) AS first, information_schema._pg_index_position('owners_pkey'::regclass, 2::smallint) AS second;
SELECT public.owners.* FROM public.owners ORDER BY owner;
SELECT public.owners.* FROM owners ORDER BY owner;
-- PostGraphile
SELECT pg_range.* FROM pg_range WHERE false;
SELECT pg_am.*, pg_catalog.pg_am.amname AS other FROM pg_am WHERE amname = 'heap';
-- sqlsmith
SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attnum > 0 AND atttypid NOT IN (SELECT oid FROM pg_type);
SELECT proname FROM pg_proc WHERE prorettype NOT IN (SELECT oid FROM pg_type);
SELECT DISTINCT kind FROM (SELECT unnest(proargtypes) AS kind FROM pg_proc) p WHERE kind NOT IN (SELECT oid FROM pg_type);
-- pgAdmin: what a column's type may become, and where an index is in the tree
SELECT DISTINCT n.nspname, format_type(t.oid, NULL) AS named FROM pg_cast c JOIN pg_type t ON t.oid = c.casttarget JOIN pg_namespace n ON n.oid = t.typnamespace WHERE c.castsource = 1184 UNION SELECT n.nspname, format_type(t.oid, NULL) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'd' ORDER BY 1, 2;
SELECT i.relname, (WITH RECURSIVE above AS (SELECT t.oid AS oid, 0 AS height, t.relkind, t.relname || '' AS path UNION SELECT p.oid, a.height + 1, p.relkind, p.relname || '/' || a.path FROM pg_class p JOIN pg_inherits h ON h.inhparent = p.oid JOIN above a ON h.inhrelid = a.oid) SELECT CASE WHEN relkind = 'p' THEN path ELSE 'table ' || t.relname END FROM above ORDER BY height DESC LIMIT 1) AS path FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid WHERE i.relname IN ('deals_pkey', 'owners_pkey') ORDER BY 1;
