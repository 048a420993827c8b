-- Question: which channels bring the wins, and which does credit for the last touch overlook?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--
-- Columns of the first table, the channel with most of the Markov model's credit first
--   channel      the touch's channel; (none): wins without a touch within 180 days
--   journeys     leads with a touch of it, whose time is over
--   won          of these, those that were won
--   first        its part of the wins, where the first touch gets all of a win
--   last         where the last touch gets it
--   markov       where each gets as much as would be lost without it
--   lost_without the share of touched leads' wins that would be lost without the channel, by the Markov chain
--
-- Columns of the second table: channels by what the last touch hides
--   channel
--   last_share, markov_share   its share of the wins by each model
--   overlooked                 the difference: above 0 it opens doors that others close
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/attribution_three_models.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif

SELECT channel, journeys, converted AS won,
       round(sum(credit_conversions) FILTER (WHERE model = 'first'), 1) AS first,
       round(sum(credit_conversions) FILTER (WHERE model = 'last'), 1) AS last,
       round(sum(credit_conversions) FILTER (WHERE model = 'markov'), 1) AS markov,
       round(max(removal_effect), 3) AS lost_without
FROM channel_attribution(:'funnel', model => ['first', 'last', 'markov'], lookback => '180 days', as_of => :'as_of')
GROUP BY channel, journeys, converted
ORDER BY markov DESC, channel;

SELECT channel, round(last_share, 3) AS last_share, round(markov_share, 3) AS markov_share, round(markov_share - last_share, 3) AS overlooked
FROM (
  SELECT channel, sum(share) FILTER (WHERE model = 'last') AS last_share, sum(share) FILTER (WHERE model = 'markov') AS markov_share
  FROM channel_attribution(:'funnel', model => ['last', 'markov'], lookback => '180 days', as_of => :'as_of')
  GROUP BY channel
) AS shares
ORDER BY overlooked DESC, channel;
