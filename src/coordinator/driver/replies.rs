//! Who waits for an answer of the machine. A client that has gone does not wait: answers to it are dropped.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::Sender;

use tokio::sync::oneshot;
use types::{Epoch, ObjectId};

use crate::machine::{JoinPoint, Ticket};

pub enum Reply<H> {
    Epoch(oneshot::Sender<Epoch>),
    Done(oneshot::Sender<()>),
    Marker(Sender<()>),
    Histories(Sender<BTreeMap<ObjectId, H>>),
    Join(Sender<JoinPoint<H>>),
}

pub(super) struct Replies<H>(HashMap<Ticket, Reply<H>>);

impl<H> Default for Replies<H> {
    fn default() -> Self {
        Replies(HashMap::new())
    }
}

impl<H> Replies<H> {
    pub fn wait(&mut self, ticket: Ticket, reply: Reply<H>) {
        self.0.insert(ticket, reply);
    }

    pub fn forget(&mut self, ticket: Ticket) {
        self.0.remove(&ticket);
    }

    pub fn epoch(&mut self, ticket: Ticket, epoch: Epoch) {
        if let Some(Reply::Epoch(reply)) = self.0.remove(&ticket) {
            let _ = reply.send(epoch);
        }
    }

    pub fn done(&mut self, ticket: Ticket) {
        match self.0.remove(&ticket) {
            Some(Reply::Done(reply)) => drop(reply.send(())),
            Some(Reply::Marker(reply)) => drop(reply.send(())),
            Some(Reply::Epoch(_) | Reply::Histories(_) | Reply::Join(_)) | None => {}
        }
    }

    pub fn take_done(&mut self, ticket: Ticket) -> Option<oneshot::Sender<()>> {
        match self.0.remove(&ticket) {
            Some(Reply::Done(reply)) => Some(reply),
            Some(Reply::Marker(_) | Reply::Epoch(_) | Reply::Histories(_) | Reply::Join(_)) | None => None,
        }
    }

    pub fn histories(&mut self, ticket: Ticket, histories: BTreeMap<ObjectId, H>) {
        if let Some(Reply::Histories(reply)) = self.0.remove(&ticket) {
            let _ = reply.send(histories);
        }
    }

    pub fn joined(&mut self, ticket: Ticket, point: JoinPoint<H>) {
        if let Some(Reply::Join(reply)) = self.0.remove(&ticket) {
            let _ = reply.send(point);
        }
    }
}
