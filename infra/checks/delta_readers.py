"""Reads tables that Seam wrote with Python's deltalake and Polars, at every version, and compares with what Seam says of them.

usage: delta_readers.py DIRECTORY        DIRECTORY holds the tables and expected.json; exit 3: the packages are not installed
"""

import json
import pathlib
import sys

try:
    import deltalake
    import polars
except ImportError as missing:
    print(f"{missing}; try: pip install deltalake polars")
    sys.exit(3)


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {found!r}, expected {expected!r}")


def check_version(root, expected):
    """One version of one table: its files, positions, columns and numbers."""
    version, name = expected["version"], f"{root.name} version {expected['version']}"
    table = deltalake.DeltaTable(str(root), version=version)
    files = sorted(pathlib.Path(uri).name for uri in table.file_uris())
    check(f"{name}: files", files, sorted(expected["files"]))
    for app_id, position in expected["positions"].items():
        check(f"{name}: position of {app_id}", table.transaction_version(app_id), position)
    rows = polars.read_delta(str(root), version=version)
    check(f"{name}: rows", rows.height, expected["rows"])
    check(f"{name}: columns", [f.name for f in table.schema().fields], rows.columns)
    for column, total in expected["totals"].items():
        check(f"{name}: total of {column}", str(rows[column].sum()), total)
    for column, (first, last) in expected["ranges"].items():
        microseconds = rows[column].dt.epoch("us")
        check(f"{name}: range of {column}", [microseconds.min(), microseconds.max()], [first, last])
        later = polars.scan_delta(str(root), version=version).filter(polars.col(column) == rows[column].max())
        check(f"{name}: rows at the end of {column}", later.collect().height, (microseconds == last).sum())
    column = expected["texts"]["column"]
    texts = sorted({"null" if text is None else "=" + text for text in rows[column].to_list()})
    check(f"{name}: texts of {column}", texts, sorted(expected["texts"]["values"]))


def main():
    directory = pathlib.Path(sys.argv[1])
    expectations = json.loads((directory / "expected.json").read_text())
    for expected in expectations:
        check_version(directory / expected["table"], expected)
    print(f"{len(expectations)} versions read by deltalake {deltalake.__version__} and polars {polars.__version__}")


main()
