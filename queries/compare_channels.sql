-- Question: which channels turn leads into what we want more often than the usual one, and is it the channel or its leads?
--
-- Variables
--   baseline   the channel that others are compared with; paid_search where it isn't set
--   stage      the stage that is left; activated
--   metric     the stage to reach, won, or value; qualified
--   lang       the language of the verdicts, en or zh
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table
--   channel, decision   the channel, and winner, loser, mix_only, keep_running or no_practical_difference
--   verdict   the same in a sentence, with its numbers and its reason
--
-- Columns of the second table
--   k, n      leads whose time is over and that reached the metric, of those that entered the stage
--   rate      k / n, a share
--   diff      rate less the baseline's; lo and hi its interval, which stays right however often somebody looks
--   equal_mix, equal_lo, equal_hi   the same at an equal mix of region, industry, size and call script
--   p_adj     of the hypothesis that nothing differs, adjusted for the number of channels (Holm)
--   prob_best the chance to be the best channel
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -v lang=zh -f queries/compare_channels.sql

\if :{?baseline}
\else
  \set baseline paid_search
\endif
\if :{?stage}
\else
  \set stage activated
\endif
\if :{?metric}
\else
  \set metric qualified
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

SELECT arm AS channel, decision, verdict
FROM ab_test(:'funnel', by => 'channel', baseline => :'baseline', stage => :'stage', metric => :'metric', lang => :'lang', as_of => :'as_of');

SELECT arm AS channel, k, n, round(rate, 3) AS rate, round(diff, 3) AS diff, round(diff_lo, 3) AS lo, round(diff_hi, 3) AS hi,
       round(adjusted_diff, 3) AS equal_mix, round(adjusted_lo, 3) AS equal_lo, round(adjusted_hi, 3) AS equal_hi,
       round(p_adj, 4) AS p_adj, round(prob_best, 3) AS prob_best
FROM ab_test(:'funnel', by => 'channel', baseline => :'baseline', stage => :'stage', metric => :'metric', as_of => :'as_of');
