-- Question: how long does each stage take?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table
--   stage        the stage that is left
--   moved_on     leads that went on to a later stage
--   median_days  half of them had done so within this many days (of 24 hours)
--   p90_days     nine in ten had
--   still_in     leads that are still in the stage; the times leave them out, so they are short while
--                many wait
--
-- Columns of the second table
--   stage, owner       the slowest five pairs of stage and owner with at least 30 leads that moved on
--   moved_on, median_days   as above
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

SELECT stage, passed AS moved_on, round(median_days, 1) AS median_days, round(p90_days, 1) AS p90_days,
       open AS still_in
FROM stage_conversion(:'funnel', as_of => :'as_of')
WHERE median_days IS NOT NULL
ORDER BY stage_no;

SELECT stage, owner, passed AS moved_on, round(median_days, 1) AS median_days
FROM stage_conversion(:'funnel', by => 'owner', as_of => :'as_of')
WHERE passed >= 30 AND median_days IS NOT NULL
ORDER BY median_days DESC, owner, stage_no
LIMIT 5;
