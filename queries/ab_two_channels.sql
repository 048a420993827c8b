-- Question: does channel a turn more of its leads into real opportunities than channel b, and is it the channel or its leads?
--
-- Variables
--   a, b     the channels; referral and paid_search where they aren't set
--   stage    the stage that is left; activated
--   metric   the stage to reach; qualified
--   lang     the language of the verdict, en or zh
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table
--   channel  the channel
--   k, n     leads whose time is over and that went on, of those that reached the stage
--   rate     k / n, a share; lo and hi its 95 % Wilson interval
--
-- Columns of the second table
--   difference  rate of a minus rate of b, as a share; lo and hi its interval at one look (Miettinen and Nurminen)
--   p        of the hypothesis that the rates are equal
--   equal_mix   the same difference at an equal mix of the other dimensions; equal_lo and equal_hi its interval
--   verdict  what that says. The channels' leads differ in more than their channel, so a difference is an
--            association and no proof of a cause.
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -v a=webinar -v b=partner -f queries/ab_two_channels.sql

\if :{?a}
\else
  \set a referral
\endif
\if :{?b}
\else
  \set b paid_search
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

SELECT arm AS channel, k, n, round(rate, 4) AS rate, round(lo, 4) AS lo, round(hi, 4) AS hi
FROM ab_test(:'funnel', by => 'channel', baseline => :'b', stage => :'stage', metric => :'metric', mode => 'fixed', adjust => 'none',
             as_of => :'as_of')
WHERE arm IN (:'a', :'b')
ORDER BY channel;

SELECT round(diff, 4) AS difference, round(diff_lo, 4) AS lo, round(diff_hi, 4) AS hi, round(p, 6) AS p,
       round(adjusted_diff, 4) AS equal_mix, round(adjusted_lo, 4) AS equal_lo, round(adjusted_hi, 4) AS equal_hi, verdict
FROM ab_test(:'funnel', by => 'channel', baseline => :'b', stage => :'stage', metric => :'metric', mode => 'fixed', adjust => 'none',
             lang => :'lang', as_of => :'as_of')
WHERE arm = :'a';
