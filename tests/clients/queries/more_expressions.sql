-- More expressions: a statement a line, over values and the tables of run.py.
SELECT 'a'::text || 1::int, 1 || 'a', array['a'] || 'b'::text, 'a' || array['b']

SELECT to_char(now(), 'YYYY') ~ '^\d{4}$', to_char(1e6, '9.99EEEE'), to_char(-1234.5, 'S9,999.99'), to_char(1234.5, 'L9999'), to_char(0, 'FM0.00'), to_char(12, '99th')
SELECT to_char(timestamp '2026-01-01 00:00', 'HH24:MI'), to_char(timestamp '2026-01-01 12:00', 'HH:MI a.m.'), to_char(date '2026-01-01', 'TMMonth'), to_char(date '2026-01-01', '"Week" WW')
SELECT to_number('12,345.6-', '99G999D9S'), to_number('$1,000', 'L9,999'), to_date('20260131', 'YYYYMMDD'), to_date('2026-W05', 'IYYY-"W"IW')
SELECT date '2026-01-31' - interval '1 month', timestamp '2026-03-31' - interval '1 month', timestamptz '2026-03-29 00:30+00' + interval '1 day'
SELECT now() - interval '1 day' < now(), current_timestamp <= now() + interval '1 second', clock_timestamp() >= now(), timeofday() IS NOT NULL
SELECT extract(timezone FROM timestamptz '2026-01-01 00:00+00'), extract(julian FROM date '2026-01-01'), extract(millennium FROM date '2026-01-01'), extract(decade FROM date '2026-01-01')
SELECT date_part('epoch', timestamp '2026-01-01'), date_part('day', interval '3 days 4 hours'), date_part('week', date '2026-01-04'), date_part('quarter', timestamp '2026-05-05')
SELECT age(timestamp '2026-01-01 12:00', timestamp '2026-01-01 10:30'), age('2026-05-01'::date, '2024-02-29'::date), justify_interval(age(timestamp '2026-03-01', timestamp '2026-01-15'))
SELECT '2026-01-01'::date + 1, '2026-01-01'::date - '2025-12-25'::date, '2026-01-01'::timestamp - '2025-12-25'::timestamp, 5 * interval '1 hour', interval '1 hour' / 2
SELECT timestamp '2026-01-01 10:00' > '2026-01-01', date '2026-01-01' < '2026-01-02', '10:00'::time + interval '90 minutes', time '10:00' - time '08:30'
SELECT interval '2 years 3 months', interval '100 days', interval '1.5 hours', interval '90' minute, interval '1' year, interval '2-3' year to month
SELECT make_timestamptz(2026, 1, 1, 0, 0, 0, 'UTC'), to_timestamp(0), to_timestamp(1.5), date(timestamp '2026-01-01 23:00')
SELECT date_trunc('minute', timestamptz '2026-01-01 10:11:12+00'), date_trunc('year', date '2026-05-05'), date_trunc('century', timestamp '2026-01-01'), date_trunc('milliseconds', timestamp '2026-01-01 10:11:12.123456')
SELECT 'today'::date = current_date, 'tomorrow'::date - 'yesterday'::date, 'epoch'::timestamp, 'now'::timestamptz <= clock_timestamp()
SELECT timestamp '2026-01-01 10:11:12.5'::timestamp(0), '2026-01-01 10:11:12.123456'::timestamp(3), '10:11:12.99'::time(1)
SELECT '2026-01-01T10:00:00Z'::timestamptz, '2026-01-01 10:00:00 Europe/Berlin'::timestamptz, 'Jan 5, 2026'::date, '5/1/2026'::date, '2026.01.05'::date
SELECT '2026-02-30'::date
SELECT '25:00'::time
SELECT 'nonsense'::timestamp
SELECT round(1.5::numeric), round(0.5), round(1.45, 1), round(-1.55, 1), round(3.14159::float8), round(1e20::numeric, -19), ceil(-0.5), floor(-0.5), trunc(12345.678, -2)
-- differs: 1e0 is a double
SELECT 5 / 2.0, 5.0 / 2, 1 / 3.0, 2.0 / 3.0, 100.0 / 7, 1e0 / 3, 10::float8 / 3, 7::real / 2
-- differs: a power of a numeric is a double
SELECT 3 % 2.5, mod(5.5, 2), -5 % 3, power(2, 0.5), sqrt(2), cbrt(27.0), exp(1), ln(10), log(10, 1000), 2 ^ 0.5
-- differs: averages, powers and sums of bigints are doubles and bigints
SELECT pg_typeof(power(2, 3)), pg_typeof(sqrt(4)), pg_typeof(round(2.5)), pg_typeof(round(2.5::float8)), pg_typeof(ceil(2)), pg_typeof(5 / 2), pg_typeof(avg(1)), pg_typeof(sum(1.5)), pg_typeof(sum(1::bigint)), pg_typeof(1e3), pg_typeof(10000000000)
SELECT 1::numeric(5,2), 123.456::numeric(6,1), 0.5::int, 1.5::int, 2.5::int, -0.5::int, '1e3'::float8, '1e3'::numeric, ' 42 '::int
-- differs: money has no operators
SELECT 12345.678::money, '$1.50'::money + '$2'::money, 1.1::real, 1.1::real::float8, 16777217::real, 1e-7::float8, 123456789012345678::float8
SELECT 99999::int2
-- differs: too large is infinite
SELECT 1e400::float8
SELECT sqrt(-1)
SELECT ln(0)
SELECT abs(-1.50), abs(-2::bigint), sign(0), sign(-3), greatest(1.5, 2.5), greatest(NULL, 1), least(1, NULL, 2), bit_count('\xff'::bytea)
-- differs: chance has no seed
SELECT random() < 1, setseed(0.5), round(random()::numeric, 2) >= 0, trunc(random() * 10) < 10
SELECT lower('ÄÖ'), upper('äö'), initcap('élan vital'), length('é'), length(''), octet_length('é'), reverse('añb'), left('漏斗分析', 2), right('漏斗分析', -1)
SELECT lpad('漏', 3, '*'), rpad('漏斗', 4, 'ab'), repeat('漏', 0), strpos('漏斗分析', '分'), substr('漏斗分析', 2), substring('漏斗分析' FROM 2 FOR 2), overlay('漏斗' PLACING 'x' FROM 1 FOR 1), translate('漏斗', '漏', 'l')
SELECT concat_ws(', ', 'a', '', NULL, 'b'), concat(1, 2.5, true, NULL, date '2026-01-01'), format('%s %s %3$s', 1, 2, 3), format('%-6s|', 'ab'), format('%L', NULL), format('%I', 'Ab')
SELECT split_part('a.b.c', '.', 3), split_part('abc', '', 1), string_to_array('abc', NULL), string_to_array('', ','), array_to_string(array[1, NULL, 3], '-'), string_to_table('a,b', ',')
SELECT regexp_replace('Hello World', '(\w+) (\w+)', '\2 \1'), regexp_replace('aaa', 'a', 'b', 'g'), regexp_replace('ABC', 'b', 'x', 'i'), regexp_replace('a1b22', '(\d+)', '<\1>', 'g'), regexp_replace('abcabc', 'b', 'X', 1, 2)
SELECT regexp_match('2026-01-31', '(\d+)-(\d+)-(\d+)'), (regexp_match('abc123', '\d+'))[1], regexp_split_to_array('a, b,c', ',\s*'), regexp_matches('a1b2', '([a-z])(\d)', 'g'), substring('foobar' FROM 'o(.)b')
SELECT 'foo' ~ 'F', 'foo' ~* 'F', 'foo' !~* 'F', 'a.b' ~ 'a\.b', 'ab' ~ '^a.$', 'x' ~ '[^a-w]', 'abc' SIMILAR TO 'a_c', 'abc' NOT SIMILAR TO '%d%', 'a' ~ '(?i)A'
SELECT 'abc' LIKE '%', '' LIKE '', 'a_b' LIKE 'a\_b', 'a%b' LIKE 'a#%b' ESCAPE '#', 'ABC' ILIKE 'abc', 'abc' NOT ILIKE 'B%', NULL LIKE 'a', 'a' LIKE NULL, 'a\b' LIKE 'a\\b'
SELECT btrim('  x '), ltrim('0012', '0'), rtrim('1.500', '0'), trim('xy' FROM 'xyzyx'), trim(TRAILING 'x' FROM 'abxx'), trim(both from ' a ')
SELECT md5(''), sha256('a'), sha512('a') IS NOT NULL, encode('abc', 'hex'), decode('616263', 'hex'), get_byte('\x0102'::bytea, 1), length('\x0102'::bytea)
SELECT ascii('é'), chr(233), chr(28431), to_hex(255::bigint), quote_ident('user'), quote_literal(1), quote_literal('a\b'), quote_nullable('x'), parse_ident('"A".b')
SELECT 'a' = 'a ', 'a'::char(2) = 'a', 'ab' > 'aB', 'a' < 'á', 'Z' < 'a', 'a' BETWEEN 'A' AND 'b', 'b' > ALL (array['a', 'A'])
-- differs: a column of numerics has one scale
SELECT num_nonnulls('a', NULL), coalesce(NULL, 'x', 'y'), nullif(1, 2), nullif('a', 'a'), coalesce(1, 2.5), coalesce(NULL::date, date '2026-01-01')
SELECT true::text, 't'::bool, 'off'::bool, '0'::bool, true > false, true = 't', NOT false, true::int, bool 'yes', (1 = 1)::text
SELECT CASE WHEN NULL THEN 1 END, CASE WHEN true THEN 'a' ELSE 'b' END, CASE 1 WHEN 1 THEN 1.5 ELSE 2 END, CASE WHEN false THEN 1 ELSE NULL END IS NULL
-- differs: a column of numerics has one scale
SELECT array[1, 2, 3]::text, array['a', 'b,c', 'd"e', NULL, '']::text, '{}'::int[], array[true, false], array[date '2026-01-01'], array[1.5, 2], array[[1], [2]]::text
SELECT array[1, 2] || array[3], array[3, 1, 2] @> array[1, 3], array_length(array[]::int[], 1), array_lower(array[1], 1), cardinality(array[[1, 2], [3, 4]]), array_position(array[1, 2, 1], 1, 2), array_to_string(array['a', 'b'], ''), (array['a', 'b'])[-1]
SELECT unnest(array[1, 2]) + 10, unnest(array['x', NULL])
SELECT array(SELECT generate_series(1, 3)), array_agg(x ORDER BY x DESC), array_agg(DISTINCT x % 2) FROM generate_series(1, 4) AS x
SELECT x, y FROM unnest(array[1, 2, 3], array['a', 'b']) AS t(x, y)
SELECT array_agg(x) FILTER (WHERE x > 5), count(*) FILTER (WHERE x > 5), string_agg(x::text, ',' ORDER BY x) FILTER (WHERE x < 3) FROM generate_series(1, 4) AS x
-- differs: documents in json are written without spaces; jsonb has no zeros at the end of numbers
SELECT json_build_object('a', 1, 'b', json_build_array(1, NULL)), jsonb_build_object('z', 1, 'a', 2), to_jsonb(array[1, 2]), to_jsonb(date '2026-01-01'), to_json('a"b'::text), jsonb_build_array(true, 1.50, 'x')
-- differs: jsonb has no zeros at the end of numbers
SELECT '{"b": 1, "a": 2, "a": 3}'::jsonb, '{"b":1,"a":2}'::json, '[1,2 , 3]'::jsonb, '"x"'::jsonb, 'null'::jsonb, '1.50'::jsonb, '{"a":{"b":null}}'::jsonb -> 'a' -> 'b'
SELECT '{"a": [1, {"b": 2}]}'::jsonb #> '{a,1,b}', '{"a": 1}'::jsonb -> 'a' = '1', ('{"a": "x"}'::jsonb ->> 'a') || 'y', '{"a": 1}'::jsonb #>> '{z}', '[1, 2, 3]'::jsonb -> 1, '{"a": true}'::jsonb -> 'a' = 'true'::jsonb
SELECT jsonb_typeof('1'), jsonb_typeof('null'), jsonb_typeof('{}'), json_typeof('"a"'), jsonb_array_length('[]'), json_array_length('[1]'), jsonb_extract_path('{"a": {"b": 1}}', 'a', 'b'), json_extract_path_text('{"a": 1}', 'a')
-- differs: no jsonb_set_lax
SELECT '{"a": 1}'::jsonb || '{"a": 2, "b": 3}', '["a"]'::jsonb || '"b"', '{"a": 1, "b": 2}'::jsonb - array['a'], '{"a": {"b": 1, "c": 2}}'::jsonb #- '{a,b}', jsonb_set('{"a": [1, 2]}', '{a,0}', '9'), jsonb_set('{}', '{x}', '1', false), jsonb_set_lax('{"a": 1}', '{a}', NULL) IS NULL
-- differs: 1 and 1.0 in jsonb are two texts
SELECT '{"a": 1}'::jsonb <@ '{"a": 1, "b": 2}', '[1, 2]'::jsonb @> '1', '["a", "b"]'::jsonb ? 'b', '{"a": 1}'::jsonb = '{"a": 1.0}'::jsonb, '[1]'::jsonb < '[2]'::jsonb
SELECT * FROM json_each('{"a": 1, "b": [1]}')
SELECT * FROM jsonb_array_elements('[1, "a", null]') WITH ORDINALITY AS t(v, n)
SELECT jsonb_object_agg(k, v), json_agg(k ORDER BY k DESC), jsonb_agg(v) FILTER (WHERE v > 1) FROM (VALUES ('a', 1), ('b', 2)) t(k, v)
-- differs: a row is no group
SELECT json_agg(t), row_to_json(t) FROM (SELECT 1 AS a, 'x' AS b) t GROUP BY t.*
SELECT json_agg(t ORDER BY a) FROM (SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, NULL) t
SELECT row_to_json(t) FROM (SELECT 1 AS a, date '2026-01-01' AS d, array[1, 2] AS l, NULL AS n) t
SELECT '{"a":'::jsonb
SELECT a, b, sum(c) FROM (VALUES ('x', 'p', 1), ('x', 'q', 2), ('y', 'p', 3)) t(a, b, c) GROUP BY ROLLUP (a, b) ORDER BY a NULLS LAST, b NULLS LAST
-- differs: averages are doubles
SELECT a, count(*) AS n, round(avg(c), 2) AS m, min(b) || max(b) AS r FROM (VALUES ('x', 'p', 1), ('x', 'q', 2), ('y', 'p', 3)) t(a, b, c) GROUP BY a ORDER BY n DESC, a
-- differs: averages are doubles
SELECT sum(c) / count(*), sum(c) * 1.0 / count(*), count(DISTINCT a), sum(DISTINCT c), avg(c), avg(c::float8), max(a), min(c) FROM (VALUES ('x', 1), ('y', 2), ('y', 2)) t(a, c)
-- differs: statistics are doubles
SELECT stddev(c), variance(c), stddev_samp(c::float8), var_pop(c), corr(c, c * 2), regr_intercept(c, c), covar_samp(c, c) FROM (VALUES (1), (2), (4)) t(c)
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY c), percentile_cont(0.25) WITHIN GROUP (ORDER BY c), mode() WITHIN GROUP (ORDER BY c DESC), percentile_disc(array[0, 1]) WITHIN GROUP (ORDER BY c) FROM (VALUES (1), (2), (2), (5)) t(c)
-- differs: no hypothetical ranks
SELECT rank(3) WITHIN GROUP (ORDER BY c), dense_rank(3) WITHIN GROUP (ORDER BY c), percent_rank(2) WITHIN GROUP (ORDER BY c), cume_dist(2) WITHIN GROUP (ORDER BY c) FROM (VALUES (1), (2), (4)) t(c)
SELECT sum(c) FROM (VALUES (1)) t(c) WHERE false
SELECT count(*), sum(c), max(c), array_agg(c), string_agg(c::text, ','), bool_and(c > 0), json_agg(c) FROM (VALUES (1)) t(c) WHERE false
-- differs: averages are doubles
SELECT c, sum(c) OVER (ORDER BY c), sum(c) OVER (), avg(c) OVER (ORDER BY c ROWS 1 PRECEDING), count(*) OVER (PARTITION BY c % 2), first_value(c) OVER (ORDER BY c DESC), lag(c, 1, 0) OVER (ORDER BY c), c - lag(c) OVER (ORDER BY c) FROM (VALUES (1), (2), (4)) t(c) ORDER BY c
SELECT c, row_number() OVER w AS n, round(100.0 * c / sum(c) OVER (), 1) AS pct, rank() OVER (ORDER BY c % 2, c) FROM (VALUES (1), (2), (4)) t(c) WINDOW w AS (ORDER BY c DESC) ORDER BY n
SELECT c, last_value(c) OVER (ORDER BY c ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING), nth_value(c, 2) OVER (ORDER BY c), ntile(2) OVER (ORDER BY c), string_agg(c::text, '') OVER (ORDER BY c) FROM (VALUES (1), (2), (4)) t(c) ORDER BY c
-- differs: sqlparser doesn't read EXCLUDE
SELECT c, sum(c) OVER (ORDER BY c ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM (VALUES (1), (2), (4)) t(c) ORDER BY c
SELECT DISTINCT ON (a) a, c FROM (VALUES ('x', 1), ('x', 2), ('y', 3)) t(a, c) ORDER BY a, c DESC
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) t(n, s) WHERE (n, s) IN ((1, 'a'), (3, 'c'))
SELECT * FROM (SELECT 1 AS x) a NATURAL JOIN (SELECT 1 AS x, 2 AS y) b
SELECT a.x, b.x FROM (VALUES (1), (2)) a(x) LEFT JOIN (VALUES (2), (3)) b(x) USING (x) ORDER BY 1
SELECT a.*, b.* FROM (VALUES (1, 'p')) a(i, s), (VALUES (1, 'q')) b(i, s) WHERE a.i = b.i
SELECT * FROM (VALUES (1)) a(x) CROSS JOIN LATERAL (SELECT a.x + 1 AS y) b
SELECT x FROM generate_series(1, 5) x WHERE x > ALL (SELECT 3) OR x = ANY (SELECT 1) ORDER BY x
SELECT x, (SELECT count(*) FROM generate_series(1, x)) AS n FROM generate_series(1, 3) AS x
SELECT (SELECT 1 UNION SELECT 2)
WITH RECURSIVE d(day) AS (SELECT date '2026-01-01' UNION ALL SELECT (day + interval '1 day')::date FROM d WHERE day < date '2026-01-03') SELECT day, to_char(day, 'Dy') FROM d ORDER BY day
WITH t AS (SELECT 1 AS a) SELECT * FROM t UNION ALL SELECT a + 1 FROM t ORDER BY a DESC LIMIT 1
SELECT 1 AS a INTERSECT SELECT 1 UNION SELECT 3 EXCEPT SELECT 4 ORDER BY a
(SELECT 1 AS n LIMIT 1) UNION ALL (SELECT 2 ORDER BY 1) ORDER BY n DESC
SELECT x FROM (VALUES (3), (NULL), (1)) t(x) ORDER BY x DESC
SELECT x FROM (VALUES (3), (NULL), (1)) t(x) ORDER BY x NULLS FIRST LIMIT ALL OFFSET 0
SELECT x FROM (VALUES ('b'), ('A'), ('a'), ('_')) t(x) ORDER BY x
SELECT lower(x) AS l FROM (VALUES ('B'), ('a')) t(x) ORDER BY l
SELECT x % 2 AS odd, count(*) FROM generate_series(1, 5) x GROUP BY odd HAVING count(*) > 1 ORDER BY count(*)
SELECT width_bucket(x, 0, 10, 5) AS b, count(*) FROM generate_series(0, 10) x GROUP BY b ORDER BY b
SELECT CASE WHEN grouping(x) = 1 THEN 'all' ELSE x::text END AS g, count(*) FROM generate_series(1, 2) x GROUP BY GROUPING SETS ((x), ()) ORDER BY 1
SELECT generate_series(1, 2), generate_series(1, 3)
SELECT t.x::date, extract(dow FROM t.x) FROM generate_series('2026-01-01'::timestamp, '2026-01-03', '1 day') AS t(x)
SELECT 'x' AS "Column Name", 1 AS "数", 2 AS camelCase
SELECT current_database() IS NOT NULL, current_user IS NOT NULL, version() ~ 'PostgreSQL', inet_client_addr() IS NULL OR true, pg_backend_pid() > 0, txid_current() > 0
SELECT 'deals'::regclass::text, 'public.deals'::regclass, pg_typeof(1)::text, 'text'::regtype, to_regtype('int'), to_regclass('deals') IS NOT NULL
SELECT has_table_privilege('deals', 'select'), has_schema_privilege('public', 'usage'), pg_get_userbyid(10) IS NOT NULL, pg_table_is_visible('deals'::regclass), pg_total_relation_size('deals') >= 0
SELECT '(1,2)'::point
-- differs: no ranges
SELECT int4range(1, 5), '[1,5)'::int4range @> 3
-- differs: no text search
SELECT to_tsvector('english', 'running dogs') @@ to_tsquery('dog')
SELECT 'a=>1'::hstore
-- differs: no ties
SELECT x FROM generate_series(1, 3) x FETCH FIRST 1 ROW WITH TIES
SELECT x FROM (VALUES (1), (1), (2)) t(x) ORDER BY x FETCH FIRST 1 ROW WITH TIES
SELECT id, amount FROM deals ORDER BY amount DESC NULLS LAST, id LIMIT 2 OFFSET 1
SELECT d.* FROM deals AS d WHERE d.tags @> '{a}' AND d.props ->> 'k' = '1' AND d.active ORDER BY d.id LIMIT 1
SELECT coalesce(o.team, 'none') AS team, count(*) FILTER (WHERE d.active) AS active, sum(d.amount) AS amount FROM deals d LEFT JOIN owners o USING (owner) GROUP BY 1 ORDER BY 3 DESC
SELECT date_trunc('week', closed_on)::date AS week, count(*), sum(count(*)) OVER (ORDER BY date_trunc('week', closed_on)::date) AS running FROM deals GROUP BY 1 ORDER BY 1 LIMIT 3
SELECT amount::text, score::text, closed_on::text, created_at::text, active::text, tags::text, props::text FROM deals WHERE id = 3
SELECT * FROM deals WHERE id = '7'
SELECT count(*) FROM deals WHERE amount > '100' AND closed_on = '2026-01-05' AND active = 'true'
SELECT id FROM deals WHERE closed_on BETWEEN '2026-01-02' AND '2026-01-03' AND owner <> 'ana' ORDER BY id LIMIT 3
SELECT owner FROM deals GROUP BY 1 ORDER BY max(created_at) DESC, owner
SELECT max(amount) - min(amount) AS spread, max(closed_on) - min(closed_on) AS days, max(created_at) - min(created_at) AS span FROM deals
SELECT id, closed_on + 7 AS due, age(created_at, timestamptz '2026-01-01 00:00+00') AS age FROM deals ORDER BY id LIMIT 2
SELECT upper(owner) AS o, length(owner) FROM deals GROUP BY owner ORDER BY 1
SELECT count(*) FROM deals a JOIN deals b ON a.id = b.id + 1 WHERE a.owner IS DISTINCT FROM b.owner
SELECT id FROM deals WHERE id NOT IN (SELECT id FROM deals WHERE id > 2) ORDER BY 1
SELECT pg_sleep(0), 1
