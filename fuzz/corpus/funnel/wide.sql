CREATE OR REPLACE FUNNEL f ON crm.events (
  ENTITY lead_id, STAGE a AT occurred_at, STAGE b AT occurred_at WHEN amount > 0, COUNTING sessions)