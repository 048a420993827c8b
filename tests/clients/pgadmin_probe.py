"""pgAdmin 4 against a Postgres server: `pgadmin_probe.py PORT` prints one JSON object (see run.py).

It runs in the Python that has pgadmin4, over a home of its own, and asks as the page in a browser does: it adds the server,
opens the tree of what is there, reads properties and SQL of objects, and uses the query tool, all by pgAdmin's endpoints.
"""
import builtins
import json
import os
import re
import sys
import tempfile
import time

from probes import TYPES, outcomes

HOST, USER, DATABASE = "127.0.0.1", "postgres", "funnelsql"
# Properties that are each server's own: sizes, OIDs, owners, and who has which right.
OWN = re.compile(r"oid|acl|owner|size|relfilenode|last_|stats|pid|reltuples|rows_cnt|toast|"
                 r"^(xmin|seclabels|id|_id|created|updated|confrelid|references)$", re.I)


def main():
    port, home = int(sys.argv[1]), tempfile.mkdtemp()
    try:
        from importlib.metadata import version
        from importlib.util import find_spec

        folder = os.path.dirname(find_spec("pgadmin4.pgAdmin4").origin)
    except (ImportError, AttributeError, ValueError):
        return print(json.dumps({"skipped": "pgadmin4 is not installed"}))
    with open(os.path.join(home, "config_local.py"), "w") as file:
        file.write(
            f"DATA_DIR = {home!r}\nLOG_FILE = {home + '/log'!r}\nSQLITE_PATH = {home + '/pgadmin4.db'!r}\n"
            f"SESSION_DB_PATH = {home + '/sessions'!r}\nSTORAGE_DIR = {home + '/storage'!r}\nMASTER_PASSWORD_REQUIRED = False\n"
            "USE_OS_SECRET_STORAGE = False\nUPGRADE_CHECK_ENABLED = False\nWTF_CSRF_ENABLED = False\nCONSOLE_LOG_LEVEL = 50\n"
        )
    sys.path[:0] = [home, folder]
    builtins.SERVER_MODE = False
    # What pgAdmin prints while it starts isn't the answer.
    stdout, sys.stdout = sys.stdout, sys.stderr
    import config
    from pgadmin import create_app

    app = create_app(config.APP_NAME)
    # As pgAdmin4.py does it before it serves.
    app.PGADMIN_INT_KEY, app.PGADMIN_RUNTIME = "", False
    app.run_before_app_start()
    told = checks(Browser(app), port)
    sys.stdout = stdout
    print(json.dumps({"client": f"pgAdmin {version('pgadmin4')}", "checks": told}))
    sys.stdout.flush()
    # Its threads that keep connections alive would keep it from ending.
    os._exit(0)


class Browser:
    def __init__(self, app):
        self.client = app.test_client()

    def ask(self, method, path, **body):
        answer = getattr(self.client, method)(path, **({"json": body} if body else {}))
        if answer.status_code >= 300:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.get_data(as_text=True)[:300]}")
        return answer.get_json()


def checks(browser, port):
    ask = browser.ask
    ids = {}

    def connect():
        server = ask("post", "/browser/server/obj/1/", name="deals", host=HOST, port=port, db=DATABASE, username=USER,
                     connection_params=[{"name": "sslmode", "value": "disable", "keyword": "sslmode"}])
        ids["server"] = f"1/{server['node']['_id']}"
        connected = ask("post", f"/browser/server/connect/{ids['server']}", password="")["data"]
        return [connected["connected"], connected["type"], connected["version"] // 10000, connected["user"]["is_superuser"]]

    def nodes(kind, *of):
        """The labels of a branch of the tree, with the ids that lead further."""
        found = ask("get", f"/browser/{kind}/nodes/{'/'.join(map(str, of))}/")["data"]
        return {node["label"]: node["_id"] for node in found}

    def tree():
        server = ids["server"]
        ids["database"] = f"{server}/{nodes('database', server)[DATABASE]}"
        ask("post", f"/browser/database/connect/{ids['database']}")
        ids["schema"] = f"{ids['database']}/{nodes('schema', ids['database'])['public']}"
        told = {}
        for kind in ["table", "view", "mview", "sequence", "function", "procedure", "trigger_function", "type", "domain", "collation",
                     "foreign_table", "aggregate", "operator", "fts_configuration", "fts_dictionary", "fts_parser", "fts_template"]:
            found = nodes(kind, ids["schema"])
            ids.update({f"{kind} {label}": f"{ids['schema']}/{oid}" for label, oid in found.items()})
            # Functions and the like are listed as each server has them.
            told[kind] = sorted(found) if kind in ("table", "view", "mview", "sequence", "foreign_table", "type", "domain") else True
        for kind in ["extension", "event_trigger", "cast", "language", "publication", "subscription"]:
            nodes(kind, ids["database"])
        for kind in ["role", "tablespace"]:
            told[kind] = bool(nodes(kind, server))
        told["catalogs"] = sorted(nodes("catalog", ids["database"]))
        told["functions"] = "count" not in nodes("function", ids["schema"])
        return told

    def kept(value):
        if isinstance(value, dict):
            return {key: kept(inner) for key, inner in value.items() if not OWN.search(key)}
        return [kept(inner) for inner in value] if isinstance(value, list) else value

    def described():
        told = {}
        for table in ["deals", "owners"]:
            at = ids[f"table {table}"]
            told[table] = kept(ask("get", f"/browser/table/obj/{at}"))
            told[f"{table} columns"] = list(nodes("column", at))
            for kind in ["index", "constraints", "trigger", "rule", "row_security_policy", "partition"]:
                told[f"{table} {kind}"] = sorted(nodes(kind, at))
            column = nodes("column", at)["owner"]
            told[f"{table}.owner"] = kept(ask("get", f"/browser/column/obj/{at}/{column}"))
            told[f"{table} sql"] = without_owner(ask("get", f"/browser/table/sql/{at}"))
            for part in ["dependency", "dependent", "stats"]:
                ask("get", f"/browser/table/{part}/{at}")
        view = ids["view v_deals"]
        told["view"] = {key: value for key, value in kept(ask("get", f"/browser/view/obj/{view}")).items() if key != "definition"}
        told["view columns"] = list(nodes("column", view))
        ask("get", f"/browser/view/sql/{view}")
        for kind in ["database", "schema"]:
            ask("get", f"/browser/{kind}/obj/{ids[kind]}")
            ask("get", f"/browser/{kind}/sql/{ids[kind]}")
        for part in ["dashboard_stats", "activity", "locks", "prepared"]:
            names = "?chart_names=session_stats,tps_stats,ti_stats,to_stats,bio_stats" if part == "dashboard_stats" else ""
            ask("get", f"/dashboard/{part}/{ids['server'].split('/')[1]}/{ids['database'].split('/')[2]}{names}")
        found = ask("get", f"/search_objects/search/{'/'.join(ids['database'].split('/')[1:])}?text=deal&type=all")["data"]
        # FunnelSQL's own functions are found too.
        told["search"] = sorted([hit["name"], hit["type"]] for hit in found if hit["type"] != "function")
        return told

    def without_owner(sql):
        return re.sub(r"(OWNER to|ROLE) .*|-- .*|GRANT .*|REVOKE .*", r"\1", sql)

    def opened():
        ids["tool"] = int(time.time() * 1000) % 9000000 + 1
        ask("post", f"/sqleditor/initialize/sqleditor/{ids['tool']}/{ids['database']}", dbname=DATABASE)

    def run(sql, **options):
        """What the query tool shows: columns with their types, rows, or the message of an error."""
        if "tool" not in ids:
            opened()
        started = ask("post", f"/sqleditor/query_tool/start/{ids['tool']}", sql=sql, explain_plan=options or None)
        if not started["data"]["status"]:
            return started["data"]["result"]
        polled = result()
        if isinstance(polled, list):
            return polled
        columns = [[column["name"], column["type_code"]] for column in polled["colinfo"] or []]
        return [columns, polled["types"], polled["result"], polled["rows_affected"]]

    def result():
        """The answer when it is there; the message where it is an error, without the hint that only we give."""
        while True:
            answer = browser.client.get(f"/sqleditor/poll/{ids['tool']}").get_json()
            if not answer["success"]:
                return [line.rstrip() for line in answer["errormsg"].splitlines() if line.strip() and not line.startswith("HINT:")]
            if answer["data"]["status"] != "Busy":
                return answer["data"]
            time.sleep(0.1)

    def query():
        script = "CREATE TABLE notes (n int PRIMARY KEY, t text); INSERT INTO notes VALUES (1, 'a'), (2, NULL); SELECT * FROM notes"
        told = [run("SELECT owner, count(*) AS deals, sum(amount) AS amount FROM deals GROUP BY owner ORDER BY owner"), run(script)]
        plan = run("SELECT 1", format="json", analyze=False, verbose=False, buffers=False, costs=True, timing=False)
        told += [plan[0], bool(plan[2]), run("DROP TABLE notes")[2:]]
        # "View/Edit data" on a table.
        tool, table = ids["tool"] + 1, ids["table owners"].split("/")
        ask("post", f"/sqleditor/initialize/viewdata/{tool}/3/table/{'/'.join(table[:3])}/{table[4]}")
        rows = ids["tool"]
        ids["tool"] = tool
        ask("get", f"/sqleditor/view_data/start/{tool}")
        polled = ask("get", f"/sqleditor/poll/{tool}")["data"]
        ids["tool"] = rows
        return told + [polled["status"], sorted(polled["result"], key=str), sorted(polled["primary_keys"] or [])]

    def streamed():
        """The first page of many rows, and the next one."""
        first = run("SELECT g, g * 2 AS h FROM generate_series(1, 20000) AS g ORDER BY g")
        more = ask("get", f"/sqleditor/fetch_window/{ids['tool']}/2000/2999")["data"]
        return [len(first[2]), first[3], len(more["result"]), more["result"][0]]

    def canceled():
        sql = "SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b"
        ask("post", f"/sqleditor/query_tool/start/{ids['tool']}", sql=sql)
        time.sleep(1)
        stopped = ask("post", f"/sqleditor/cancel/{ids['tool']}")["data"]
        return [stopped, result(), run("SELECT 7")]

    functions = {
        "connect": connect,
        "list": tree,
        "describe": described,
        "query": query,
        "types": lambda: run(TYPES),
        "stream": streamed,
        "cancel": canceled,
        "error": lambda: run("SELECT nothing FROM deals"),
    }
    return outcomes(functions, lambda text: text[:400])


if __name__ == "__main__":
    main()
