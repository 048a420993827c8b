-- Tableau over JDBC and ODBC: capability probes, temporary tables, worksheets, level-of-detail joins, bins, date parts.
-- setup
SET client_encoding TO 'UTF8';
SELECT 1 AS "COL" WHERE 1 = 0;
SELECT * FROM "public"."deals" WHERE 1 = 0;
SELECT * FROM "public"."deals" LIMIT 0;
CREATE LOCAL TEMPORARY TABLE "#Tableau_1_1_Connect" ("COL" INTEGER) ON COMMIT PRESERVE ROWS;
INSERT INTO "#Tableau_1_1_Connect" ("COL") VALUES (1);
SELECT "COL" FROM "#Tableau_1_1_Connect";
SELECT "deals"."owner" AS "owner", SUM("deals"."amount") AS "sum:amount:ok" FROM "public"."deals" "deals" GROUP BY 1 ORDER BY 1;
DROP TABLE "#Tableau_1_1_Connect";
SELECT CAST("deals"."owner" AS TEXT) AS "owner", COUNT(DISTINCT "deals"."id") AS "ctd:id:ok", SUM(1) AS "sum:Number of Records:ok" FROM "public"."deals" "deals" WHERE (("deals"."owner" >= 'a') AND ("deals"."owner" < 'c')) GROUP BY 1 ORDER BY 1;
SELECT DATE_TRUNC('QUARTER', CAST("deals"."closed_on" AS DATE)) AS "tqr:closed_on:ok", AVG("deals"."score") AS "avg:score:ok" FROM "public"."deals" "deals" GROUP BY 1 ORDER BY 1;
SELECT CAST(TRUNC(EXTRACT(YEAR FROM "deals"."closed_on")) AS INTEGER) AS "yr:closed_on:ok", CAST(TRUNC(EXTRACT(MONTH FROM "deals"."closed_on")) AS INTEGER) AS "mn:closed_on:ok", SUM("deals"."amount") AS "sum:amount:ok" FROM "public"."deals" "deals" GROUP BY 1, 2 ORDER BY 1, 2;
SELECT (CAST(CAST(DATE_TRUNC('DAY', "deals"."closed_on") AS DATE) + (-CAST(EXTRACT(DOW FROM "deals"."closed_on") AS BIGINT)) * INTERVAL '1 DAY' AS DATE)) AS "twk:closed_on:ok", COUNT(1) AS "n" FROM "public"."deals" "deals" GROUP BY 1 ORDER BY 1;
SELECT FLOOR("deals"."score" / 10) AS "bin", SUM(CASE WHEN "deals"."active" THEN 1 WHEN NOT "deals"."active" THEN 0 ELSE NULL END) AS "n" FROM "public"."deals" "deals" GROUP BY 1 ORDER BY 1;
SELECT "deals"."owner" AS "owner", SUM("t0"."X_measure__0") AS "lod" FROM "public"."deals" "deals" INNER JOIN (SELECT "deals"."owner" AS "owner", SUM("deals"."score") AS "X_measure__0" FROM "public"."deals" "deals" GROUP BY 1) "t0" ON ("deals"."owner" IS NOT DISTINCT FROM "t0"."owner") GROUP BY 1 ORDER BY 1;
SELECT "t0"."owner" FROM (SELECT "deals"."owner" AS "owner", SUM("deals"."amount") AS "$__alias__0" FROM "public"."deals" "deals" GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1 ASC LIMIT 2) "t0" ORDER BY 1;
SELECT (CASE WHEN ("deals"."id" < 0) OR ("deals"."id" = 0 AND "deals"."id" < -1) THEN 'neg' ELSE 'pos' END) AS "sign", MIN(LOWER(LEFT("deals"."owner", 2))) AS "m", MAX(POSITION('a' IN "deals"."owner")) AS "p" FROM "public"."deals" "deals" GROUP BY 1;
SELECT (("deals"."closed_on" - DATE '2026-01-01') * 1) AS "days", CAST("deals"."created_at" AS TIMESTAMP) + 2 * INTERVAL '1 HOUR' AS "later", TO_CHAR("deals"."closed_on", 'YYYY-MM') AS "ym" FROM "public"."deals" "deals" ORDER BY "deals"."id" LIMIT 3;
SELECT "Custom SQL Query"."n" AS "n" FROM (SELECT count(*) AS n FROM deals) "Custom SQL Query" HAVING COUNT(1) > 0;
SELECT "Custom SQL Query"."n" AS "n" FROM (SELECT count(*) AS n FROM deals) "Custom SQL Query" GROUP BY 1 HAVING COUNT(1) > 0;
