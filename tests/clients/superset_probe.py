"""Apache Superset against a Postgres server: `superset_probe.py PORT` prints one JSON object (see run.py).

It runs in the Python that has apache-superset, over a home of its own, and asks as a browser does: it adds the database,
lists its tables, makes a dataset and draws charts, all by Superset's API.
"""
import json
import os
import sys
import tempfile

from probes import outcomes

HOST, USER, DATABASE = "127.0.0.1", "postgres", "funnelsql"


def main():
    port, home = sys.argv[1], tempfile.mkdtemp()
    config = os.path.join(home, "superset_config.py")
    with open(config, "w") as file:
        file.write(
            f"SECRET_KEY = 'a secret of thirty-two characters'\nSQLALCHEMY_DATABASE_URI = 'sqlite:///{home}/superset.db'\nWTF_CSRF_ENABLED = False\n"
            "TALISMAN_ENABLED = False\nRATELIMIT_ENABLED = False\n"
        )
    os.environ.update(SUPERSET_CONFIG_PATH=config, SUPERSET_HOME=home)
    try:
        from importlib.metadata import version

        from superset.app import create_app
    except ImportError as error:
        return print(json.dumps({"skipped": f"{error.name or error} is not installed"}))
    app = create_app()
    with app.app_context():
        from flask_migrate import upgrade
        from superset import migrations, security_manager as security

        upgrade(directory=os.path.dirname(migrations.__file__))
        security.sync_role_definitions()
        security.add_user("admin", "A", "D", "admin@example.org", security.find_role("Admin"), password="admin")
    result = {"client": f"Apache Superset {version('apache-superset')}", "checks": checks(app.test_client(), port)}
    print(json.dumps(result))


def checks(browser, port):
    login = {"username": "admin", "password": "admin", "provider": "db", "refresh": False}
    token = browser.post("/api/v1/security/login", json=login).json["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    def ask(method, path, **body):
        answer = getattr(browser, method)(f"/api/v1/{path}", headers=headers, **({"json": body} if body else {}))
        if answer.status_code >= 300:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.get_data(as_text=True)[:200]}")
        return answer.json

    uri = f"postgresql+psycopg2://{USER}@{HOST}:{port}/{DATABASE}"
    made = {}

    def connect():
        ask("post", "database/test_connection/", database_name="deals", sqlalchemy_uri=uri)
        made["database"] = ask("post", "database/", database_name="deals", sqlalchemy_uri=uri)["id"]
        return "connected"

    def tables():
        found = ask("get", f"database/{made['database']}/tables/?q=(schema_name:public)")["result"]
        return sorted([table["value"], table["type"]] for table in found)

    def described():
        ask("post", "dataset/", database=made["database"], schema="public", table_name="deals")
        table = ask("get", "dataset/1")["result"]
        return sorted([column["column_name"], column["type"], column["is_dttm"]] for column in table["columns"])

    def chart(**query):
        query = {"row_limit": 100, "extras": {}, "filters": [], "orderby": [], **query}
        body = {"datasource": {"id": 1, "type": "table"}, "queries": [query], "result_format": "json", "result_type": "full"}
        return sorted(ask("post", "chart/data", **body)["result"][0]["data"], key=str)

    total = {"expressionType": "SQL", "sqlExpression": "sum(amount)::float8", "label": "total"}

    def charts():
        return [
            chart(columns=["owner"], metrics=[total, "count"], orderby=[["count", False]]),
            chart(columns=[], metrics=[total], granularity="created_at", is_timeseries=True, extras={"time_grain_sqla": "P1D"}),
        ]

    def filtered():
        filters = [{"col": "owner", "op": "IN", "val": ["ana", "bo"]}, {"col": "score", "op": ">", "val": 5}]
        return chart(columns=["owner"], metrics=["count"], filters=filters)

    def failure():
        try:
            chart(columns=[], metrics=[{**total, "sqlExpression": "sum(nothing)"}])
        except RuntimeError as error:
            return 'column \\"nothing\\" does not exist' in str(error) or str(error)
        return "no error"

    functions = {"connect": connect, "list": tables, "describe": described, "query": charts, "parameters": filtered, "error": failure}
    return outcomes(functions, lambda text: text[:300])


if __name__ == "__main__":
    main()
