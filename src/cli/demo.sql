-- The demo's objects: an auction site's stream (persons, auctions, bids) and four views over it.
-- {gap_ns} is the time between two events in nanoseconds; event times are the wall clock.

CREATE SOURCE person (
    id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR, "dateTime" TIMESTAMP,
    WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '1 second'
) WITH (connector = 'nexmark', nexmark.table.type = 'Person', nexmark.min.event.gap.in.ns = {gap_ns});

CREATE SOURCE auction (
    id BIGINT, "itemName" VARCHAR, "initialBid" BIGINT, "dateTime" TIMESTAMP, expires TIMESTAMP, seller BIGINT,
    category BIGINT,
    WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '1 second'
) WITH (connector = 'nexmark', nexmark.table.type = 'Auction', nexmark.min.event.gap.in.ns = {gap_ns});

CREATE SOURCE bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, "dateTime" TIMESTAMP,
    WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '1 second'
) WITH (connector = 'nexmark', nexmark.table.type = 'Bid', nexmark.min.event.gap.in.ns = {gap_ns});

-- Bids per channel, in windows of ten seconds.
CREATE MATERIALIZED VIEW bids_per_channel AS
SELECT channel, window_start, window_end, count(*) AS bids, max(price) AS highest, max("dateTime") AS newest
FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds')
WHERE channel IN ('Apple', 'Google', 'Facebook', 'Baidu')
GROUP BY channel, window_start, window_end;

-- The three busiest sellers of the last ten seconds, every two seconds.
CREATE MATERIALIZED VIEW top_sellers AS
SELECT window_start, window_end, seller, auctions, rank
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY auctions DESC, seller) AS rank
    FROM (
        SELECT window_start, window_end, seller, count(*) AS auctions
        FROM HOP(auction, "dateTime", INTERVAL '2 seconds', INTERVAL '10 seconds')
        GROUP BY window_start, window_end, seller
    ) AS counted
) AS ranked
WHERE rank <= 3;

-- Visits of bidders: bids with less than ten seconds between them.
CREATE MATERIALIZED VIEW bidder_sessions AS
SELECT bidder, window_start, window_end, count(*) AS bids, max("dateTime") AS newest
FROM SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR("dateTime"), INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end;

-- Auctions joined with their sellers.
CREATE MATERIALIZED VIEW auctions_by_state AS
SELECT p.state, count(*) AS auctions, avg(a."initialBid") AS average_start, max(a."dateTime") AS newest
FROM auction AS a JOIN person AS p ON a.seller = p.id
GROUP BY p.state;
