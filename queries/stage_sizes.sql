-- Question: how many leads are at each stage, and how sure are the rates?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns
--   stage      the stages, in order
--   reached    leads that came at least so far
--   here_now   of these, those that are in the stage and open
--   passed_on  the share that went further, of leads whose 180 days are over: k of n
--   from, to   95 % confidence interval of that share
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/stage_sizes.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT stage, entered AS reached, open AS here_now, round(rate, 3) AS passed_on, k, n,
       round(lo, 3) AS "from", round(hi, 3) AS "to"
FROM stage_conversion(:'funnel', as_of => :'as_of')
ORDER BY stage_no;
