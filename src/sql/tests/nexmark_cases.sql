--- agg_avg_double
SELECT channel, CAST(AVG(CAST(price AS DOUBLE)) AS DECIMAL(20,3)) AS av FROM bid WHERE CHAR_LENGTH(channel) < 9 GROUP BY channel;

--- agg_case_when
SELECT CASE WHEN price < 10000 THEN 'low' WHEN price < 1000000 THEN 'mid' ELSE 'high' END AS band, COUNT(*) AS n, SUM(CASE WHEN channel = 'Apple' THEN 1 ELSE 0 END) AS apple FROM bid GROUP BY CASE WHEN price < 10000 THEN 'low' WHEN price < 1000000 THEN 'mid' ELSE 'high' END;

--- agg_decimal
SELECT bidder, SUM(0.908 * price) AS euro, AVG(CAST(price AS DECIMAL(12,2))) AS av FROM bid WHERE MOD(bidder, 10) = 1 GROUP BY bidder;

--- agg_first_last_value
SELECT auction, FIRST_VALUE(price) AS f, LAST_VALUE(price) AS l FROM bid GROUP BY auction;

--- agg_grouping_sets
SELECT state, city, GROUPING_ID(state, city) AS g, COUNT(*) AS n FROM person GROUP BY GROUPING SETS ((state), (city), (state, city), ());

--- agg_nested_retract
SELECT n, COUNT(*) AS auctions, MAX(mx) AS mx, MIN(mx) AS mn FROM (SELECT auction, COUNT(*) AS n, MAX(price) AS mx FROM bid GROUP BY auction) GROUP BY n;

--- agg_retract_minmax
SELECT MIN(n) AS mn, MAX(n) AS mx, CAST(TRUNC(AVG(n)) AS BIGINT) AS av, COUNT(*) AS c FROM (SELECT bidder, COUNT(*) AS n FROM bid GROUP BY bidder);

--- agg_scalar_subquery
SELECT id, "initialBid" FROM auction WHERE "initialBid" > (SELECT 10 * CAST(TRUNC(AVG("initialBid")) AS BIGINT) FROM auction WHERE category = 10 AND MOD(id, 50) = 0);

--- agg_stddev
SELECT category, CAST(TRUNC(STDDEV_POP("initialBid")) AS DECIMAL(20,2)) AS sdp, CAST(TRUNC(STDDEV_SAMP("initialBid")) AS DECIMAL(20,2)) AS sds, CAST(TRUNC(VAR_POP("initialBid") / 1000000) AS DECIMAL(20,2)) AS vp FROM auction GROUP BY category;

--- dedup_first
SELECT bidder, auction, price, "dateTime" FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY "dateTime" ASC) AS rn FROM bid) WHERE rn = 1;

--- dedup_last
SELECT channel, auction, price, "dateTime" FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY channel ORDER BY "dateTime" DESC) AS rn FROM bid) WHERE rn = 1;

--- fn_scalar
SELECT id, UPPER(name) AS u, SUBSTRING("emailAddress" FROM 1 FOR 3) AS s, POSITION('@' IN "emailAddress") AS p, CHAR_LENGTH(extra) AS l, DATE_FORMAT("dateTime", 'yyyy-MM-dd HH:mm') AS d, CAST(FLOOR(EXTRACT(SECOND FROM "dateTime")) AS INT) AS sec, FLOOR("dateTime" TO MINUTE) AS m, TIMESTAMPADD(HOUR, 1, "dateTime") AS h, COALESCE(NULLIF(state, 'OR'), 'x') AS c, name LIKE '%smith' AS isx, TRIM(BOTH '5' FROM "creditCard") AS t FROM person;

--- join_anti_not_exists
SELECT id, name, state FROM person P WHERE NOT EXISTS (SELECT 1 FROM auction A WHERE A.seller = P.id);

--- join_exists_correlated_neq
SELECT A.id, A.seller FROM auction A WHERE EXISTS (SELECT 1 FROM bid B WHERE B.auction = A.id AND B.price > A.reserve);

--- join_inner_agg
SELECT A.category, COUNT(*) AS n, SUM(B.price) AS s, COUNT(DISTINCT B.bidder) AS bidders FROM bid B JOIN auction A ON B.auction = A.id GROUP BY A.category;

--- join_interval_full
SELECT P.id, P."dateTime" AS pt, A.id AS auction, A."dateTime" AS at_ FROM person P FULL OUTER JOIN auction A ON A.seller = P.id AND A."dateTime" BETWEEN P."dateTime" - INTERVAL '2' SECOND AND P."dateTime" + INTERVAL '30' SECOND;

--- join_interval_neq
SELECT P.id, A.id AS auction FROM person P JOIN auction A ON A.seller = P.id AND A."dateTime" > P."dateTime" AND A."dateTime" < P."dateTime" + INTERVAL '3' SECOND AND A."initialBid" > P.id;

--- join_left
SELECT P.id, P.name, A.id AS auction, A."initialBid" FROM person P LEFT JOIN auction A ON A.seller = P.id AND A.category = 10;

--- join_non_equi
SELECT a.id AS id1, b.id AS id2 FROM (SELECT * FROM auction WHERE MOD(id, 300) = 0) a JOIN (SELECT * FROM person WHERE MOD(id, 100) = 0) b ON a.id > b.id * 2;

--- join_right
SELECT P.name, A.id AS auction FROM person P RIGHT JOIN auction A ON A.seller = P.id AND P.state = 'OR';

--- join_semi_in
SELECT id, name, state FROM person WHERE id IN (SELECT seller FROM auction WHERE category = 12);

--- join_temporal_agg
CREATE TEMPORARY VIEW v_auction3 AS SELECT id, seller, category, "dateTime" FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY "dateTime" DESC) AS rn FROM auction) WHERE rn = 1;
SELECT V.category, COUNT(*) AS n, SUM(B.price) AS s FROM bid B JOIN v_auction3 FOR SYSTEM_TIME AS OF B."dateTime" AS V ON B.auction = V.id GROUP BY V.category;

--- join_temporal_channel_rate
CREATE TEMPORARY VIEW v_rate AS SELECT channel, price AS rate, "dateTime" FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY channel ORDER BY "dateTime" DESC) AS rn FROM bid) WHERE rn = 1;
SELECT P.id, P."dateTime", R.rate FROM (SELECT id, CASE MOD(id, 2) WHEN 0 THEN 'Apple' ELSE 'Google' END AS channel, "dateTime" FROM person) P JOIN v_rate FOR SYSTEM_TIME AS OF P."dateTime" AS R ON P.channel = R.channel;

--- join_three_way
SELECT P.state, A.category, COUNT(*) AS n, MAX(B.price) AS mx FROM bid B JOIN auction A ON B.auction = A.id JOIN person P ON A.seller = P.id GROUP BY P.state, A.category;

--- join_values
SELECT B.channel, V.code, COUNT(*) AS n FROM bid B JOIN (VALUES ('Apple', 0), ('Google', 1), ('Facebook', 2), ('Baidu', 3)) AS V (ch, code) ON B.channel = V.ch GROUP BY B.channel, V.code;

--- limit_offset
SELECT id, name FROM person ORDER BY name, id LIMIT 10 OFFSET 5;

--- nexmark_q00
SELECT auction, bidder, price, "dateTime", extra FROM bid;

--- nexmark_q02
SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0;

--- nexmark_q04
SELECT
    Q.category,
    CAST(TRUNC(AVG(Q.final)) AS BIGINT)
FROM (
    SELECT MAX(B.price) AS final, A.category
    FROM auction A, bid B
    WHERE A.id = B.auction AND B."dateTime" BETWEEN A."dateTime" AND A.expires
    GROUP BY A.id, A.category
) Q
GROUP BY Q.category;

--- nexmark_q05
SELECT AuctionBids.auction, AuctionBids.num
 FROM (
   SELECT
     auction,
     count(*) AS num,
     window_start AS starttime,
     window_end AS endtime
     FROM TABLE(
             HOP(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
     GROUP BY auction, window_start, window_end
 ) AS AuctionBids
 JOIN (
   SELECT
     max(CountBids.num) AS maxn,
     CountBids.starttime,
     CountBids.endtime
   FROM (
     SELECT
       count(*) AS num,
       window_start AS starttime,
       window_end AS endtime
     FROM TABLE(
                HOP(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
     GROUP BY auction, window_start, window_end
     ) AS CountBids
   GROUP BY CountBids.starttime, CountBids.endtime
 ) AS MaxBids
 ON AuctionBids.starttime = MaxBids.starttime AND
    AuctionBids.endtime = MaxBids.endtime AND
    AuctionBids.num >= MaxBids.maxn;

--- nexmark_q07
SELECT B.auction, B.price, B.bidder, B."dateTime", B.extra
from bid B
JOIN (
  SELECT MAX(price) AS maxprice, window_end as "dateTime"
  FROM TABLE(
          TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end
) B1
ON B.price = B1.maxprice
WHERE B."dateTime" BETWEEN B1."dateTime"  - INTERVAL '10' SECOND AND B1."dateTime";

--- nexmark_q08
SELECT P.id, P.name, P.starttime
FROM (
  SELECT id, name,
        window_start AS starttime,
        window_end AS endtime
  FROM TABLE(
            TUMBLE(TABLE person, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))
  GROUP BY id, name, window_start, window_end
) P
JOIN (
  SELECT seller,
        window_start AS starttime,
        window_end AS endtime
  FROM TABLE(
        TUMBLE(TABLE auction, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))
  GROUP BY seller, window_start, window_end
) A
ON P.id = A.seller AND P.starttime = A.starttime AND P.endtime = A.endtime;

--- nexmark_q09
SELECT
    id, "itemName", description, "initialBid", reserve, "dateTime", expires, seller, category, extra,
    auction, bidder, price, bid_dateTime, bid_extra
FROM (
   SELECT A.*, B.auction, B.bidder, B.price, B."dateTime" AS bid_dateTime, B.extra AS bid_extra,
     ROW_NUMBER() OVER (PARTITION BY A.id ORDER BY B.price DESC, B."dateTime" ASC) AS rownum
   FROM auction A, bid B
   WHERE A.id = B.auction AND B."dateTime" BETWEEN A."dateTime" AND A.expires
)
WHERE rownum <= 1;

--- nexmark_q11
SELECT
    B.bidder,
    count(*) as bid_count,
    SESSION_START(B."dateTime", INTERVAL '10' SECOND) as starttime,
    SESSION_END(B."dateTime", INTERVAL '10' SECOND) as endtime
FROM bid B
GROUP BY B.bidder, SESSION(B."dateTime", INTERVAL '10' SECOND);

--- nexmark_q14
SELECT 
    auction,
    bidder,
    0.908 * price as price,
    CASE
        WHEN HOUR("dateTime") >= 8 AND HOUR("dateTime") <= 18 THEN 'dayTime'
        WHEN HOUR("dateTime") <= 6 OR HOUR("dateTime") >= 20 THEN 'nightTime'
        ELSE 'otherTime'
    END AS bidTimeType,
    "dateTime",
    extra,
    CAST(CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS BIGINT) AS c_counts
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;

--- nexmark_q16
SELECT
    channel,
    DATE_FORMAT("dateTime", 'yyyy-MM-dd') as "day",
    max(DATE_FORMAT("dateTime", 'HH:mm')) as "minute",
    count(*) AS total_bids,
    count(*) filter (where price < 10000) AS rank1_bids,
    count(*) filter (where price >= 10000 and price < 1000000) AS rank2_bids,
    count(*) filter (where price >= 1000000) AS rank3_bids,
    count(distinct bidder) AS total_bidders,
    count(distinct bidder) filter (where price < 10000) AS rank1_bidders,
    count(distinct bidder) filter (where price >= 10000 and price < 1000000) AS rank2_bidders,
    count(distinct bidder) filter (where price >= 1000000) AS rank3_bidders,
    count(distinct auction) AS total_auctions,
    count(distinct auction) filter (where price < 10000) AS rank1_auctions,
    count(distinct auction) filter (where price >= 10000 and price < 1000000) AS rank2_auctions,
    count(distinct auction) filter (where price >= 1000000) AS rank3_auctions
FROM bid
GROUP BY channel, DATE_FORMAT("dateTime", 'yyyy-MM-dd');

--- nexmark_q18
SELECT auction, bidder, price, channel, url, "dateTime", extra
 FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY "dateTime" DESC) AS rank_number
       FROM bid)
 WHERE rank_number <= 1;

--- nexmark_q20
SELECT
    auction, bidder, price, channel, url, B."dateTime", B.extra,
    "itemName", description, "initialBid", reserve, A."dateTime", expires, seller, category, A.extra
FROM
    bid AS B INNER JOIN auction AS A on B.auction = A.id
WHERE A.category = 10;

--- nexmark_q22
SELECT
    auction, bidder, price, channel,
    SPLIT_INDEX(url, '/', 3) as dir1,
    SPLIT_INDEX(url, '/', 4) as dir2,
    SPLIT_INDEX(url, '/', 5) as dir3 FROM bid;

--- over_count_distinct
SELECT auction, "dateTime", COUNT(DISTINCT bidder) OVER (PARTITION BY auction ORDER BY "dateTime" ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS d FROM bid WHERE MOD(auction, 3) = 0;

--- over_first_last
SELECT auction, "dateTime", FIRST_VALUE(price) OVER w AS f, LAST_VALUE(price) OVER w AS l FROM bid WHERE MOD(auction, 3) = 0 WINDOW w AS (PARTITION BY auction ORDER BY "dateTime" ROWS BETWEEN 3 PRECEDING AND CURRENT ROW);

--- over_no_partition
SELECT id, COUNT(*) OVER (ORDER BY "dateTime" RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) AS n FROM person;

--- over_range_ooo
SELECT bidder, "dateTime", price, COUNT(*) OVER (PARTITION BY bidder ORDER BY "dateTime" RANGE BETWEEN INTERVAL '5' SECOND PRECEDING AND CURRENT ROW) AS n FROM bid_ooo WHERE MOD(bidder, 3) = 0;

--- over_row_number
SELECT auction, "dateTime", ROW_NUMBER() OVER (PARTITION BY auction ORDER BY "dateTime") AS rn FROM bid WHERE MOD(auction, 3) = 0;

--- over_rows_ooo
SELECT auction, "dateTime", price, SUM(price) OVER (PARTITION BY auction ORDER BY "dateTime" ROWS BETWEEN 5 PRECEDING AND CURRENT ROW) AS s FROM bid_ooo WHERE MOD(auction, 3) = 0;

--- set_except
SELECT bidder FROM bid EXCEPT SELECT seller FROM auction;

--- set_intersect
SELECT seller FROM auction INTERSECT SELECT bidder FROM bid;

--- set_union
SELECT id AS k FROM person WHERE MOD(id, 5) = 0 UNION SELECT seller FROM auction;

--- topn_global
SELECT auction, bidder, price, rn FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY price DESC, "dateTime" ASC) AS rn FROM bid) WHERE rn <= 10;

--- topn_offset_range
SELECT category, id, "initialBid", rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY category ORDER BY "initialBid" ASC, id ASC) AS rn FROM auction) WHERE rn BETWEEN 3 AND 6;

--- topn_retract_input
SELECT m, auction, n, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY m ORDER BY n DESC, auction ASC) AS rn FROM (SELECT auction, MOD(auction, 5) AS m, COUNT(*) AS n FROM bid GROUP BY auction)) WHERE rn <= 4;

--- win_after_interval_join
CREATE TEMPORARY VIEW v_ij AS SELECT B."dateTime" AS rt, B.price, A.category FROM bid B JOIN auction A ON B.auction = A.id AND B."dateTime" BETWEEN A."dateTime" AND A."dateTime" + INTERVAL '20' SECOND;
SELECT window_start, window_end, category, COUNT(*) AS n, MAX(price) AS mx FROM TABLE(TUMBLE(TABLE v_ij, DESCRIPTOR(rt), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, category;

--- win_cube
SELECT window_start, window_end, channel, m, COUNT(*) AS n
FROM (SELECT window_start, window_end, channel, MOD(auction, 2) AS m FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '5' MINUTE)) WHERE channel IN ('Apple','Google'))
GROUP BY window_start, window_end, CUBE(channel, m);

--- win_cumulate_keyed
SELECT window_start, window_end, channel, COUNT(*) AS n, COUNT(DISTINCT bidder) AS b
FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE))
WHERE channel IN ('Apple','Google','Baidu','Facebook') GROUP BY window_start, window_end, channel;

--- win_dedup_last
SELECT window_start, auction, bidder, price, "dateTime" FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, auction ORDER BY "dateTime" DESC) AS rn
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))) WHERE rn = 1;

--- win_grouping_sets
SELECT window_start, window_end, channel, bidder, GROUPING(channel) AS g1, GROUPING(bidder) AS g2, COUNT(*) AS n
FROM (SELECT window_start, window_end, channel, MOD(bidder, 4) AS bidder FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '5' MINUTE)) WHERE channel IN ('Apple','Google'))
GROUP BY window_start, window_end, GROUPING SETS ((channel), (bidder), ());

--- win_hop
SELECT window_start, window_end, auction, COUNT(*) AS n, SUM(price) AS s
FROM TABLE(HOP(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) WHERE MOD(auction, 10) = 0 GROUP BY window_start, window_end, auction;

--- win_hop_global_minmax
SELECT window_start, window_end, COUNT(*) AS n, MIN(price) AS mn, MAX(price) AS mx, CAST(TRUNC(AVG(price)) AS BIGINT) AS av, COUNT(DISTINCT channel) AS ch
FROM TABLE(HOP(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end;

--- win_hop_passthrough
SELECT auction, price, window_start, window_end
FROM TABLE(HOP(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) WHERE MOD(auction, 500) = 0;

--- win_join_full
SELECT COALESCE(L.window_start, R.window_start) AS ws, L.auction AS l_auction, L.n AS l_n, R.auction AS r_auction, R.n AS r_n FROM
 (SELECT window_start, window_end, auction, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '30' SECOND)) WHERE channel = 'Apple' GROUP BY window_start, window_end, auction) L
 FULL JOIN (SELECT window_start, window_end, auction, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '30' SECOND)) WHERE channel = 'Google' GROUP BY window_start, window_end, auction) R
 ON L.auction = R.auction AND L.window_start = R.window_start AND L.window_end = R.window_end;

--- win_join_left
SELECT P.window_start, P.id, P.name, A.id AS auction FROM
 (SELECT * FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))) P
 LEFT JOIN (SELECT * FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND))) A
 ON A.seller = P.id AND A.window_start = P.window_start AND A.window_end = P.window_end;

--- win_legacy_hop
SELECT HOP_START("dateTime", INTERVAL '5' SECOND, INTERVAL '20' SECOND) AS ws, HOP_END("dateTime", INTERVAL '5' SECOND, INTERVAL '20' SECOND) AS we, COUNT(*) AS n, SUM(price) AS s
FROM bid GROUP BY HOP("dateTime", INTERVAL '5' SECOND, INTERVAL '20' SECOND);

--- win_legacy_tumble
SELECT TUMBLE_START("dateTime", INTERVAL '10' SECOND) AS ws, TUMBLE_END("dateTime", INTERVAL '10' SECOND) AS we, channel, COUNT(*) AS n
FROM bid WHERE CHAR_LENGTH(channel) < 9 GROUP BY TUMBLE("dateTime", INTERVAL '10' SECOND), channel;

--- win_ooo_session
SELECT window_start, window_end, bidder, COUNT(*) AS n, SUM(price) AS s
FROM TABLE(SESSION(TABLE bid_ooo PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '2' SECOND)) GROUP BY window_start, window_end, bidder;

--- win_rollup
SELECT window_start, window_end, channel, MOD(auction, 3) AS m, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '5' MINUTE)) WHERE channel IN ('Apple','Google')
GROUP BY window_start, window_end, ROLLUP(channel, MOD(auction, 3));

--- win_session_tvf
SELECT window_start, window_end, bidder, COUNT(*) AS n, SUM(price) AS s
FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, bidder;

--- win_topn
SELECT window_start, window_end, auction, n, rn FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, auction ASC) AS rn FROM (
    SELECT window_start, window_end, auction, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, auction)) WHERE rn <= 3;

--- win_tumble
SELECT window_start, window_end, auction, COUNT(*) AS n, SUM(price) AS s, MIN(price) AS mn, MAX(price) AS mx, CAST(TRUNC(AVG(price)) AS BIGINT) AS av
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, auction;

--- win_tumble_global_distinct
SELECT window_start, window_end, COUNT(*) AS n, COUNT(DISTINCT bidder) AS bidders, COUNT(DISTINCT auction) FILTER (WHERE price > 100000) AS pricey, SUM(DISTINCT price) AS sd
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;

--- win_tumble_named_args
SELECT window_start, channel, COUNT(*) AS n
FROM TABLE(TUMBLE(DATA => TABLE bid, TIMECOL => DESCRIPTOR("dateTime"), SIZE => INTERVAL '2' MINUTE))
WHERE channel IN ('Apple','Google') GROUP BY window_start, window_end, channel;

--- win_tumble_offset
SELECT window_start, window_end, window_time, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR("dateTime"), INTERVAL '10' SECOND, INTERVAL '3' SECOND)) GROUP BY window_start, window_end, window_time;
