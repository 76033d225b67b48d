//! Sockets that have not started a session yet: bounded in number, and never in the way of those that do start.
//!
//! A stranger can open sockets and say nothing. Such a socket takes no session's place, and when there are too many of
//! them it is one of the silent who has to go, not who comes: the oldest of the address that holds most. A client that
//! means it sends its start-up message at once, and so is almost never the oldest.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// All sockets that are starting up.
#[derive(Debug)]
pub struct Starting {
    sockets_max: usize,
    sockets: Mutex<Sockets>,
}

#[derive(Debug, Default)]
struct Sockets {
    /// In order of arrival.
    waiting: BTreeMap<u64, Socket>,
    arrived: u64,
}

#[derive(Debug)]
struct Socket {
    address: IpAddr,
    /// Dropped to send it away.
    _stays: oneshot::Sender<()>,
}

/// A socket's place among those that start up, given up when dropped.
#[derive(Debug)]
pub struct Place {
    starting: Arc<Starting>,
    number: u64,
    stays: oneshot::Receiver<()>,
}

impl Starting {
    pub fn new(sockets_max: usize) -> Self {
        assert!(sockets_max > 0, "who comes needs a place");
        Starting { sockets_max, sockets: Mutex::default() }
    }

    /// A place for a socket that has just been accepted; if all are taken, another socket loses its own.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let mut sockets = self.lock();
        if sockets.waiting.len() >= self.sockets_max {
            sockets.send_one_away();
        }
        let (sender, stays) = oneshot::channel();
        let number = sockets.arrived;
        sockets.arrived += 1;
        sockets.waiting.insert(number, Socket { address, _stays: sender });
        Place { starting: self.clone(), number, stays }
    }

    fn lock(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().expect("no panic while the sockets are locked")
    }
}

impl Sockets {
    fn send_one_away(&mut self) {
        let mut held: BTreeMap<IpAddr, usize> = BTreeMap::new();
        self.waiting.values().for_each(|socket| *held.entry(socket.address).or_default() += 1);
        let most = held.values().copied().max().unwrap_or_default();
        let oldest = self.waiting.iter().find(|(_, socket)| held[&socket.address] == most).map(|(number, _)| *number);
        if let Some(number) = oldest {
            self.waiting.remove(&number);
        }
    }
}

impl Place {
    /// Waits until the place is lost to someone else.
    pub async fn lost(&mut self) {
        // The other half is only ever dropped.
        let _ = (&mut self.stays).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.starting.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn is_lost(place: &mut Place) -> bool {
        place.stays.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_oldest_goes_when_all_places_are_taken() {
        let starting = Arc::new(Starting::new(2));
        let mut first = starting.enter(address(1));
        let mut second = starting.enter(address(1));
        assert!(first.lost().now_or_never().is_none());
        let mut third = starting.enter(address(1));
        assert!(first.lost().now_or_never().is_some());
        assert!(!is_lost(&mut second));
        drop(second);
        let _fourth = starting.enter(address(1));
        assert!(!is_lost(&mut third), "a place that was given up is free");
    }

    #[test]
    fn who_holds_most_places_loses_one() {
        let starting = Arc::new(Starting::new(3));
        let mut alone = starting.enter(address(1));
        let mut many = [starting.enter(address(2)), starting.enter(address(2))];
        let mut other = starting.enter(address(3));
        assert!(!is_lost(&mut alone));
        assert!(is_lost(&mut many[0]));
        // Equal shares: the oldest.
        let _more = starting.enter(address(4));
        assert!(is_lost(&mut alone));
        assert!(!is_lost(&mut many[1]) && !is_lost(&mut other));
    }
}
