-- 同一家公司，三种记录方式：事件、每个商机一行、阶段历程。

CREATE FUNNEL IF NOT EXISTS "销售" ON crm.events (
  ENTITY lead_id,
  TIME   occurred_at,
  STAGE  "线索获取" WHEN event = '线索获取',
  STAGE  "线索激活" WHEN event = '线索激活' WITHIN INTERVAL '24 hours',
  STAGE  "需求确认" WHEN event = '需求确认',
  STAGE  "方案沟通" WHEN event = '方案沟通',
  STAGE  "商务谈判" WHEN event = '商务谈判',
  STAGE  "成交转化" WHEN event = '成交转化',
  LOST              WHEN event = '流失' REASON lost_reason,
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

CREATE FUNNEL IF NOT EXISTS "销售_宽表" ON crm.deals (
  ENTITY lead_id,
  STAGE  "线索获取" AT acquired_on,
  STAGE  "线索激活" AT activated_on,
  STAGE  "需求确认" AT qualified_on,
  STAGE  "方案沟通" AT proposed_on,
  STAGE  "商务谈判" AT negotiating_on,
  STAGE  "成交转化" AT won_on,
  LOST              AT lost_on REASON lost_reason,
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

CREATE FUNNEL IF NOT EXISTS "销售_历程" ON crm.stage_history (
  ENTITY lead_id,
  TIME   entered_at,
  STAGE  "线索获取" WHEN stage = '线索获取',
  STAGE  "线索激活" WHEN stage = '线索激活' WITHIN INTERVAL '24 hours',
  STAGE  "需求确认" WHEN stage = '需求确认',
  STAGE  "方案沟通" WHEN stage = '方案沟通',
  STAGE  "商务谈判" WHEN stage = '商务谈判',
  STAGE  "成交转化" WHEN stage = '成交转化',
  LOST              WHEN stage = '流失',
  OWNER  owner,
  WINDOW INTERVAL '180 days',
  ORDER  ordered
);

-- 对阶段做过的变更；REVIEW CHANGE 说明结果。从这一天起线索随机使用话术 A（旧）或 B。

CREATE CHANGE IF NOT EXISTS "话术B" ON FUNNEL "销售" STAGE "线索获取" AT '2025-10-01'
  SEGMENT call_script IS DISTINCT FROM 'A'
  NOTE '一半线索改用话术 B';

CREATE CHANGE IF NOT EXISTS "华南辅导" ON FUNNEL "销售" STAGE "方案沟通" AT '2026-04-01'
  SEGMENT region = '华南'
  BECAUSE WORST
  NOTE '三月表现差，对华南团队进行辅导';
