-- Question: which deals are behind the number of proposals that were lost in the south in March 2026?
--
-- Variables
--   region, stage    the cell; south and proposed where they aren't set
--   since, until     leads that came in from, and before; 2026-01-01 and 2026-04-01
--   funnel, as_of    as in funnel_by_channel.sql
--
-- Columns of the first table: the number itself
--   lost       leads of the region that were lost in the stage, or whose 180 days ended there
--
-- Columns of the second table: the deals behind it, the largest ten
--   lead_id, owner, channel   which lead, whose, from where
--   proposed_at    when the proposal went out
--   ended_at       when the deal was lost
--   status         lost, or expired where nobody recorded a loss
--   lost_reason    why
--   value          what it would have been worth
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/drill_down.sql

\if :{?region}
\else
  \set region south
\endif
\if :{?stage}
\else
  \set stage proposed
\endif
\if :{?since}
\else
  \set since '2026-01-01'
\endif
\if :{?until}
\else
  \set until '2026-04-01'
\endif
\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT lost
FROM stage_conversion(:'funnel', by => 'region', since => :'since', until => :'until', as_of => :'as_of')
WHERE region = :'region' AND stage = :'stage';

SELECT lead_id, owner, channel, proposed_at::date AS proposed_at, ended_at::date AS ended_at, status,
       lost_reason, value
FROM journeys(:'funnel', since => :'since', until => :'until', as_of => :'as_of')
WHERE region = :'region' AND lost_stage = :'stage'
ORDER BY value DESC, lead_id
LIMIT 10;
