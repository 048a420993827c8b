-- Question: is conversion rising or falling, and is the change more than chance?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns
--   month      first day of the month that the leads came in
--   leads      leads of the month
--   rate       share of them that won within 90 days, with lo and hi, its 95 % interval; months are compared at
--              that age, so a month whose leads are younger is immature
--   diff       rate less that of the month before, in points, with its 95 % interval: a change is beyond chance
--              where that doesn't hold 0
--   status     ok, immature, no_data, or partial_period: the month hasn't ended
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/monthly_trend.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT period AS month, entered AS leads, round(rate, 3) AS rate, round(lo, 3) AS lo, round(hi, 3) AS hi,
       round(100 * diff, 1) AS diff, round(100 * diff_lo, 1) AS diff_lo, round(100 * diff_hi, 1) AS diff_hi,
       status, bar
FROM funnel_trend(:'funnel', every => 'month', age => 90, as_of => :'as_of')
ORDER BY period;
