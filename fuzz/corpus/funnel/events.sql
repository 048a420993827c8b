CREATE OR REPLACE FUNNEL f ON crm.events (
  ENTITY lead_id, TIME occurred_at,
  STAGE acquired WHEN event = 'lead_created',
  STAGE "已成交" WHEN event = 'won' WITHIN INTERVAL '24 hours',
  LOST WHEN event = 'lost' REASON channel,
  VALUE amount, OWNER channel, DIMENSIONS (channel, upper(channel) AS "Channel"), WINDOW INTERVAL '180 days', ORDER strict
) COMMENT '漏斗'