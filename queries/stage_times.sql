-- Question: how long does each stage take, once the leads that are still in it count?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table, slowest stage first
--   stage        the stage that is left
--   n            leads whose time in it is known
--   still_in     of these, those that have not left it
--   p25, median, p75   a quarter, half, three quarters have left it within this many days of 24 hours (Kaplan–Meier:
--                a lead that is still in it counts for as long as it has been seen); empty where fewer have left
--   mean_30      the mean days in the stage within its first thirty
--   mean_of_closed   the plain mean of those that left, for comparison: too short while many wait
--
-- Columns of the second table: the slowest five pairs of stage and owner with at least 30 leads that left
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/stage_times.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT stage, n, open AS still_in, round(p25, 1) AS p25, round(median, 1) AS median, round(p75, 1) AS p75,
       round(rmst, 1) AS mean_30, round(mean_of_closed, 1) AS mean_of_closed
FROM stage_times(:'funnel', tau => 30, as_of => :'as_of')
ORDER BY rmst DESC NULLS LAST, stage_no;

SELECT stage, owner, n, open AS still_in, round(median, 1) AS median, round(rmst, 1) AS mean_30
FROM stage_times(:'funnel', tau => 30, by => 'owner', as_of => :'as_of')
WHERE passed + lost >= 30 AND rmst IS NOT NULL
ORDER BY rmst DESC, owner, stage_no
LIMIT 5;
