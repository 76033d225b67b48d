//! What the demo measures, as a client sees it: rows, events reflected and freshness of each view.
//!
//! Event times are the generator's wall clock, so the newest event in an answer tells how old the answer is: freshness
//! = when the answer arrived − its newest event. It includes the query itself and the gap to the newest event.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::{Client, Error, Statement};

/// View; query giving rows, events (or NULL), newest event time (or NULL).
const QUERIES: [(&str, &str); 4] = [
    ("bids_per_channel", "SELECT count(*), sum(bids)::bigint, max(newest) FROM bids_per_channel"),
    ("top_sellers", "SELECT count(*), NULL::bigint, NULL::timestamp FROM top_sellers"),
    ("bidder_sessions", "SELECT count(*), sum(bids)::bigint, max(newest) FROM bidder_sessions"),
    ("auctions_by_state", "SELECT count(*), sum(auctions)::bigint, max(newest) FROM auctions_by_state"),
];

const CHANNELS: &str = "SELECT channel, bids, highest FROM bids_per_channel \
    WHERE window_start = (SELECT max(window_start) FROM bids_per_channel) ORDER BY bids DESC, channel";
const SELLERS: &str = "SELECT seller, auctions FROM top_sellers \
    WHERE window_start = (SELECT max(window_start) FROM top_sellers) ORDER BY rank";

/// Samples kept per view; older ones go.
const SAMPLES_MAX: usize = 10_000;
/// Rates are over this much time.
const RATE_WINDOW: Duration = Duration::from_secs(2);

pub(super) struct Probes {
    pub(super) views: Vec<View>,
    /// Rows of the newest window: channel, bids, highest price.
    pub(super) channels: Vec<(String, i64, i64)>,
    /// Rows of the newest window: seller, auctions.
    pub(super) sellers: Vec<(i64, i64)>,
    channels_query: Statement,
    sellers_query: Statement,
}

pub(super) struct View {
    pub(super) name: &'static str,
    query: Statement,
    pub(super) rows: i64,
    /// Events the view's rows account for; `None` for a view that does not say.
    pub(super) events: Option<i64>,
    pub(super) freshness: Samples,
    history: VecDeque<(Instant, i64)>,
}

impl Probes {
    pub(super) async fn new(client: &Client) -> Result<Probes, Error> {
        let mut views = vec![];
        for (name, query) in QUERIES {
            let query = client.prepare(query).await?;
            let freshness = Samples::default();
            views.push(View { name, query, rows: 0, events: None, freshness, history: VecDeque::new() });
        }
        Ok(Probes {
            views,
            channels: vec![],
            sellers: vec![],
            channels_query: client.prepare(CHANNELS).await?,
            sellers_query: client.prepare(SELLERS).await?,
        })
    }

    /// Reads every view once.
    pub(super) async fn read(&mut self, client: &Client) -> Result<(), Error> {
        for view in &mut self.views {
            view.read(client).await?;
        }
        let channels = client.query(&self.channels_query, &[]).await?;
        self.channels = channels
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect::<Result<_, Error>>()?;
        let sellers = client.query(&self.sellers_query, &[]).await?;
        self.sellers =
            sellers.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, Error>>()?;
        Ok(())
    }

    /// Bids and auctions that the views account for: each bid is in one session, each auction has one state.
    pub(super) fn events(&self) -> i64 {
        self.views.iter().filter(|view| view.name != "bids_per_channel").filter_map(|view| view.events).sum()
    }

    /// Samples of all views together.
    pub(super) fn freshness(&self) -> Samples {
        Samples(self.views.iter().flat_map(|view| view.freshness.0.iter().copied()).collect())
    }
}

impl View {
    async fn read(&mut self, client: &Client) -> Result<(), Error> {
        let row = client.query_one(&self.query, &[]).await?;
        let arrived = SystemTime::now();
        self.rows = row.try_get(0)?;
        self.events = row.try_get(1)?;
        let newest: Option<SystemTime> = row.try_get(2)?;
        // A clock that steps back gives an age below zero: then the answer is as fresh as can be told.
        if let Some(age) = newest.map(|newest| arrived.duration_since(newest).unwrap_or_default()) {
            self.freshness.push(age);
        }
        let now = Instant::now();
        self.history.push_back((now, self.events.unwrap_or(self.rows)));
        while self.history.len() > 2 && self.history.front().is_some_and(|(at, _)| now - *at > RATE_WINDOW) {
            self.history.pop_front();
        }
        Ok(())
    }

    /// Events a second over the last two seconds.
    pub(super) fn rate(&self) -> Option<f64> {
        self.events?;
        let ((first, from), (last, to)) = (self.history.front()?, self.history.back()?);
        let seconds = (*last - *first).as_secs_f64();
        (seconds > 0.0).then(|| (to - from) as f64 / seconds)
    }
}

/// Ages of answers, newest last.
#[derive(Default)]
pub(super) struct Samples(VecDeque<Duration>);

impl Samples {
    fn push(&mut self, age: Duration) {
        if self.0.len() == SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(age);
    }

    pub(super) fn last(&self) -> Option<Duration> {
        self.0.back().copied()
    }

    /// The smallest sample that at least `percent` of all do not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut samples = Samples::default();
        assert_eq!(samples.percentile(50), None);
        for n in (1..=200).rev() {
            samples.push(Duration::from_millis(n));
        }
        assert_eq!(samples.percentile(50), Some(Duration::from_millis(100)));
        assert_eq!(samples.percentile(99), Some(Duration::from_millis(198)));
        assert_eq!(samples.percentile(100), Some(Duration::from_millis(200)));
        assert_eq!(samples.last(), Some(Duration::from_millis(1)));
    }
}
