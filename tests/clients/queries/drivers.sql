-- Looker, Retool, dbt, sqlx, pgx, R's RPostgres, Go's lib/pq, Airbyte, Hex: what each asks that nobody else does.
-- Looker
SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1, 2;
SELECT deals.owner AS "deals.owner", COALESCE(SUM(deals.amount), 0) AS "deals.total", COUNT(*) AS "deals.count" FROM deals WHERE ((( deals.created_at ) >= ((SELECT TIMESTAMPTZ '2026-01-01')) AND ( deals.created_at ) < ((SELECT TIMESTAMPTZ '2026-01-08')))) GROUP BY 1 ORDER BY 2 DESC, 1 FETCH NEXT 500 ROWS ONLY;
SELECT TO_CHAR(DATE_TRUNC('month', deals.created_at), 'YYYY-MM') AS "deals.created_month", COALESCE(COALESCE(CAST((SUM(DISTINCT (CAST(FLOOR(COALESCE(deals.score, 0)*(1000000*1.0)) AS DECIMAL(38,0))) + 5) - SUM(DISTINCT 5)) AS DOUBLE PRECISION) / CAST((1000000*1.0) AS DOUBLE PRECISION), 0), 0) >= 0 AS "symmetric" FROM deals GROUP BY DATE_TRUNC('month', deals.created_at) ORDER BY 1 DESC;
SELECT DATE(deals.created_at) AS d, TO_CHAR(deals.created_at, 'HH24') AS h, COUNT(DISTINCT deals.id) FROM deals GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 3;
-- Retool
SELECT t.table_schema, t.table_name, c.column_name, c.data_type, c.ordinal_position FROM information_schema.tables t JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name WHERE t.table_schema NOT IN ('pg_catalog', 'information_schema') AND t.table_schema = 'public' ORDER BY 1, 2, 5;
SELECT * FROM deals WHERE ('' = '' OR owner ILIKE '%' || '' || '%') ORDER BY id DESC LIMIT 2 OFFSET 0;
-- dbt
select 'funnelsql' as database, tablename as name, schemaname as schema, 'table' as type from pg_tables where schemaname ilike 'public' union all select 'funnelsql' as database, viewname as name, schemaname as schema, 'view' as type from pg_views where schemaname ilike 'public' order by 2;
select distinct nspname from pg_namespace where nspname = 'public';
with relation as (select pg_rewrite.ev_class as class, pg_rewrite.oid as id from pg_rewrite), class as (select oid as id, relname as name, relnamespace as schema, relkind as kind from pg_class), dependency as (select distinct pg_depend.objid as id, pg_depend.refobjid as ref from pg_depend), schema as (select pg_namespace.oid as id, pg_namespace.nspname as name from pg_namespace where nspname != 'information_schema' and nspname not like 'pg\_%'), referenced as (select relation.id as id, referenced_class.name, referenced_class.schema, referenced_class.kind from relation join class as referenced_class on relation.class = referenced_class.id where referenced_class.kind in ('r', 'v', 'm')), relationships as (select referenced.name as referenced_name, referenced.schema as referenced_schema_id, dependent_class.name as dependent_name, dependent_class.schema as dependent_schema_id, referenced.kind as kind from referenced join dependency on referenced.id = dependency.id join class as dependent_class on dependency.ref = dependent_class.id where (referenced.name != dependent_class.name or referenced.schema != dependent_class.schema)) select referenced_schema.name as referenced_schema, relationships.referenced_name, dependent_schema.name as dependent_schema, relationships.dependent_name from relationships join schema as dependent_schema on relationships.dependent_schema_id = dependent_schema.id join schema as referenced_schema on relationships.referenced_schema_id = referenced_schema.id where false group by referenced_schema, referenced_name, dependent_schema, dependent_name;
select column_name, data_type, character_maximum_length, numeric_precision, numeric_scale from "funnelsql".INFORMATION_SCHEMA.columns where table_name = 'deals' and table_schema = 'public' order by ordinal_position;
select i.relname as name, m.amname as method, ix.indisunique as "unique", array_to_string(array_agg(a.attname), ',') as column_names from pg_index ix join pg_class i on i.oid = ix.indexrelid join pg_am m on m.oid = i.relam join pg_class t on t.oid = ix.indrelid join pg_namespace n on n.oid = t.relnamespace join pg_attribute a on a.attrelid = t.oid and a.attnum = ANY(ix.indkey) where t.relname = 'deals' and n.nspname = 'public' and t.relkind in ('r', 'm') group by 1, 2, 3 order by 1, 2, 3;
-- sqlx
SELECT typtype, typcategory, typrelid, typelem, typbasetype FROM pg_catalog.pg_type WHERE oid = 1009;
SELECT oid::regtype::text, typtype, typcategory, typrelid, typelem, typbasetype FROM pg_catalog.pg_type WHERE oid = 2950;
SELECT attnotnull FROM (VALUES ('deals'::regclass::int, 1), ('deals'::regclass::int, 2)) AS col(table_id, col_idx) LEFT JOIN pg_catalog.pg_attribute ON table_id IS NOT NULL AND attrelid = table_id AND attnum = col_idx ORDER BY col_idx;
SELECT exists(SELECT 1 FROM pg_database WHERE datname = 'funnelsql');
-- differs: Postgres' own hash functions are not there
SELECT hashtext('x') IS NOT NULL, current_database();
-- pgx, lib/pq, goose, golang-migrate
SELECT t.oid, t.typname, t.typtype, t.typelem, et.typname FROM pg_type t LEFT JOIN pg_type et ON et.oid = t.typelem WHERE t.typname = '_text';
SELECT CURRENT_DATABASE(), CURRENT_SCHEMA();
SELECT COUNT(1) FROM information_schema.tables WHERE table_schema = 'public' AND table_name = 'schema_migrations' LIMIT 1;
SELECT EXISTS (SELECT 1 FROM pg_tables WHERE (current_schema() IS NULL OR schemaname = current_schema()) AND tablename = 'goose_db_version');
-- RPostgres, dbplyr
SELECT oid, typname FROM pg_type WHERE typname IN ('int8', 'timestamptz', 'jsonb') ORDER BY 1;
SELECT * FROM (SELECT table_schema AS schema, table_name AS "table", ordinal_position FROM information_schema.columns) x WHERE schema = 'public' AND "table" = 'owners' ORDER BY ordinal_position;
SELECT "owner", AVG("score") AS "m", SUM(CASE WHEN ("active") THEN 1.0 ELSE 0.0 END) AS "n" FROM (SELECT "q01".*, EXTRACT(MONTH FROM "closed_on") AS "mon" FROM "deals" AS "q01") AS "q01" WHERE ("mon" = 1.0) GROUP BY "owner" ORDER BY "owner";
SELECT "owner", "amount", ROW_NUMBER() OVER (PARTITION BY "owner" ORDER BY "amount" DESC) AS "col01" FROM "deals" WHERE "id" < 7 ORDER BY 1, 3;
-- Airbyte, Fivetran, Hex
SELECT nspname || '.' || relname AS t, pg_relation_size(pg_class.oid) >= 0 AS s, reltuples IS NOT NULL FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = 'public' AND relkind = 'r' ORDER BY 1;
SELECT schemaname, tablename, has_table_privilege(schemaname || '.' || quote_ident(tablename), 'SELECT') FROM pg_tables WHERE schemaname = 'public' ORDER BY 2;
SELECT c.oid::regclass::text, pg_catalog.pg_get_viewdef(c.oid) ~* 'select' FROM pg_class c WHERE c.relname = 'v_deals';
SELECT (current_setting('server_version_num'))::int >= 150000, (SELECT setting FROM pg_settings WHERE name = 'wal_level') IS NOT NULL;
-- Statements that there are none of here
-- differs: no types of one's own
CREATE TYPE mood AS ENUM ('sad', 'ok');
-- differs: no functions of one's own
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE SEQUENCE numbers;
-- setup
DROP TYPE mood;
-- setup
DROP FUNCTION one();
-- setup
DROP SEQUENCE numbers;
