-- Expressions that charts and reports rely on: a statement a line, all over values or the tables of run.py.
-- Dates: cut, taken apart, counted, written
SELECT date_trunc('week', date '2026-01-01'), date_trunc('quarter', timestamp '2026-05-17 10:11:12'), date_trunc('decade', timestamptz '2026-05-17 10:11:12+00')
SELECT date_trunc('hour', created_at) AS hour, count(*) FROM deals GROUP BY 1 ORDER BY 1 LIMIT 3
SELECT date_trunc('day', timestamptz '2026-03-29 23:30+00', 'Asia/Shanghai')
SELECT date_trunc('month', interval '3 months 17 days 4 hours')
SELECT date_bin('15 minutes', timestamp '2026-02-11 15:44:17', timestamp '2026-01-01')
SELECT extract(year FROM date '2026-02-03'), extract(isodow FROM date '2026-02-01'), extract(dow FROM date '2026-02-01'), extract(doy FROM date '2026-03-01')
SELECT extract(epoch FROM interval '1 day 02:03:04.5'), extract(epoch FROM timestamptz '2026-01-01 00:00+00')
SELECT extract(week FROM date '2027-01-01'), extract(isoyear FROM date '2027-01-01'), extract(quarter FROM date '2026-12-31'), extract(century FROM date '2026-01-01')
SELECT date_part('hour', timestamp '2026-01-01 13:14:15.25'), date_part('second', timestamp '2026-01-01 13:14:15.25'), date_part('milliseconds', time '13:14:15.25')
SELECT extract(microseconds FROM time '01:02:03.000005'), extract(minute FROM interval '90 minutes'), extract(day FROM interval '40 days 5 hours')
SELECT age(timestamp '2026-04-10', timestamp '1999-06-13'), age(date '2026-03-01', date '2026-01-31')
SELECT timestamp '2026-01-31' + interval '1 month', date '2026-01-31' + 30, date '2026-03-01' - date '2026-01-01', timestamp '2026-03-01' - timestamp '2026-01-31 12:00'
SELECT interval '1 month' * 2.5, interval '1 day' / 3, interval '1 year 2 mons' + interval '-3 days', -interval '1 hour'
SELECT interval '36 hours', justify_hours(interval '36 hours'), justify_days(interval '65 days'), justify_interval(interval '1 mon -1 hour')
SELECT make_date(2026, 2, 28), make_time(13, 5, 7.5), make_timestamp(2026, 1, 2, 3, 4, 5.25), make_interval(days => 3, hours => 4)
SELECT to_char(timestamp '2026-03-05 07:08:09.123', 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(date '2026-03-05', 'FMDay, DD FMMonth YYYY'), to_char(date '2026-03-05', 'IYYY-"W"IW-ID')
SELECT to_char(timestamp '2026-03-05 17:08:09', 'HH12:MI AM'), to_char(date '2026-03-05', 'Dy DD Mon YY'), to_char(date '2026-11-05', 'Q DDD J'), to_char(timestamp '2026-03-05 17:08', 'DDth')
SELECT to_char(interval '27 hours 5 minutes', 'HH24:MI:SS'), to_char(interval '3 days', 'DD'), to_char(timestamptz '2026-01-01 00:00+00', 'YYYY-MM-DD"T"HH24:MI:SSOF')
SELECT to_date('05 Mar 2026', 'DD Mon YYYY'), to_timestamp('2026-03-05 07:08', 'YYYY-MM-DD HH24:MI'), to_timestamp(1767225600.5)
SELECT timestamptz '2026-06-01 12:00+00' AT TIME ZONE 'Europe/Berlin', timestamp '2026-06-01 12:00' AT TIME ZONE 'America/New_York', timezone('UTC', timestamptz '2026-06-01 12:00+02')
SELECT date '2026-02-28' + interval '1 day', '2026-02-28'::date + time '10:30', (timestamp '2026-02-28 10:30')::date, (timestamp '2026-02-28 10:30')::time
SELECT timestamp '2026-01-01' BETWEEN date '2025-12-31' AND date '2026-01-02', date '2026-01-01' = timestamp '2026-01-01 00:00', (date '2026-01-01', date '2026-02-01') OVERLAPS (date '2026-01-15', date '2026-03-01')
SELECT isfinite(date '2026-01-01'), isfinite(timestamp 'infinity'), 'infinity'::date > date '9999-01-01', '-infinity'::timestamptz
SELECT '1 day 2 hours'::interval, 'P1Y2M3DT4H5M6S'::interval, '3 days ago'::interval, '01:02:03'::interval, '1.5 weeks'::interval
SELECT interval '1 day' = interval '24 hours', interval '1 month' > interval '29 days', greatest(interval '1 day', interval '2 days')
SELECT closed_on, closed_on + (2 || ' days')::interval AS due FROM deals ORDER BY id LIMIT 2
SELECT date_trunc('month', closed_on)::date AS month, sum(amount) FROM deals GROUP BY 1 ORDER BY 1
SELECT generate_series(date '2026-01-30', date '2026-02-02', interval '1 day')
SELECT d::date FROM generate_series(timestamp '2026-01-01', '2026-03-01', '1 month') AS d
SELECT m.month, count(d.id) FROM generate_series(date '2026-01-01', date '2026-04-01', '1 month') AS m(month) LEFT JOIN deals d ON date_trunc('month', d.closed_on) = m.month GROUP BY 1 ORDER BY 1
-- Numbers
SELECT 7 / 2, 7 % 3, -7 / 2, -7 % 3, 7.0 / 2, 2 ^ 10, |/ 25.0, @ -5, 5 & 3, 5 | 3, 5 # 3, ~5, 1 << 4, 16 >> 2
SELECT round(2.5), round(-2.5), round(2.567, 2), round(1234.5, -2), round(2.5::float8), trunc(2.567, 1), trunc(-2.5), ceil(2.1), floor(-2.1)
SELECT div(7, 2), mod(-7, 3), gcd(12, 18), lcm(4, 6), sign(-2.5), abs(-3), factorial(5)
SELECT 0.1 + 0.2, 1e10::numeric, 1::numeric / 3, 10 / 4.0, 1.10 * 2.0, 100::numeric(10,2), 1.005::numeric(10,2)
SELECT 0.1::float8 + 0.2::float8, 1e15::float8, 1e16::float8, 1.0::float8, 0.00001::float8, 'NaN'::float8, 'Infinity'::float8, 1.5::float4
SELECT width_bucket(5.35, 0.024, 10.06, 5), width_bucket(7, array[1, 5, 10]), log(100.0), log(2.0, 64.0), ln(2.0::float8), exp(1.0::float8)
-- differs: a column of numerics has one scale
SELECT greatest(1, 2.5, 3), least('b', 'a'), coalesce(NULL, 2), nullif(1, 1), nullif(2, 1)
SELECT to_char(1234567.891, 'FM9,999,999.00'), to_char(0.256, 'FM90.0%'), to_char(-5, '999'), to_char(42, '00000'), to_char(485, 'RN'), to_char(1234.5, '9999D99')
SELECT sum(amount), min(amount), max(amount), count(DISTINCT owner), sum(id) FROM deals
SELECT '12'::int + 1, '12.5'::numeric * 2, 3.7::int, 3.2::bigint, true::int, 1::boolean, '1'::boolean, 'yes'::boolean
SELECT 1::bigint + 1::smallint, pg_typeof(1::bigint + 1::smallint), pg_typeof(1.5 + 1), pg_typeof(1 / 2.0::float8), pg_typeof(sum(1)), pg_typeof(count(*))
SELECT 9223372036854775807 + 1
SELECT 2147483647 + 1
SELECT 1 / 0
SELECT 'abc'::int
SELECT random() BETWEEN 0 AND 1, pi(), degrees(pi()), radians(180.0::float8), sin(0), atan2(1, 1), cot(1)
SELECT min_scale(8.4100), scale(8.4100), trim_scale(8.4100), to_hex(255)
-- Texts
SELECT 'a' || 1, 'a' || NULL, concat('a', NULL, 1, true), concat_ws('-', 'a', NULL, 'b'), format('%s is %I and %L, %%', 'x', 'a b', 'it''s'), format('%2$s %1$s|%-5s|%5s', 'a', 'b')
SELECT length('漏斗'), char_length('abc'), octet_length('漏斗'), bit_length('a'), upper('abc'), lower('ÀB'), initcap('hello WORLD-of x')
SELECT left('abcdef', 2), left('abcdef', -2), right('abcdef', 2), right('abcdef', -2), substr('abcdef', 2, 3), substring('abcdef' FROM 2 FOR 3), substring('abc123' FROM '[0-9]+'), substring('abcdef', 0, 3)
SELECT trim('  a '), btrim('xxaxx', 'x'), ltrim('xxa', 'x'), rtrim('axx', 'x'), trim(BOTH 'x' FROM 'xax'), trim(LEADING FROM '  a'), lpad('7', 3, '0'), rpad('a', 3, '.'), lpad('abcd', 2)
SELECT position('c' IN 'abc'), strpos('abc', 'z'), replace('aXbX', 'X', '-'), translate('12345', '143', 'ax'), reverse('abc'), repeat('ab', 3), overlay('Txxxxas' PLACING 'hom' FROM 2 FOR 4)
SELECT split_part('a,b,c', ',', 2), split_part('a,b,c', ',', -1), string_to_array('a,b,,c', ','), string_to_array('a,b,c', ',', 'b'), array_to_string(array['a', NULL, 'c'], ',', '*')
SELECT regexp_replace('foobarbaz', 'b..', 'X'), regexp_replace('foobarbaz', 'b(..)', 'X\1Y', 'g'), regexp_match('foobarbequebaz', '(bar)(beque)'), regexp_matches('foobarbequebaz', 'ba.', 'g')
SELECT regexp_count('ABCABC', 'B'), regexp_instr('ABCABC', 'C'), regexp_like('ABC', 'b', 'i'), regexp_substr('foobar', 'o+'), regexp_split_to_array('a1b2c', '[0-9]')
SELECT 'abc' ~ '^a', 'abc' ~* 'B', 'abc' !~ 'z', 'abc' LIKE 'a%', 'abc' ILIKE 'A_C', 'a%c' LIKE 'a\%c', 'abc' NOT LIKE 'z%', 'abc' SIMILAR TO '(a|b)%', starts_with('abc', 'ab'), 'abc' ^@ 'ab'
SELECT 'abc' LIKE ANY (array['a%', 'z%']), 'abc' LIKE ALL (array['a%', '%c']), 'abc' ILIKE ANY (array['A%']), 'abc' NOT LIKE ALL (array['x%', 'y%'])
SELECT md5('abc'), encode(sha256('abc'), 'hex'), encode('abc'::bytea, 'base64'), decode('YWJj', 'base64'), encode('\x00ff'::bytea, 'escape'), ascii('a'), chr(65)
SELECT quote_ident('a b'), quote_ident('select'), quote_literal('it''s'), quote_nullable(NULL), to_hex(10), unistr('\0061'), normalize('é'), 'é' IS NORMALIZED
SELECT 'a' < 'B', 'a' COLLATE "C" < 'B', 'ab' = 'ab ', 'x'::varchar(3), 'abcdef'::varchar(3), 'a'::char(3) || 'b', 'abc'::name
SELECT E'a\tb\n', U&'\0061\+000062', $$it's$$, 'it''s', E'\\x'
SELECT string_agg(owner, ', ' ORDER BY owner DESC), string_agg(DISTINCT team, '/') FROM owners
SELECT strpos(lower(owner), 'a'), owner ~ '[[:alpha:]]', length(owner) FROM owners ORDER BY owner COLLATE "C"
-- Conditions
SELECT CASE WHEN amount > 1000 THEN 'big' WHEN amount > 100 THEN 'mid' ELSE 'small' END AS size, count(*) FROM deals GROUP BY 1 ORDER BY 1
SELECT CASE owner WHEN 'ana' THEN 1 ELSE 2 END AS k, count(*) FROM deals GROUP BY k ORDER BY k
SELECT NULL = NULL, NULL IS NULL, 1 IS DISTINCT FROM NULL, NULL IS NOT DISTINCT FROM NULL, true AND NULL, false AND NULL, true OR NULL, NOT NULL, (1 > 2) IS FALSE, NULL::bool IS UNKNOWN
SELECT 1 IN (1, 2), 3 NOT IN (1, 2), NULL IN (1), 1 IN (NULL, 2), 1 = ANY (array[1, 2]), 1 <> ALL (array[2, 3]), (1, 2) = (1, 2), (1, 2) < (1, 3), (1, 2) IN ((1, 2), (3, 4))
SELECT count(*) FILTER (WHERE active), sum(amount) FILTER (WHERE owner = 'bo'), count(*) FILTER (WHERE amount > 1e9), bool_and(active), bool_or(active), every(id > 0) FROM deals
SELECT 5 BETWEEN SYMMETRIC 10 AND 1
SELECT EXISTS (SELECT 1 FROM owners WHERE team = 'north'), NOT EXISTS (SELECT FROM owners WHERE team = 'east'), (SELECT count(*) FROM owners), (SELECT max(owner) FROM owners WHERE team = 'west')
SELECT owner FROM owners o WHERE (SELECT count(*) FROM deals d WHERE d.owner = o.owner AND d.active) > 33 ORDER BY 1
SELECT coalesce(NULL, NULL, 'x'), num_nulls(1, NULL, 2), num_nonnulls(1, NULL), nullif('', ''), nullif('a', '')
-- Groups
SELECT owner, active, count(*) FROM deals GROUP BY GROUPING SETS ((owner, active), (owner), ()) ORDER BY owner NULLS LAST, active NULLS LAST
SELECT owner, grouping(owner), count(*) FROM deals GROUP BY ROLLUP (owner) ORDER BY 1 NULLS LAST
SELECT owner, active, grouping(owner, active) AS g, count(*) FROM deals GROUP BY CUBE (owner, active) ORDER BY g, 1, 2
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY score), percentile_disc(0.9) WITHIN GROUP (ORDER BY amount), mode() WITHIN GROUP (ORDER BY owner) FROM deals
SELECT percentile_cont(array[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY score) FROM deals
SELECT stddev_pop(score), var_samp(score), corr(score, id), covar_pop(score, id), regr_slope(score, id), regr_r2(score, id), regr_count(score, id) FROM deals
SELECT array_agg(id ORDER BY id DESC) FILTER (WHERE id < 5), array_agg(DISTINCT owner ORDER BY owner) FROM deals
SELECT json_agg(owner ORDER BY owner), jsonb_agg(team ORDER BY owner), json_object_agg(owner, team ORDER BY owner), jsonb_object_agg(owner, team) FROM owners WHERE owner < 'x'
SELECT owner, count(*) FROM deals GROUP BY owner HAVING count(*) > 66 ORDER BY 2 DESC, 1
SELECT bit_and(id), bit_or(id), bit_xor(id), any_value FROM deals, (SELECT 1 AS any_value) s GROUP BY any_value
SELECT DISTINCT ON (owner) owner, id, amount FROM deals ORDER BY owner, id DESC
SELECT date_trunc('month', closed_on) AS m, owner, sum(amount) AS s FROM deals GROUP BY m, owner ORDER BY 1, 2 LIMIT 3
SELECT count(*), count(owner), count(DISTINCT (owner, active)) FROM deals
-- Windows
SELECT id, row_number() OVER (ORDER BY id DESC), rank() OVER (ORDER BY owner), dense_rank() OVER (ORDER BY owner), percent_rank() OVER (ORDER BY id), cume_dist() OVER (ORDER BY id), ntile(4) OVER (ORDER BY id) FROM deals WHERE id <= 5 ORDER BY id
SELECT id, lag(id) OVER w, lead(id, 2, 0::bigint) OVER w, first_value(id) OVER w, last_value(id) OVER w, nth_value(id, 2) OVER w FROM deals WHERE id <= 4 WINDOW w AS (ORDER BY id) ORDER BY id
SELECT id, sum(amount) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), avg(score) OVER (PARTITION BY owner ORDER BY id) FROM deals WHERE id <= 6 ORDER BY id
SELECT id, sum(id) OVER (ORDER BY id RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING), count(*) OVER (), max(id) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) FROM deals WHERE id <= 4 ORDER BY id
SELECT closed_on, sum(sum(amount)) OVER (ORDER BY closed_on) FROM deals GROUP BY closed_on ORDER BY 1 LIMIT 3
SELECT owner, 100.0 * count(*) / sum(count(*)) OVER () AS share FROM deals GROUP BY owner ORDER BY owner
SELECT id, sum(amount) OVER (ORDER BY closed_on RANGE BETWEEN interval '2 days' PRECEDING AND CURRENT ROW) FROM deals WHERE id <= 4 ORDER BY id
SELECT id, count(*) FILTER (WHERE active) OVER (ORDER BY id) FROM deals WHERE id <= 4 ORDER BY id
SELECT id, sum(id) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM deals WHERE id <= 3 ORDER BY id
-- Arrays
SELECT array[1, 2, 3], array[1, 2] || 3, 0 || array[1], array[1] || array[2, 3], array[[1, 2], [3, 4]], '{1,2,NULL}'::int[], array[]::text[], '{a,"b c",NULL}'::text[]
SELECT (array[1, 2, 3])[2], (array[1, 2, 3])[2:3], (array[1, 2, 3])[9], array_length(array[1, 2], 1), cardinality(array[1, 2]), array_upper(array[1, 2], 1), array_ndims(array[[1], [2]]), array_dims(array[1, 2])
SELECT array[1, 2] @> array[1], array[1] <@ array[1, 2], array[1, 2] && array[2, 3], array[1, 2] = array[1, 2], array[1, 2] < array[1, 3], 2 = ANY (array[1, 2]), 2 = ALL (array[2, 2])
SELECT array_append(array[1], 2), array_prepend(0, array[1]), array_cat(array[1], array[2]), array_remove(array[1, 2, 1], 1), array_replace(array[1, 2], 2, 9), array_position(array['a', 'b'], 'b'), array_positions(array[1, 2, 1], 1), array_fill(7, array[2]), trim_array(array[1, 2, 3], 1)
SELECT unnest(array['a', 'b']), unnest(array[1, 2, 3])
SELECT * FROM unnest(array['a', 'b'], array[1, 2]) WITH ORDINALITY AS t(name, number, place)
SELECT t.tag, count(*) FROM deals, unnest(tags) AS t(tag) GROUP BY 1 ORDER BY 1
SELECT id, tag, n FROM deals CROSS JOIN LATERAL unnest(tags) WITH ORDINALITY AS u(tag, n) WHERE id = 1 ORDER BY n
SELECT ARRAY(SELECT owner FROM owners ORDER BY owner), generate_subscripts(array['x', 'y'], 1), array_to_json(array[1, 2])
-- Documents
SELECT '{"a": {"b": [1, 2]}}'::jsonb -> 'a', '{"a": 1}'::jsonb ->> 'a', '{"a": {"b": [1, 2]}}'::jsonb #> '{a,b,0}', '{"a": {"b": [1, 2]}}'::jsonb #>> '{a,b}', '[1, 2]'::jsonb -> -1, '{"a": 1}'::json -> 'z'
SELECT '{"a": 1, "b": 2}'::jsonb @> '{"a": 1}', '{"a": 1}'::jsonb ? 'a', '{"a": 1}'::jsonb ?| array['z', 'a'], '{"a": 1}'::jsonb ?& array['z', 'a'], '{"a": 1, "b": 2}'::jsonb - 'a', '{"a": 1}'::jsonb || '{"b": 2}', '[1, 2]'::jsonb - 0
SELECT jsonb_build_object('a', 1, 'b', array[1, 2]), json_build_array(1, 'x', NULL), to_jsonb('x'::text), to_json(1.5), row_to_json(row(1, 'a')), jsonb_typeof('[]'), jsonb_array_length('[1, 2]'), jsonb_strip_nulls('{"a": null, "b": 1}')
SELECT jsonb_set('{"a": 1}', '{b}', '2'), jsonb_insert('{"a": [1]}', '{a,0}', '0'), jsonb_pretty('{"a": 1}'), jsonb_extract_path_text('{"a": {"b": "c"}}', 'a', 'b'), ('{"n": 1.5}'::jsonb -> 'n')::numeric, ('{"n": 3}'::jsonb ->> 'n')::int
SELECT * FROM jsonb_each('{"a": 1, "b": "x"}') ORDER BY key
SELECT key, value FROM json_each_text('{"a": 1, "b": "x"}') ORDER BY 1
SELECT value ->> 'n' FROM jsonb_array_elements('[{"n": 1}, {"n": 2}]') AS value
SELECT jsonb_array_elements_text('["a", "b"]'), jsonb_object_keys('{"x": 1, "y": 2}')
SELECT * FROM jsonb_to_recordset('[{"a": 1, "b": "x"}, {"a": 2}]') AS r(a int, b text)
SELECT * FROM jsonb_to_record('{"a": 1, "b": [1, 2]}') AS r(a int, b jsonb)
-- differs: no SQL/JSON paths
SELECT jsonb_path_query('{"a": [1, 2, 3]}', '$.a[*] ? (@ > 1)'), jsonb_path_exists('{"a": 1}', '$.a'), jsonb_path_query_array('[1, 2]', '$[*]'), '{"a": 5}'::jsonb @? '$.a', '{"a": 5}'::jsonb @@ '$.a > 3'
SELECT props -> 'k', props ->> 'k', (props ->> 'k')::int + 1, props @> '{"k": 1}' FROM deals ORDER BY id LIMIT 1
-- Relations
SELECT d.id, o.team FROM deals d JOIN owners o USING (owner) WHERE d.id <= 2 ORDER BY 1
SELECT o.owner, count(d.id) FROM owners o LEFT JOIN deals d ON d.owner = o.owner AND d.amount > 2000 GROUP BY 1 ORDER BY 1
SELECT a.n, b.n FROM (VALUES (1), (2)) a(n) FULL JOIN (VALUES (2), (3)) b(n) ON a.n = b.n ORDER BY 1, 2
SELECT o.owner, top.id FROM owners o CROSS JOIN LATERAL (SELECT id FROM deals d WHERE d.owner = o.owner ORDER BY amount DESC LIMIT 1) top ORDER BY 1
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 4) SELECT sum(n), count(*) FROM t
WITH a AS MATERIALIZED (SELECT id FROM deals WHERE id < 4), b AS NOT MATERIALIZED (SELECT id FROM deals WHERE id > 2 AND id < 6) SELECT id FROM a INTERSECT SELECT id FROM b
SELECT id FROM deals WHERE id < 4 EXCEPT ALL SELECT 2 ORDER BY 1
SELECT 1 AS n UNION SELECT 1 UNION ALL SELECT 2 ORDER BY n
VALUES (1, 'a'), (2, NULL)
TABLE owners
SELECT column1, column2 FROM (VALUES (1, 'x'), (2, 'y')) AS v ORDER BY 1
SELECT * FROM owners ORDER BY owner DESC NULLS LAST FETCH FIRST 2 ROWS ONLY
SELECT * FROM owners ORDER BY 1 OFFSET 1 ROWS FETCH NEXT 1 ROW ONLY
-- differs: a row has the type record
SELECT o, (o).team FROM owners o ORDER BY o.owner LIMIT 1
-- differs: a row has the type record
SELECT o FROM deals d LEFT JOIN owners o ON false WHERE d.id = 1
SELECT count(*) FROM deals TABLESAMPLE BERNOULLI (100)
SELECT row(1, 'a'), row(1, 'a') IS NOT NULL, (row(1, 2)).f1
SELECT 1 AS "Straße", 2 AS "a""b", 3 AS select, 4 "no as"
SELECT * FROM (SELECT id, owner FROM deals) s WHERE 1 = 0
SELECT NULL, 'a', 1, 1.5, true, now() - now()
SELECT generate_series(1, 3) AS n, 'x'
SELECT count(*) FROM generate_series(1, 10, 3) a, generate_series(5, 1, -2) b
SELECT current_user = session_user, current_schema, current_setting('TimeZone'), current_date = now()::date, localtimestamp = now()::timestamp
SELECT pg_typeof(now()), pg_typeof(current_date), pg_typeof(localtime), pg_typeof('a'::text), pg_typeof(array[1]), pg_typeof('{}'::jsonb), pg_typeof(1::numeric(5, 2)), pg_typeof(interval '1 day')
SELECT 'x'::regtype
SELECT 'int4'::regtype, 'deals'::regclass, 'now'::regproc, 23::regtype::text, to_regclass('nope'), to_regtype('varchar'), format_type(1700, 786438)
SELECT cast('2026-01-01' AS date), '2026-01-01'::timestamp, '10:30'::time, '2026-01-01 10:00+02'::timestamptz, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '\xdead'::bytea, '192.168.0.1'::inet, 'f'::bool, '1,234.5'::money
SELECT 1 WHERE '{"a": 1}'::jsonb = '{"a":1}'::jsonb AND '{"a": 1, "b": 2}'::jsonb = '{"b": 2, "a": 1}'::jsonb
SELECT sum(1) FROM deals WHERE closed_on >= '2026-01-15' AND closed_on < '2026-02-01' AND owner IN ('ana', 'bo') AND active IS TRUE
SELECT pg_size_pretty(123456789::bigint), obj_description('deals'::regclass), col_description('deals'::regclass, 3), has_table_privilege('deals', 'SELECT')
SELECT nothing FROM deals
SELECT count(*) FROM nowhere
SELECT no_such_function(1)
SELECT id, count(*) FROM deals
SELECT 'a' + 1
SELECT sum(owner) FROM deals
