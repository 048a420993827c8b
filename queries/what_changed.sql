-- Question: what changed since the month before, by how much, where, and is it more than chance?
--
-- Variables
--   funnel, as_of   as in funnel_by_channel.sql
--   month           the month that is asked about, such as 2026-03; compared with the one before
--   age             days that each journey is given, so that both months are compared at equal age
--   stage, to_stage the step whose rate is looked into, by the month in which a deal entered it
--   lang            en or zh
--
-- Columns
--   what       the factor (1), the channel (2), or the dimension and its elements (3)
--   added      what it added: wins (1) or points of the rate (2, 3), with lo and hi, the 95 % interval
--   verdict    the same in words, with the numbers behind it
--
-- Run: psql -h 127.0.0.1 -p 5477 -U analyst funnelsql -f queries/what_changed.sql

\if :{?funnel}
\else
  \set funnel sales
\endif
\if :{?as_of}
\else
  \set as_of '2026-07-01'
\endif
\if :{?month}
\else
  \set month '2026-03'
\endif
\if :{?age}
\else
  \set age 60
\endif
\if :{?stage}
\else
  \set stage proposed
\endif
\if :{?to_stage}
\else
  \set to_stage negotiating
\endif
\if :{?lang}
\else
  \set lang en
\endif

\echo '1. What made more or fewer wins?'
SELECT factor AS what, round(effect, 1) AS added, round(lo, 1) AS lo, round(hi, 1) AS hi, verdict
FROM change_decompose(:'funnel', current => :'month', age => :'age', as_of => :'as_of', lang => :'lang')
ORDER BY factor_no;

\echo '2. Did the step get worse, or did other customers come to it?'
SELECT segment AS what, round(100 * total, 1) AS added, round(100 * lo, 1) AS lo, round(100 * hi, 1) AS hi, verdict
FROM mix_rate_decompose(:'funnel', by => 'channel', stage => :'stage', to_stage => :'to_stage', calendar => 'stage',
                        current => :'month', age => :'age', as_of => :'as_of', lang => :'lang')
ORDER BY is_total DESC, segment;

\echo '3. Where does the change of that step lie?'
SELECT rank, dimension || ': ' || array_to_string(elements, ', ', '(null)') AS what, round(100 * contribution, 1) AS added,
       round(100 * lo, 1) AS lo, round(100 * hi, 1) AS hi, verdict
FROM root_cause(:'funnel', stage => :'stage', to_stage => :'to_stage', calendar => 'stage',
                current => :'month', age => :'age', as_of => :'as_of', lang => :'lang')
ORDER BY rank;
