-- Question: why are deals lost at a stage, where more than elsewhere, and what goes with winning?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--   stage           where they are lost (default proposed)
--   by              the segments that are compared (default region)
--   at_stage, next_stage   the step whose follow-ups are looked at in the last table (default qualified, proposed)
--
-- Columns of the first table: reasons and tags of the deals that were lost at the stage, most often first
--   source, reason  the reason of the loss, or a tag; a deal has one reason and any number of tags
--   lost, n         lost deals with it, and all
--   share           lost / n, with lo and hi, its 95 % interval; those of tags may come to more than 1
--   amount_share    the same in money
--   trend           the share of the last 90 days less that of the 90 days before; q: how likely such a change is by chance among so many rows
--
-- Columns of the second table: what is more or less frequent in a segment than in the others, beyond chance
--   odds_ratio      how many times as high the odds are, with or_lo and or_hi
--
-- Columns of the third table: values of dimensions that go with winning or losing beyond chance, of all deals that are decided
--   with_win, with_loss, without_win, without_loss   the deals behind it
--
-- Columns of the fourth table: what was done in the first 7 days at `at_stage`, and who went on to `next_stage`; of the leads that were
--   still undecided when these days were over, so that all had the same time
--   with_on, without_on   those that went on with and without it
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/why_lost.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif
\if :{?stage}
\else
  \set stage proposed
\endif
\if :{?by}
\else
  \set by region
\endif
\if :{?at_stage}
\else
  \set at_stage qualified
\endif
\if :{?next_stage}
\else
  \set next_stage proposed
\endif

SELECT source, reason, lost, n, round(share, 3) AS share, round(lo, 3) AS lo, round(hi, 3) AS hi,
       round(amount_share, 3) AS amount_share, round(trend, 3) AS trend, round(q, 3) AS q, decision
FROM loss_reasons(:'funnel', stage => :'stage', as_of => :'as_of')
ORDER BY source, lost DESC, reason;

SELECT segment, source, reason, lost, n, round(odds_ratio, 2) AS odds_ratio, round(or_lo, 2) AS or_lo, round(or_hi, 2) AS or_hi,
       round(q, 4) AS q, verdict
FROM loss_reasons(:'funnel', stage => :'stage', by => :'by', as_of => :'as_of')
WHERE q < 0.05
ORDER BY p, segment, source, reason;

SELECT factor, value, with_win, with_loss, without_win, without_loss, round(odds_ratio, 2) AS odds_ratio, round(lo, 2) AS lo,
       round(hi, 2) AS hi, round(q, 4) AS q, decision
FROM outcome_drivers(:'funnel', as_of => :'as_of')
WHERE q < 0.05
ORDER BY odds_ratio DESC, factor, value;

SELECT factor, value, with_win AS with_on, with_loss, without_win AS without_on, without_loss, round(odds_ratio, 2) AS odds_ratio,
       round(lo, 2) AS lo, round(hi, 2) AS hi, round(q, 4) AS q, decision
FROM outcome_drivers(:'funnel', at_stage => :'at_stage', outcome => :'next_stage', factors => 'events', landmark => 7, as_of => :'as_of')
WHERE factor <> 'followup_tag'
ORDER BY p, factor, value;
