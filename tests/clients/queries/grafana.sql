-- Grafana: its query builder, macros written out, variables, alerts.
SELECT current_setting('server_version_num')::int / 100 AS version;
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb';
SELECT CASE WHEN quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1), array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i, string_to_array(current_setting('search_path'), ',') s) THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache') AND table_type = 'BASE TABLE' AND table_schema = 'public' ORDER BY 1;
SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns WHERE CASE WHEN array_length(parse_ident('deals'), 1) = 2 THEN quote_ident(table_schema) = (parse_ident('deals'))[1] AND quote_ident(table_name) = (parse_ident('deals'))[2] ELSE quote_ident(table_name) = 'deals' AND quote_ident(table_schema) = 'public' END;
SELECT floor(extract(epoch from created_at)/86400)*86400 AS "time", avg(score) AS "score" FROM deals WHERE created_at BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-08T23:59:59.999Z' GROUP BY 1 ORDER BY 1;
SELECT extract(epoch from created_at) AS "time", amount AS value, owner AS metric FROM deals WHERE created_at >= to_timestamp(1767225600) AND created_at <= to_timestamp(1767312000) ORDER BY 1, 3 LIMIT 5;
SELECT (extract(epoch from created_at)/3600)::bigint*3600 AS time, owner AS metric, sum(amount) AS value FROM deals GROUP BY time, metric ORDER BY 1, 2 LIMIT 4;
SELECT DISTINCT owner FROM deals ORDER BY owner;
SELECT owner AS __text, count(*) AS __value FROM deals GROUP BY owner ORDER BY 1;
SELECT owner FROM deals WHERE owner IN ('ana', 'bo') AND ('ana' = ANY(tags) OR 'a' = ANY(tags)) GROUP BY owner ORDER BY 1;
-- differs: a column of numerics has one scale
SELECT time_bucket.t AS "time", coalesce(sum(d.amount), 0) AS value FROM generate_series(timestamptz '2026-01-01 00:00+00', timestamptz '2026-01-02 00:00+00', interval '6 hours') AS time_bucket(t) LEFT JOIN deals d ON d.created_at >= time_bucket.t AND d.created_at < time_bucket.t + interval '6 hours' GROUP BY 1 ORDER BY 1;
SELECT now() AT TIME ZONE 'UTC' IS NOT NULL AS ok, extract(epoch from now())::int8 > 0 AS later;
SELECT created_at AS "time", score - lag(score) OVER (ORDER BY created_at) AS delta, sum(amount) OVER (ORDER BY created_at) AS running FROM deals ORDER BY 1 LIMIT 4;
SELECT regexp_replace(owner, '^(.).*$', '\1') AS initial, max(created_at) AS last FROM deals GROUP BY 1 ORDER BY 1;
SELECT pg_database_size(current_database()) >= 0 AS sized, numbackends >= 0 AS connected FROM pg_stat_database WHERE datname = current_database();
SELECT state, count(*) > 0 FROM pg_stat_activity WHERE pid = pg_backend_pid() GROUP BY 1;
