-- Question: how long does a test have to run, and what could one of a given length find?
--
-- Variables
--   stage, metric   what is to rise: the rate from one stage to another; acquired and activated where they aren't set
--   age        days that a lead has for it; 30
--   lift       the smallest rise that would matter, as a difference of rates; 0.03
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table
--   rate       the rate today, a share; leads_per_day the leads that come a day
--   power      the chance to find the rise, if it is there
--   n_per_arm, total   leads that each arm and both together need, for one look at the end and a false alarm in 20 tests
--   days       how long that takes
--
-- Columns of the second table
--   days, n_per_arm   how long a test runs, and how many leads each arm then has
--   smallest_rise     the smallest rise that is found in 4 of 5 tests, as a difference of rates; relative as a share of the rate
--   power             the chance to find the rise of the first table
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -v lift=0.05 -f queries/sample_size.sql

\if :{?stage}
\else
  \set stage acquired
\endif
\if :{?metric}
\else
  \set metric activated
\endif
\if :{?age}
\else
  \set age 30
\endif
\if :{?lift}
\else
  \set lift 0.03
\endif
\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

WITH today AS (
  SELECT rate, n / 90.0 AS leads_per_day
  FROM ab_test(:'funnel', arm => '''all''', baseline => 'all', stage => :'stage', metric => :'metric', age => :'age',
               since => CAST(:'as_of' AS date) - INTERVAL '120 days', until => CAST(:'as_of' AS date) - INTERVAL '30 days', as_of => :'as_of')
)
SELECT round(rate, 3) AS rate, round(leads_per_day, 1) AS leads_per_day, power, size['n_a'] AS n_per_arm, size['total'] AS total,
       round(size['days'], 1) AS days
FROM (
  SELECT rate, leads_per_day, power, ab_sample_size(rate, CAST(:'lift' AS double precision), 0.05, power, 1, leads_per_day) AS size
  FROM today CROSS JOIN (VALUES (0.5), (0.8), (0.9), (0.95)) AS powers(power)
) AS sized
ORDER BY power;

WITH today AS (
  SELECT rate, n / 90.0 AS leads_per_day
  FROM ab_test(:'funnel', arm => '''all''', baseline => 'all', stage => :'stage', metric => :'metric', age => :'age',
               since => CAST(:'as_of' AS date) - INTERVAL '120 days', until => CAST(:'as_of' AS date) - INTERVAL '30 days', as_of => :'as_of')
)
SELECT days, n_per_arm, round(found['mde'], 4) AS smallest_rise, round(found['mde_rel'], 3) AS relative,
       round(ab_power(rate, CAST(:'lift' AS double precision), n_per_arm), 3) AS power
FROM (
  SELECT days, n_per_arm, rate, ab_mde(rate, n_per_arm) AS found
  FROM (
    SELECT days, rate, CAST(floor(days * leads_per_day / 2) AS bigint) AS n_per_arm
    FROM today CROSS JOIN (VALUES (7), (14), (28), (56), (112)) AS lengths(days)
  ) AS sized
) AS measured
ORDER BY days;
