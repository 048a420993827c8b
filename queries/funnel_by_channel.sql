-- Question: how far do the leads of each channel get?
--
-- Variables
--   funnel   the funnel's name; sales where it isn't set
--   as_of    what happened after this day isn't known; 2026-07-01, where the sample's records end
--
-- Columns
--   channel  where the leads came from
--   stage    the stage, first to last
--   entered  leads that reached the stage
--   passed   of these, leads that went on to a later stage
--   lost     of these, leads that were lost or whose 180 days ended here
--   open     of these, leads that are still here
--   rate     share of the mature leads that went on, 0 to 1; mature leads started 180 days ago or earlier
--   lo, hi   95 % Wilson interval of the rate
--   bar      entered, drawn against the channel's first stage
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/funnel_by_channel.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT channel, stage, entered, passed, lost, open,
       round(rate, 3) AS rate, round(lo, 3) AS lo, round(hi, 3) AS hi, bar
FROM stage_conversion(:'funnel', by => 'channel', as_of => :'as_of')
ORDER BY channel, stage_no;
