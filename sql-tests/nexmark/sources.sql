CREATE SOURCE person (id BIGINT, name VARCHAR, "emailAddress" VARCHAR, "creditCard" VARCHAR, city VARCHAR, state VARCHAR,
  "dateTime" TIMESTAMP, extra VARCHAR, WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '4 seconds')
  WITH (connector = 'file', path = '$DATA/nexmark/person.parquet') FORMAT PLAIN ENCODE PARQUET;
CREATE SOURCE auction (id BIGINT, "itemName" VARCHAR, description VARCHAR, "initialBid" BIGINT, reserve BIGINT,
  "dateTime" TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR,
  WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '4 seconds')
  WITH (connector = 'file', path = '$DATA/nexmark/auction.parquet') FORMAT PLAIN ENCODE PARQUET;
CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, "dateTime" TIMESTAMP,
  extra VARCHAR, WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '4 seconds')
  WITH (connector = 'file', path = '$DATA/nexmark/bid.parquet') FORMAT PLAIN ENCODE PARQUET;
CREATE SOURCE bid_ooo (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, "dateTime" TIMESTAMP,
  extra VARCHAR, WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '4 seconds')
  WITH (connector = 'file', path = '$DATA/nexmark/bid_ooo.parquet') FORMAT PLAIN ENCODE PARQUET;
