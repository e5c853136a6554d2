"""What SQLAlchemy, and so pandas, Superset and their like, ask: the catalog, reflected tables, lists, cursors of the server."""
import datetime
import decimal
import sys

import sqlalchemy as sa

engine = sa.create_engine(f"postgresql+psycopg://reader:open%20sesame@127.0.0.1:{sys.argv[1]}/air")
utc = datetime.timezone.utc
about = sa.inspect(engine)
assert sorted(about.get_table_names()) == ["by_carrier", "seam_pipeline"], about.get_table_names()
assert about.get_table_names(schema="public") and about.get_schema_names() == ["information_schema", "public"]
assert about.has_table("by_carrier") and not about.has_table("nothing")
columns = {column["name"]: str(column["type"]) for column in about.get_columns("by_carrier")}
assert columns["fare_sum"] == "NUMERIC(38, 2)" and columns["flights"] == "BIGINT", columns
assert about.get_pk_constraint("by_carrier")["constrained_columns"] == []
for nothing in ("get_foreign_keys", "get_indexes", "get_unique_constraints", "get_check_constraints"):
    assert getattr(about, nothing)("by_carrier") == [], nothing
assert about.get_view_names() == [] and about.get_enums() == []

metadata = sa.MetaData()
metadata.reflect(bind=engine)
table = metadata.tables["by_carrier"]
with engine.connect() as connection:
    start = datetime.datetime(2026, 1, 1, tzinfo=utc)
    query = (
        sa.select(table.c.carrier, sa.func.sum(table.c.flights))
        .where(table.c.carrier.in_(["UA", "AA"]), table.c.time > start, table.c.fare_sum > decimal.Decimal("-99999.5"))
        .group_by(table.c.carrier)
        .order_by(table.c.carrier)
        .limit(5)
    )
    rows = connection.execute(query).all()
    assert [row[0] for row in rows] == ["AA", "UA"], rows
    listed = sa.text("SELECT carrier, sum(flights) FROM by_carrier WHERE carrier = ANY(:some) GROUP BY 1 ORDER BY 1")
    assert connection.execute(listed, {"some": ["UA", "AA"]}).all() == rows
    chart = """SELECT DATE_TRUNC('hour', pane_start) AS hour, SUM(flights) AS "SUM(flights)" FROM public.by_carrier
               WHERE pane_start >= TO_TIMESTAMP('2026-01-01 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')
               GROUP BY DATE_TRUNC('hour', pane_start) ORDER BY "SUM(flights)" DESC LIMIT 1000"""
    assert sum(row[1] for row in connection.execute(sa.text(chart))) == 3000
with engine.connect().execution_options(stream_results=True, max_row_buffer=50) as connection:
    assert sum(row[0] for row in connection.execute(sa.text("SELECT flights FROM by_carrier"))) == 3000
print("all well")
