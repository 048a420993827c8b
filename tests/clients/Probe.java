// What pgjdbc sees of a Postgres server: `java -cp postgresql.jar Probe.java PORT` prints one JSON object (see run.py).
import java.sql.*;
import java.util.*;
import java.util.concurrent.Callable;

public class Probe {
    static final String QUERY = "SELECT owner, count(*) AS deals, sum(amount) AS amount FROM deals GROUP BY owner ORDER BY owner";
    static final String TYPES = "SELECT true AS b, 1::smallint AS i2, 2::int AS i4, 3::bigint AS i8, 1.5::real AS f4, 2.5::float8 AS f8,"
        + " 1.25::numeric(10,2) AS n, 'text' AS t, date '2026-01-31' AS d, time '10:20:30' AS h,"
        + " timestamp '2026-01-31 10:20:30.5' AS ts, timestamptz '2026-01-31 10:20:30+00' AS tz, interval '1 day' AS iv,"
        + " 'c9f0f895-fb98-4b3a-8d5c-0b0a2f6f9d11'::uuid AS u, '{\"a\": 1}'::jsonb AS j, ARRAY[1, NULL, 3] AS ai, NULL::int AS z";
    static final String ENDLESS = "SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b";

    static Connection connection;
    static final Map<String, String> results = new LinkedHashMap<>();

    public static void main(String[] arguments) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/funnelsql?user=postgres";
        try {
            connection = DriverManager.getConnection(url);
        } catch (SQLException error) {
            System.out.println("{\"client\": \"pgjdbc\", \"checks\": {\"connect\": {\"failed\": " + quoted(error.getMessage()) + "}}}");
            return;
        }
        DatabaseMetaData told = connection.getMetaData();
        check("connect", () -> quoted(told.getDatabaseProductName() + " " + told.getDatabaseMajorVersion()));
        check("list", () -> "[" + rows(told.getTables(null, "public", "%", null), 2, 3, 4, 5)
            + "," + rows(told.getSchemas(null, "public"), 1) + "," + rows(told.getTableTypes(), 1) + "]");
        check("describe", () -> "[" + rows(told.getColumns(null, "public", "deals", "%"), 4, 5, 6, 7, 9, 11, 12, 17, 18)
            + "," + rows(told.getPrimaryKeys(null, "public", "deals"), 4, 5)
            + "," + rows(told.getImportedKeys(null, "public", "deals"), 3, 4, 7, 8)
            + "," + rows(told.getIndexInfo(null, "public", "deals", true, false), 4, 8, 9)
            + "," + rows(told.getBestRowIdentifier(null, "public", "deals", 0, true), 2, 3) + "]");
        check("query", () -> rows(connection.createStatement().executeQuery(QUERY)));
        check("parameters", () -> {
            PreparedStatement statement = connection.prepareStatement(
                "SELECT id, amount, created_at FROM deals WHERE owner = ? AND amount > ? AND closed_on >= ? ORDER BY id");
            statement.setString(1, "ana");
            statement.setBigDecimal(2, new java.math.BigDecimal("500.50"));
            statement.setDate(3, java.sql.Date.valueOf("2026-01-01"));
            return rows(statement.executeQuery());
        });
        check("types", () -> {
            // More often than prepareThreshold, so that values come in binary too.
            PreparedStatement statement = connection.prepareStatement(TYPES + " WHERE ? = 1");
            String all = "";
            for (int time = 0; time < 7; time++) {
                statement.setInt(1, 1);
                all += (time == 0 ? "" : ",") + rows(statement.executeQuery());
            }
            return "[" + all + "]";
        });
        check("stream", () -> {
            connection.setAutoCommit(false);
            Statement statement = connection.createStatement();
            statement.setFetchSize(500);
            ResultSet found = statement.executeQuery("SELECT g FROM generate_series(1, 20000) AS g");
            long sum = 0;
            while (found.next()) sum += found.getLong(1);
            connection.commit();
            connection.setAutoCommit(true);
            return Long.toString(sum);
        });
        check("cancel", () -> {
            Statement statement = connection.createStatement();
            new Timer(true).schedule(new TimerTask() {
                public void run() {
                    try { statement.cancel(); } catch (SQLException ignored) { }
                }
            }, 500);
            return state(statement, ENDLESS);
        });
        check("error", () -> state(connection.createStatement(), "SELECT nothing FROM deals"));
        StringJoiner all = new StringJoiner(", ");
        results.forEach((name, value) -> all.add(quoted(name) + ": " + value));
        System.out.println("{\"client\": " + quoted("pgjdbc " + told.getDriverVersion()) + ", \"checks\": {" + all + "}}");
    }

    static void check(String name, Callable<String> run) {
        try {
            results.put(name, run.call());
        } catch (Exception error) {
            results.put(name, "{\"failed\": " + quoted(String.valueOf(error.getMessage())) + "}");
        }
    }

    static String state(Statement statement, String sql) {
        try {
            statement.executeQuery(sql);
            return quoted("no error");
        } catch (SQLException error) {
            return quoted(error.getSQLState());
        }
    }

    /** The rows, with the names and types of their columns; only some columns where they are given. */
    static String rows(ResultSet found, int... only) throws SQLException {
        ResultSetMetaData columns = found.getMetaData();
        if (only.length == 0) {
            only = new int[columns.getColumnCount()];
            for (int at = 0; at < only.length; at++) only[at] = at + 1;
        }
        StringJoiner rows = new StringJoiner(",", "[", "]");
        StringJoiner heads = new StringJoiner(",", "[", "]");
        for (int at : only) heads.add(quoted(columns.getColumnName(at) + " " + columns.getColumnTypeName(at)));
        rows.add(heads.toString());
        while (found.next()) {
            StringJoiner row = new StringJoiner(",", "[", "]");
            for (int at : only) row.add(quoted(String.valueOf(found.getString(at))));
            rows.add(row.toString());
        }
        return rows.toString();
    }

    static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char character : text.toCharArray()) {
            if (character == '"' || character == '\\') out.append('\\').append(character);
            else if (character < ' ') out.append(String.format("\\u%04x", (int) character));
            else out.append(character);
        }
        return out.append('"').toString();
    }
}
