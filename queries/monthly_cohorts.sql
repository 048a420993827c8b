-- Question: are the newer months' leads worse, or only younger?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns
--   cohort   first day of the month that the leads came in
--   n        leads of the month
--   by_30, by_60, by_90   share of them that had won by 30, 60, 90 days after they came in. A cell is
--            empty until every lead of the month is that old: months are compared at equal age or not at all.
--   est_90   the same for 90 days, estimated where the month is too young (Aalen–Johansen: open leads are
--            censored, lost ones can't win any more); empty beyond the oldest lead's age
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/monthly_cohorts.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

WITH strict AS (
  SELECT cohort, n,
         max(rate) FILTER (WHERE age = 30) AS by_30,
         max(rate) FILTER (WHERE age = 60) AS by_60,
         max(rate) FILTER (WHERE age = 90) AS by_90
  FROM cohort_cycle(:'funnel', every => 'month', ages => [30, 60, 90], as_of => :'as_of')
  GROUP BY cohort, n
),
estimated AS (
  SELECT cohort, rate AS est_90
  FROM cohort_cycle(:'funnel', every => 'month', ages => [90], partial => true, as_of => :'as_of')
)
SELECT strict.cohort, n, round(by_30, 3) AS by_30, round(by_60, 3) AS by_60, round(by_90, 3) AS by_90,
       round(est_90, 3) AS est_90
FROM strict JOIN estimated ON estimated.cohort = strict.cohort
ORDER BY strict.cohort;
