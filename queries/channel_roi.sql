-- Question: which channels pay, and would more budget pay?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--   margin          the share of revenue that is margin, 0.02: what is left of a contract when all but marketing is paid
--
-- Columns of the first table, the best return first; all of leads whose time is over, and of what was spent on their days
--   channel          the last touch before the win
--   cost             what was spent
--   leads, wins      what it brought
--   per_lead, per_win   cost of each
--   margin           of the wins
--   roi, lo, hi      (margin − cost) / cost with its 95 % interval: 0 earns the cost back, 1 earns it twice
--   payback_days     after how many days from a lead's start the cost was earned
--   mature           the share of its leads whose time is over
--
-- Columns of the second table: the channel and what to make of it
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/channel_roi.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif
\if :{?margin}
\else
  \set margin 0.02
\endif

SELECT channel, round(cost) AS cost, leads, wins, round(cost_per_lead, 1) AS per_lead, round(cost_per_win) AS per_win, round(margin) AS margin,
       round(roi, 2) AS roi, round(roi_lo, 2) AS lo, round(roi_hi, 2) AS hi, round(payback_days, 1) AS payback_days, round(mature, 2) AS mature
FROM channel_roi(:'funnel', margin => :margin, lookback => '180 days', as_of => :'as_of');

SELECT channel, decision, budget, verdict
FROM channel_roi(:'funnel', margin => :margin, lookback => '180 days', as_of => :'as_of');
