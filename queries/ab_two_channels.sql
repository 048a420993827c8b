-- Question: does channel a turn more of its leads into real opportunities than channel b?
--
-- Variables
--   a, b     the channels; referral and paid_search where they aren't set
--   stage    the stage that is left; activated, so the rate is activated → qualified
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table
--   channel  the channel
--   k, n     mature leads that went on, of those that reached the stage
--   rate     k / n, a share; lo and hi its 95 % Wilson interval
--
-- Columns of the second table
--   difference  rate of a minus rate of b, as a share; lo and hi its 95 % interval (Newcombe, method 10)
--   verdict     what the interval says. The channels' leads differ in more than their channel, so a
--               difference is an association and no proof of a cause.
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
\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT channel, k, n, round(rate, 4) AS rate, round(lo, 4) AS lo, round(hi, 4) AS hi
FROM stage_conversion(:'funnel', by => 'channel', as_of => :'as_of')
WHERE stage = :'stage' AND channel IN (:'a', :'b')
ORDER BY channel;

WITH arms AS (
  SELECT channel, k, n
  FROM stage_conversion(:'funnel', by => 'channel', as_of => :'as_of')
  WHERE stage = :'stage'
),
compared AS (
  SELECT rate_diff_ci(a.k, a.n, b.k, b.n) AS ci
  FROM arms AS a CROSS JOIN arms AS b
  WHERE a.channel = :'a' AND b.channel = :'b'
)
SELECT round(ci['diff'], 4) AS difference, round(ci['lo'], 4) AS lo, round(ci['hi'], 4) AS hi,
       CASE WHEN ci['lo'] > 0 THEN :'a' || ' goes on more often'
            WHEN ci['hi'] < 0 THEN :'b' || ' goes on more often'
            ELSE 'no difference can be told yet' END AS verdict
FROM compared;
