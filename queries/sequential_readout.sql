-- Question: may we stop the test of the call scripts, and when could we have?
--
-- Variables
--   assignment   the column that was assigned at random; call_script where it isn't set
--   baseline     its arm to compare with; A
--   metric       the stage to reach from the first one; activated
--   age          days that a lead has for it; 30
--   rope         the largest difference that doesn't matter; 0.01
--   lang         the language of the verdict, en or zh
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table
--   arm, decision, decided_at   the arm; what it comes to; when its interval first left out 0
--   verdict      the same in a sentence
--
-- Columns of the second table, one row for each look; nobody has to look for it to be right
--   looked_at    the day up to which leads count
--   n            leads of the arm whose result was known then
--   lo, hi       the interval of its rate less the baseline's: each lies in the one before
--   width        hi less lo
--   p            the smallest p of all looks up to then
--   decision     what would have been decided
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -v lang=zh -f queries/sequential_readout.sql

\if :{?assignment}
\else
  \set assignment call_script
\endif
\if :{?baseline}
\else
  \set baseline A
\endif
\if :{?metric}
\else
  \set metric activated
\endif
\if :{?age}
\else
  \set age 30
\endif
\if :{?rope}
\else
  \set rope 0.01
\endif
\if :{?lang}
\else
  \set lang en
\endif
\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT arm, decision, CAST(decided_at AS date) AS decided_at, verdict
FROM ab_test(:'funnel', assignment => :'assignment', baseline => :'baseline', metric => :'metric', age => :'age', rope => :'rope',
             lang => :'lang', as_of => :'as_of');

SELECT '2025-12-01' AS looked_at, arm, n, round(diff_lo, 4) AS lo, round(diff_hi, 4) AS hi, round(diff_hi - diff_lo, 4) AS width, round(p, 6) AS p, decision
FROM ab_test(:'funnel', assignment => :'assignment', baseline => :'baseline', metric => :'metric', age => :'age', rope => :'rope', as_of => '2025-12-01')
WHERE decision <> 'baseline'
UNION ALL
SELECT '2026-01-01', arm, n, round(diff_lo, 4), round(diff_hi, 4), round(diff_hi - diff_lo, 4), round(p, 6), decision
FROM ab_test(:'funnel', assignment => :'assignment', baseline => :'baseline', metric => :'metric', age => :'age', rope => :'rope', as_of => '2026-01-01')
WHERE decision <> 'baseline'
UNION ALL
SELECT '2026-02-01', arm, n, round(diff_lo, 4), round(diff_hi, 4), round(diff_hi - diff_lo, 4), round(p, 6), decision
FROM ab_test(:'funnel', assignment => :'assignment', baseline => :'baseline', metric => :'metric', age => :'age', rope => :'rope', as_of => '2026-02-01')
WHERE decision <> 'baseline'
UNION ALL
SELECT '2026-04-01', arm, n, round(diff_lo, 4), round(diff_hi, 4), round(diff_hi - diff_lo, 4), round(p, 6), decision
FROM ab_test(:'funnel', assignment => :'assignment', baseline => :'baseline', metric => :'metric', age => :'age', rope => :'rope', as_of => '2026-04-01')
WHERE decision <> 'baseline'
UNION ALL
SELECT CAST(CAST(:'as_of' AS date) AS text), arm, n, round(diff_lo, 4), round(diff_hi, 4), round(diff_hi - diff_lo, 4), round(p, 6), decision
FROM ab_test(:'funnel', assignment => :'assignment', baseline => :'baseline', metric => :'metric', age => :'age', rope => :'rope', as_of => :'as_of')
WHERE decision <> 'baseline'
ORDER BY looked_at;
