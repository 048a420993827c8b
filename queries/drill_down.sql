-- Question: who exactly dropped out of a stage in a month, and when were they last called?
--
-- Variables
--   stage            the stage; qualified where it isn't set
--   since, until     deals that ended from, and before; 2026-03-01 and 2026-04-01
--   funnel, as_of    as in funnel_by_channel.sql
--
-- Columns of the first table: the number itself, by owner, the five with the most
--   owner      who was responsible
--   lost       deals that were lost in the stage, or whose 180 days ended there
--   drill_key  the way to the deals: funnel_drill('…', of => 'lost') lists as many
--
-- Columns of the second table: the deals behind all of them, the ten that were called last
--   lead_id, owner, channel, region   which deal, whose, from where
--   reached      when it reached the stage
--   ended        when it ended; status says lost, or expired where nobody recorded a loss
--   lost_reason  why
--   last_call    when it was followed up last, how and by whom
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/drill_down.sql

\if :{?stage}
\else
  \set stage qualified
\endif
\if :{?since}
\else
  \set since '2026-03-01'
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

SELECT owner, lost, drill_key
FROM stage_conversion(:'funnel', by => 'owner', as_of => :'as_of',
                      where => ended_at >= :'since' AND ended_at < :'until')
WHERE stage = :'stage' AND owner IS NOT NULL
ORDER BY lost DESC, owner
LIMIT 5;

SELECT lead_id, owner, channel, region, stage_entered_at::date AS reached, ended_at::date AS ended, status,
       lost_reason, last_followup_at::date AS last_call, last_followup_kind AS how, last_followup_by AS by_whom
FROM funnel_drill(:'funnel', stage => :'stage', of => 'lost', as_of => :'as_of',
                  where => ended_at >= :'since' AND ended_at < :'until')
ORDER BY last_followup_at DESC, lead_id
LIMIT 10;
