-- Question: at which stage would an improvement bring most, and at which is time lost?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--   by              the segments of which the best shows what a stage could reach (default region)
--   pass_through    how much of a stage's improvement reaches the end of the funnel (default 1; published cases came to 0.4)
--
-- Columns of the first table, largest gain first: every stage against its target
--   stage         the stage that is left
--   k, n          leads that went on, of all mature ones that entered it
--   rate, target  the share that went on, and the share that should
--   more_wins     what the target would bring in won deals, with lo and hi, its 95 % interval
--   decision      push_first, push (beyond chance), not_sure (the interval holds 0), at_benchmark (nothing to gain)
--
-- Columns of the second table: the same against the best segment. The rates of segments are shrunk first, and the benchmark is the
--   lower limit of the best one, since the highest of many rates is mostly luck
--
-- Columns of the third table: days in the stage (of at most 90) against the target
--   days_saved    what a deal would save, with lo and hi
--   faster        by how much the whole cycle would be faster: 0.1 is a tenth
--
-- The last table says it in words
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/where_to_push_next.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif
\if :{?by}
\else
  \set by region
\endif
\if :{?pass_through}
\else
  \set pass_through 1
\endif

SELECT rank, stage, k, n, round(rate, 3) AS rate, benchmark AS target, round(gain) AS more_wins,
       round(gain_lo) AS lo, round(gain_hi) AS hi, decision
FROM funnel_bottleneck(:'funnel', benchmark => 'target', pass_through => :pass_through, as_of => :'as_of')
ORDER BY rank NULLS LAST, stage_no;

SELECT rank, stage, round(rate, 3) AS rate, benchmark_source AS best, round(benchmark, 3) AS reaches, round(gain) AS more_wins,
       round(gain_lo) AS lo, round(gain_hi) AS hi, status, decision
FROM funnel_bottleneck(:'funnel', benchmark => 'best_segment', by => :'by', pass_through => :pass_through, as_of => :'as_of')
ORDER BY rank NULLS LAST, stage_no;

SELECT rank, stage, n, round(days, 1) AS days, benchmark AS target, round(gain, 1) AS days_saved, round(gain_lo, 1) AS lo,
       round(gain_hi, 1) AS hi, round(velocity_gain, 3) AS faster, decision
FROM funnel_bottleneck(:'funnel', benchmark => 'target', value => 'days', pass_through => :pass_through, as_of => :'as_of')
ORDER BY rank NULLS LAST, stage_no;

SELECT verdict
FROM (
  SELECT 1 AS no, verdict
  FROM funnel_bottleneck(:'funnel', benchmark => 'target', pass_through => :pass_through, as_of => :'as_of')
  WHERE rank = 1
  UNION ALL
  SELECT 2, verdict
  FROM funnel_bottleneck(:'funnel', benchmark => 'target', value => 'days', pass_through => :pass_through, as_of => :'as_of')
  WHERE rank = 1
) AS verdicts
ORDER BY no;
