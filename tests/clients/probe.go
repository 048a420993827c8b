// What a Go driver sees of a Postgres server: `probe pgx|pq PORT` prints one JSON object (see run.py). It is built from
// Debian's packages of the drivers, which need no module proxy.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/lib/pq"
)

const (
	query   = "SELECT owner, count(*) AS deals, sum(score) AS score FROM deals GROUP BY owner ORDER BY owner"
	series  = "SELECT g, g * 2 AS h FROM generate_series(1, 20000) AS g"
	endless = "SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b"
	wrong   = "SELECT nothing FROM deals"
	tables  = "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 2"
	types   = `SELECT true AS b, 1::smallint AS i2, 2::int AS i4, 3::bigint AS i8, 1.5::real AS f4, 2.5::float8 AS f8, 'text' AS t,
 '\xdead'::bytea AS y, date '2026-01-31' AS d, timestamp '2026-01-31 10:20:30.5' AS ts,
 timestamptz '2026-01-31 10:20:30+00' AS tz, 'c9f0f895-fb98-4b3a-8d5c-0b0a2f6f9d11'::uuid AS u, '{"a": [1, null]}'::jsonb AS j,
 NULL::int AS z`
)

type check func() (any, error)

func main() {
	driver, port := os.Args[1], os.Args[2]
	address := fmt.Sprintf("postgres://postgres@127.0.0.1:%s/funnelsql?sslmode=disable", port)
	var checks map[string]check
	if driver == "pgx" {
		checks = pgxChecks(address)
	} else {
		checks = pqChecks(address)
	}
	result := map[string]any{}
	for name, run := range checks {
		told, err := run()
		if err != nil {
			told = map[string]string{"failed": err.Error()}
		}
		result[name] = told
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"client": driver, "checks": result})
}

func shown(value any) string { return fmt.Sprintf("%T %v", value, value) }

func pgxChecks(address string) map[string]check {
	background := context.Background()
	connection, err := pgx.Connect(background, address)
	if err != nil {
		return map[string]check{"connect": func() (any, error) { return nil, err }}
	}
	all := func(sql string, values ...any) (any, error) {
		rows, err := connection.Query(background, sql, values...)
		if err != nil {
			return nil, err
		}
		found := [][]string{}
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				return nil, err
			}
			row := []string{}
			for _, value := range values {
				row = append(row, shown(value))
			}
			found = append(found, row)
		}
		return found, rows.Err()
	}
	code := func(err error) (any, error) {
		var fault *pgconn.PgError
		if errors.As(err, &fault) {
			return fault.Code, nil
		}
		return nil, err
	}
	return map[string]check{
		"connect": func() (any, error) { return all("SELECT current_setting('server_version_num')") },
		"list":    func() (any, error) { return all(tables) },
		"describe": func() (any, error) {
			described, err := connection.Prepare(background, "described", "SELECT * FROM deals WHERE id = $1 AND owner = ANY($2)")
			if err != nil {
				return nil, err
			}
			found := []string{}
			for _, field := range described.Fields {
				found = append(found, fmt.Sprint(field.Name, field.DataTypeOID, field.TypeModifier))
			}
			return append(found, fmt.Sprint(described.ParamOIDs)), nil
		},
		"query": func() (any, error) { return all(query) },
		"parameters": func() (any, error) {
			return all("SELECT id, created_at FROM deals WHERE owner = $1 AND score > $2 AND id = ANY($3) AND closed_on > $4 ORDER BY id",
				"ana", 1.5, []int64{3, 6, 9, 12}, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
		},
		"types": func() (any, error) { return all(types) },
		"stream": func() (any, error) {
			batch := &pgx.Batch{}
			for i := 0; i < 3; i++ {
				batch.Queue("SELECT $1::int + 1", i)
			}
			sent := connection.SendBatch(background, batch)
			total := 0
			for i := 0; i < 3; i++ {
				var number int
				if err := sent.QueryRow().Scan(&number); err != nil {
					return nil, err
				}
				total += number
			}
			if err := sent.Close(); err != nil {
				return nil, err
			}
			rows, err := connection.Query(background, series)
			if err != nil {
				return nil, err
			}
			for rows.Next() {
				var g, h int
				if err := rows.Scan(&g, &h); err != nil {
					return nil, err
				}
				total += g
			}
			return total, rows.Err()
		},
		"cancel": func() (any, error) {
			other, err := pgx.Connect(background, address)
			if err != nil {
				return nil, err
			}
			defer other.Close(background)
			go func() {
				time.Sleep(500 * time.Millisecond)
				connection.PgConn().CancelRequest(background)
			}()
			_, err = all(endless)
			return code(err)
		},
		"error": func() (any, error) {
			_, err := all(wrong)
			return code(err)
		},
	}
}

func pqChecks(address string) map[string]check {
	database, err := sql.Open("postgres", address)
	if err != nil {
		return map[string]check{"connect": func() (any, error) { return nil, err }}
	}
	database.SetMaxOpenConns(1)
	all := func(text string, values ...any) (any, error) {
		rows, err := database.Query(text, values...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		names, err := rows.ColumnTypes()
		if err != nil {
			return nil, err
		}
		heads := []string{}
		for _, name := range names {
			heads = append(heads, name.Name()+" "+name.DatabaseTypeName())
		}
		found := [][]string{heads}
		for rows.Next() {
			values := make([]any, len(names))
			places := make([]any, len(names))
			for at := range values {
				places[at] = &values[at]
			}
			if err := rows.Scan(places...); err != nil {
				return nil, err
			}
			row := []string{}
			for _, value := range values {
				row = append(row, shown(value))
			}
			found = append(found, row)
		}
		return found, rows.Err()
	}
	code := func(err error) (any, error) {
		var fault *pq.Error
		if errors.As(err, &fault) {
			return string(fault.Code), nil
		}
		return nil, err
	}
	return map[string]check{
		"connect":  func() (any, error) { return all("SELECT current_setting('server_version_num')") },
		"list":     func() (any, error) { return all(tables) },
		"describe": func() (any, error) { return all("SELECT * FROM deals WHERE false") },
		"query":    func() (any, error) { return all(query) },
		"parameters": func() (any, error) {
			return all("SELECT id, created_at FROM deals WHERE owner = $1 AND score > $2 AND id = ANY($3) AND closed_on > $4 ORDER BY id",
				"ana", 1.5, pq.Array([]int64{3, 6, 9, 12}), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
		},
		"types": func() (any, error) { return all(types) },
		"stream": func() (any, error) {
			rows, err := database.Query(series)
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			total := 0
			for rows.Next() {
				var g, h int
				if err := rows.Scan(&g, &h); err != nil {
					return nil, err
				}
				total += g
			}
			return total, rows.Err()
		},
		"cancel": func() (any, error) {
			limited, stop := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer stop()
			row := database.QueryRowContext(limited, endless)
			var number int
			return code(row.Scan(&number))
		},
		"error": func() (any, error) {
			_, err := all(wrong)
			return code(err)
		},
	}
}
