-- Question: what does a metric mean, who answers for it, and what is it now?
--
-- Variables
--   metric          win_rate where it isn't set
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table: the dictionary's entry
--   name_en, name_zh   what it is called
--   says               what it says
--   formula            how it is counted, over the rows of a stage
--   unit, stage, owner what it is measured in, at which stages, who answers for it
--
-- Columns of the second table: its value by channel
--   k, n, rate, lo, hi   numerator, denominator, the rate and its 95 % confidence interval
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/metric_dictionary.sql

\if :{?metric}
\else
  \set metric win_rate
\endif
\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT name_en, name_zh, description_en AS says, formula, unit, stage, owner
FROM funnel.metrics
WHERE metric = :'metric' AND status = 'current';

SELECT segment AS channel, k, n, round(rate, 4) AS rate, round(lo, 4) AS lo, round(hi, 4) AS hi, status
FROM metric(:'metric', funnel => :'funnel', by => 'channel', as_of => :'as_of')
ORDER BY rate DESC, channel;
