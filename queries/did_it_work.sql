-- Question: we changed something; did it work, and can it be used again?
--
-- Variables
--   change   the name of a change that CREATE CHANGE kept: script_b (when it isn't given)
--   age      for how many days a lead is looked at after it entered the changed stage
--   before   how far back and forth
--   as_of    as in funnel_by_channel.sql
--
-- Columns
--   metric     the changed stage's conversion, wins, and days until the next stage
--   leads      how many were there after the change, and had their full time
--   before     the rate before the change, in percent (of stage_days: days), and after it
--   expected   what it would have been without the change: by the others, or by the trend before
--   effect     after less expected, with lo and hi, its 95 % interval
--   method     did (against others), its (against the trend), difference (weak)
--   decision   proven, no_effect, harmful, too_early, weak_evidence; below, in words, with what else to know
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/did_it_work.sql

\if :{?change}
\else
  \set change script_b
\endif
\if :{?age}
\else
  \set age 30
\endif
\if :{?before}
\else
  \set before '180 days'
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT metric, n_after AS leads, round(unit * before, 1) AS before, round(unit * after, 1) AS after, round(unit * counterfactual, 1) AS expected,
       round(unit * effect, 1) AS effect, round(unit * lo, 1) AS lo, round(unit * hi, 1) AS hi, method, decision
FROM (SELECT *, CASE WHEN metric = 'stage_days' THEN 1 ELSE 100 END AS unit
      FROM review(:'change', age => :'age', before => :'before', as_of => :'as_of')) AS found;

SELECT metric, verdict FROM review(:'change', age => :'age', before => :'before', as_of => :'as_of') LIMIT 1;

SELECT metric, notes FROM review('south_coaching', age => :'age', before => '60 days', as_of => :'as_of') LIMIT 1;
