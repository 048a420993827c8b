// What a Node client sees of a Postgres server: `node probe.mjs pg|postgres PORT` prints one JSON object (see run.py).
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
const require = createRequire(process.env.NODE_MODULES ? process.env.NODE_MODULES + '/' : import.meta.url)

const [, , client, port] = process.argv
const at = { host: '127.0.0.1', port: Number(port), user: 'postgres', database: 'funnelsql' }
const QUERY = 'SELECT owner, count(*) AS deals, sum(amount) AS amount FROM deals GROUP BY owner ORDER BY owner'
const TABLES = `SELECT table_schema, table_name, table_type FROM information_schema.tables
  WHERE table_schema = 'public' ORDER BY 2`
const COLUMNS = `SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'deals' ORDER BY ordinal_position`
const TYPES = `SELECT true AS b, 1::smallint AS i2, 2::int AS i4, 3::bigint AS i8, 2.5::float8 AS f8, 1.25::numeric(10,2) AS n,
  'text' AS t, '\\xdead'::bytea AS y, date '2026-01-31' AS d, timestamp '2026-01-31 10:20:30.5' AS ts,
  timestamptz '2026-01-31 10:20:30+00' AS tz, interval '1 day 02:00:00' AS iv, '{"a": [1, null]}'::jsonb AS j,
  ARRAY[1, NULL, 3] AS ai, ARRAY['a b', 'c'] AS at, NULL::int AS z`
const SERIES = 'SELECT g FROM generate_series(1, 20000) AS g'
const ENDLESS = 'SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b'

function version (name) {
  const folder = require.resolve(name).split(`node_modules/${name}/`)[0]
  return JSON.parse(readFileSync(`${folder}node_modules/${name}/package.json`)).version
}

async function code (promise) {
  try { await promise } catch (error) { return error.code }
  return 'no error'
}

async function nodePostgres () {
  const { Client, types } = require('pg')
  const Cursor = require('pg-cursor')
  const connection = new Client(at)
  await connection.connect()
  const rows = async (sql, values) => (await connection.query(sql, values)).rows
  const checks = {
    connect: () => rows("SELECT current_setting('server_version_num') AS v"),
    list: () => rows(TABLES),
    describe: () => rows(COLUMNS),
    query: async () => {
      const found = await connection.query(QUERY)
      return [found.command, found.rowCount, found.fields.map(field => [field.name, field.dataTypeID]), found.rows]
    },
    parameters: () => rows('SELECT id, amount FROM deals WHERE owner = $1 AND id = ANY($2) ORDER BY id', ['ana', [1, 2, 3, 4, 5]]),
    types: () => rows(TYPES),
    stream: async () => {
      const cursor = connection.query(new Cursor(SERIES))
      let count = 0
      for (let part = await cursor.read(500); part.length; part = await cursor.read(500)) count += part.length
      await cursor.close()
      return count
    },
    cancel: async () => {
      const other = new Client(at)
      await other.connect()
      const { rows: [{ pid }] } = await connection.query('SELECT pg_backend_pid() AS pid')
      const canceled = code(connection.query(ENDLESS))
      await new Promise(resolve => setTimeout(resolve, 500))
      await other.query('SELECT pg_cancel_backend($1)', [pid])
      const answer = await canceled
      await other.end()
      return answer
    },
    error: () => code(connection.query('SELECT nothing FROM deals'))
  }
  return [`node-postgres ${version('pg')}`, checks, () => connection.end()]
}

async function postgresJs () {
  const postgres = require('postgres')
  const sql = postgres({ ...at, max: 1, onnotice: () => {} })
  const checks = {
    connect: () => sql`SELECT current_setting('server_version_num') AS v`,
    list: () => sql.unsafe(TABLES),
    describe: () => sql.unsafe(COLUMNS),
    query: async () => {
      const found = await sql.unsafe(QUERY)
      return [found.command, found.count, found.columns.map(column => [column.name, column.type]), found]
    },
    parameters: () => sql`SELECT id, amount FROM deals WHERE owner = ${'ana'} AND id = ANY(${[1, 2, 3, 4, 5]}) ORDER BY id`,
    types: () => sql.unsafe(TYPES),
    stream: async () => {
      let count = 0
      for await (const part of sql.unsafe(SERIES).cursor(500)) count += part.length
      return count
    },
    cancel: async () => {
      const running = sql.unsafe(ENDLESS).simple()
      const canceled = code(running)
      setTimeout(() => running.cancel(), 500)
      return canceled
    },
    error: () => code(sql`SELECT nothing FROM deals`)
  }
  return [`postgres.js ${version('postgres')}`, checks, () => sql.end()]
}

let made
try {
  made = await (client === 'pg' ? nodePostgres() : postgresJs())
} catch (error) {
  if (error.code === 'MODULE_NOT_FOUND') {
    console.log(JSON.stringify({ skipped: `${client} is not installed (npm install ${client})` }))
    process.exit()
  }
  console.log(JSON.stringify({ client, checks: { connect: { failed: String(error.message) } } }))
  process.exit()
}
const [name, checks, end] = made
const result = {}
for (const [check, run] of Object.entries(checks)) {
  try { result[check] = await run() } catch (error) { result[check] = { failed: String(error.message).slice(0, 200) } }
}
console.log(JSON.stringify({ client: name, checks: result }))
await end()
