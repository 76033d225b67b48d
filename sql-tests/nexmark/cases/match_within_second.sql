-- answers from Apache Flink 2.3.0, streaming mode; sources as in ../sources.sql
-- Flink asked for WITHIN one second, which leaves out a span of exactly one second; here it is inside
-- result types: BIGINT, BIGINT, BIGINT NOT NULL, BIGINT, TIMESTAMP(3) *ROWTIME*, TIMESTAMP(3) *ROWTIME*
-- changelog rows: 4304, of them retractions: 0; final rows: 4304
SELECT * FROM bid MATCH_RECOGNIZE (PARTITION BY auction ORDER BY "dateTime"
  MEASURES A.price AS a, COUNT(B.price) AS nb, C.price AS c, A."dateTime" AS t0, C."dateTime" AS t1
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C) WITHIN INTERVAL '0.999' SECOND
  DEFINE A AS A.price > 10000000, B AS B.price <= 10000000, C AS C.price > 10000000);
