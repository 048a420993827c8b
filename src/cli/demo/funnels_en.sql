-- One company, three ways to keep its records: events, a row for each deal, a stage history.

CREATE FUNNEL IF NOT EXISTS sales ON crm.events (
  ENTITY lead_id,
  TIME   occurred_at,
  STAGE  acquired    WHEN event = 'lead_created',
  STAGE  activated   WHEN event = 'first_contact' WITHIN INTERVAL '24 hours',
  STAGE  qualified   WHEN event = 'need_confirmed',
  STAGE  proposed    WHEN event = 'proposal_sent',
  STAGE  negotiating WHEN event = 'negotiation',
  STAGE  won         WHEN event = 'contract_signed',
  LOST               WHEN event = 'lost' REASON lost_reason,
  VALUE  amount,
  OWNER  owner,
  DIMENSIONS (channel, region, industry, company_size, call_script),
  WINDOW INTERVAL '180 days',
  ORDER  ordered,
  COSTS     FROM crm.channel_costs (channel, day, cost),
  FOLLOWUPS FROM crm.followups (lead_id, at, owner, kind, depth, effective, note AS tags),
  ORDERS    FROM crm.orders (customer_id, at, amount, referred_by),
  TOUCHES   FROM crm.touches (lead_id, at, channel, cost),
  LOSS_TAGS FROM crm.loss_tags (lead_id, tag, stage),
  TARGETS   FROM crm.targets (metric, stage, value)
);

CREATE FUNNEL IF NOT EXISTS sales_wide ON crm.deals (
  ENTITY lead_id,
  STAGE  acquired    AT acquired_on,
  STAGE  activated   AT activated_on,
  STAGE  qualified   AT qualified_on,
  STAGE  proposed    AT proposed_on,
  STAGE  negotiating AT negotiating_on,
  STAGE  won         AT won_on,
  LOST               AT lost_on REASON lost_reason,
  VALUE  amount,
  OWNER  owner,
  DIMENSIONS (channel, region, industry, company_size, call_script),
  WINDOW INTERVAL '180 days',
  ORDER  ordered,
  COSTS     FROM crm.channel_costs (channel, day, cost),
  FOLLOWUPS FROM crm.followups (lead_id, at, owner, kind, depth, effective, note AS tags),
  ORDERS    FROM crm.orders (customer_id, at, amount, referred_by),
  TOUCHES   FROM crm.touches (lead_id, at, channel, cost),
  LOSS_TAGS FROM crm.loss_tags (lead_id, tag, stage),
  TARGETS   FROM crm.targets (metric, stage, value)
);

CREATE FUNNEL IF NOT EXISTS sales_history ON crm.stage_history (
  ENTITY lead_id,
  TIME   entered_at,
  STAGE  acquired    WHEN stage = 'acquired',
  STAGE  activated   WHEN stage = 'activated' WITHIN INTERVAL '24 hours',
  STAGE  qualified   WHEN stage = 'qualified',
  STAGE  proposed    WHEN stage = 'proposed',
  STAGE  negotiating WHEN stage = 'negotiating',
  STAGE  won         WHEN stage = 'won',
  LOST               WHEN stage = 'lost',
  OWNER  owner,
  WINDOW INTERVAL '180 days',
  ORDER  ordered
);

-- What was done to a stage; REVIEW CHANGE says what came of it. Leads have a call script from the first of these days on, B or
-- A by a coin, and A is the old one.

CREATE CHANGE IF NOT EXISTS script_b ON FUNNEL sales STAGE acquired AT '2025-10-01'
  SEGMENT call_script IS DISTINCT FROM 'A'
  NOTE 'Half of the leads are called with script B';

CREATE CHANGE IF NOT EXISTS south_coaching ON FUNNEL sales STAGE proposed AT '2026-04-01'
  SEGMENT region = 'south'
  BECAUSE WORST
  NOTE 'Coaching of the south after a bad March';
