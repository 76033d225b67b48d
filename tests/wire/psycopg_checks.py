"""What programs do with psycopg 3, against a running server. Run by psycopg.rs; the argument is the DSN."""

import datetime
import decimal
import sys
import threading
import uuid

import psycopg
from psycopg import errors, pq
from psycopg.rows import dict_row
from psycopg.types.json import Json

DSN = sys.argv[1]


def connect(**options):
    return psycopg.connect(DSN, **options)


def types_both_ways():
    with connect(autocommit=True) as connection:
        connection.execute(
            """CREATE TABLE typed (id int PRIMARY KEY, big bigint, n numeric(12,3), f double precision, b boolean, t text,
               by bytea, d date, tm time, ts timestamp, tz timestamptz, iv interval, u uuid, tags text[], nums int[], j jsonb)"""
        )
        values = (
            1,
            2**62,
            decimal.Decimal("-1234.500"),
            0.1,
            True,
            "Grüße",
            b"\x00\xff",
            datetime.date(2026, 1, 2),
            datetime.time(3, 4, 5, 600),
            datetime.datetime(2026, 1, 2, 3, 4, 5, 123456),
            datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
            datetime.timedelta(days=2, seconds=3, microseconds=4),
            uuid.UUID(int=42),
            ["a b", None, '"{}'],
            [1, 2, 3],
        )
        placeholders = ", ".join(["%s"] * len(values))
        connection.execute(f"INSERT INTO typed VALUES ({placeholders}, %s)", (*values, Json({"k": [1, None]})))
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            row = cursor.execute("SELECT * FROM typed").fetchone()
            # uuid and jsonb are kept as text: columns of tables say so.
            got = list(row[:15])
            got[12] = uuid.UUID(str(got[12]))
            assert tuple(got) == values, (binary, got)
            assert '"k"' in str(row[15]) or row[15] == {"k": [1, None]}, row[15]
        # Parameters sent as binary.
        row = connection.execute(
            "SELECT %b::bigint + 1, %b || '!', %b::numeric(12,3), %b::timestamp, %b::boolean",
            (41, "hi", decimal.Decimal("1.250"), datetime.datetime(2026, 1, 1), False),
        ).fetchone()
        assert row == (42, "hi!", decimal.Decimal("1.250"), datetime.datetime(2026, 1, 1), False), row
        row = connection.execute("SELECT %s::int, NULL, count(*) FROM typed", (None,)).fetchone()
        assert row == (None, None, 1), row


def server_side_preparing():
    # The fifth use of a statement prepares it under a name.
    with connect(autocommit=True) as connection:
        for n in range(12):
            assert connection.execute("SELECT %s::int * 2", (n,)).fetchone() == (2 * n,)
        assert connection.execute("SELECT 'x' WHERE %s > 1", (2,), prepare=True).fetchall() == [("x",)]


def blocks():
    # psycopg opens a block before the first statement by itself.
    with connect() as connection, connect(autocommit=True) as other:
        connection.execute("CREATE TABLE blocks (k int PRIMARY KEY, v text)")
        connection.commit()
        connection.execute("INSERT INTO blocks VALUES (1, 'a')")
        assert other.execute("SELECT count(*) FROM blocks").fetchone() == (0,)
        connection.commit()
        assert other.execute("SELECT v FROM blocks").fetchall() == [("a",)]
        connection.execute("DELETE FROM blocks")
        connection.rollback()
        assert other.execute("SELECT count(*) FROM blocks").fetchone() == (1,)
        try:
            connection.execute("INSERT INTO blocks VALUES (1, 'again')")
        except errors.UniqueViolation as error:
            assert error.diag.message_detail == "Key (k)=(1) already exists.", error.diag.message_detail
        else:
            raise AssertionError("a duplicate key was accepted")
        assert connection.info.transaction_status == pq.TransactionStatus.INERROR
        try:
            connection.execute("SELECT 1")
        except errors.InFailedSqlTransaction:
            connection.rollback()
        else:
            raise AssertionError("a failed block went on")
        with connection.transaction():
            connection.execute("INSERT INTO blocks VALUES (2, 'b')")
        assert other.execute("SELECT count(*) FROM blocks").fetchone() == (2,)


def many_at_once():
    with connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE many (n int, label text)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO many VALUES (%s, %s)", [(n, f"row {n}") for n in range(200)])
        with connection.pipeline():
            cursors = [connection.execute("SELECT label FROM many WHERE n = %s", (n,)) for n in range(20)]
        assert [cursor.fetchone() for cursor in cursors] == [(f"row {n}",) for n in range(20)]
        # A pipeline that fails half-way goes on after its next sync.
        try:
            with connection.pipeline() as pipeline:
                connection.execute("SELECT 1")
                connection.execute("SELECT 1/0")
                pipeline.sync()
        except errors.DivisionByZero:
            pass
        else:
            raise AssertionError("division by zero went unnoticed")
        cursor = connection.cursor(row_factory=dict_row)
        assert cursor.execute("SELECT count(*) AS n, max(label) AS last FROM many").fetchone() == {"n": 200, "last": "row 99"}
        cursor = connection.cursor()
        cursor.execute("SELECT 1; SELECT 2, 3")
        assert cursor.fetchall() == [(1,)] and cursor.nextset() and cursor.fetchall() == [(2, 3)]


def cursors_of_the_server():
    with connect() as connection:
        with connection.cursor(name="slow") as cursor:
            cursor.itersize = 50
            cursor.execute("SELECT n FROM many ORDER BY n")
            assert [column.name for column in cursor.description] == ["n"]
            assert [n for (n,) in cursor] == list(range(200))
        with connection.cursor(name="binary", binary=True) as cursor:
            cursor.execute("SELECT n, label FROM many WHERE n < %s ORDER BY n", (3,))
            assert cursor.fetchmany(2) == [(0, "row 0"), (1, "row 1")]


def copying_out():
    with connect(autocommit=True) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT n, label, NULL FROM many WHERE n < 3 ORDER BY n) TO STDOUT") as copy:
            assert list(copy.rows()) == [("0", "row 0", None), ("1", "row 1", None), ("2", "row 2", None)]


def a_live_stream():
    with connect(autocommit=True) as reader, connect(autocommit=True) as writer:
        writer.execute("CREATE TABLE ticks (k int)")
        writer.execute("CREATE MATERIALIZED VIEW ticked AS SELECT count(*) AS n FROM ticks")
        writer.execute("INSERT INTO ticks VALUES (0)")
        rows = reader.cursor().stream("SUBSCRIBE ticked")
        assert next(rows)[1:] == (1, 1)
        for k in range(1, 4):
            writer.execute("INSERT INTO ticks VALUES (%s)", (k,))
            assert [next(rows)[1:], next(rows)[1:]] == [(-1, k), (1, k + 1)]
        # Leaving the generator cancels the statement; the connection goes on.
        rows.close()
        assert reader.execute("SELECT n FROM ticked").fetchone() == (4,)


def cancelling():
    with connect(autocommit=True) as connection:
        started = threading.Event()

        def cancel():
            started.wait()
            # Early cancels reach nothing and are forgotten.
            while not done.wait(0.01):
                connection.cancel_safe()

        done = threading.Event()
        thread = threading.Thread(target=cancel)
        thread.start()
        started.set()
        try:
            connection.execute("SUBSCRIBE TO (SELECT k FROM ticks WHERE k < 0)")
        except errors.QueryCanceled:
            pass
        else:
            raise AssertionError("the statement ended by itself")
        finally:
            done.set()
            thread.join()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def notices_and_errors():
    with connect(autocommit=True) as connection:
        notices = []
        connection.add_notice_handler(lambda diagnostic: notices.append((diagnostic.severity, diagnostic.message_primary)))
        connection.execute("DROP TABLE IF EXISTS nosuch")
        assert notices == [("NOTICE", 'table "nosuch" does not exist, skipping')], notices
        for sql, expected in [
            ("SELECT * FROM nosuch", errors.UndefinedTable),
            ("SELECT nosuch FROM many", errors.UndefinedColumn),
            ("SELEC 1", errors.SyntaxError),
            ("SELECT 1/0", errors.DivisionByZero),
            ("SELECT 'x'::int", errors.InvalidTextRepresentation),
            ("CREATE INDEX ON many (n)", errors.FeatureNotSupported),
        ]:
            try:
                connection.execute(sql)
            except expected:
                continue
            raise AssertionError(f"{sql} did not raise {expected.__name__}")


for check in [
    types_both_ways,
    server_side_preparing,
    blocks,
    many_at_once,
    cursors_of_the_server,
    copying_out,
    a_live_stream,
    cancelling,
    notices_and_errors,
]:
    check()
    print(f"{check.__name__}: good", flush=True)
print("all passed")
