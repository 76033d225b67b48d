//! Sources: what their feeds brought moves their history and their watermark with the epoch that takes it.
//! Admission has already decided row by row; nothing is decided here.

use std::collections::BTreeMap;

use types::{ObjectId, WATERMARK_END, WATERMARK_NONE, Watermarks};

use super::effect::SourceState;
use super::epoch::{Entering, Opening};
use super::{Chunk, Effect, History, Machine};

/// What does not change about a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceOptions {
    /// It has an event time.
    pub has_time: bool,
    /// `freshness = 'bound'`: its epochs are logged before anybody sees them.
    pub bound: bool,
}

pub(super) struct Source<H: History> {
    pub state: SourceState<H>,
    pub options: SourceOptions,
}

impl<H: History> Machine<H> {
    pub(super) fn add_source(&mut self, source: ObjectId, state: SourceState<H>, options: SourceOptions) {
        self.sources.insert(source, Source { state, options });
    }

    pub(super) fn remove_source(&mut self, id: ObjectId) {
        self.sources.remove(&id);
        let (gone, kept) = std::mem::take(&mut self.chunks).into_iter().partition(|chunk| chunk.source == id);
        self.chunks = kept;
        let gone: Vec<Chunk<H>> = gone;
        self.effects.extend(gone.into_iter().map(|chunk| Effect::ForgetChunk(chunk.ticket)));
    }

    pub(super) fn take_chunk(&mut self, chunk: Chunk<H>, opening: &mut Opening<H>) {
        let Some(source) = self.sources.get_mut(&chunk.source) else {
            self.effects.push(Effect::ForgetChunk(chunk.ticket));
            return;
        };
        opening.urgent |= source.options.bound;
        let state = &mut source.state;
        if chunk.admission.is_some() {
            state.admission = chunk.admission;
        }
        match chunk.repeats {
            Some(through) => drop(state.pending.drain(..through)),
            None => {
                assert!(state.pending.is_empty(), "what was logged is repeated before anything new");
                opening.logged.entry(chunk.source).or_default().extend(chunk.events.iter().cloned());
            }
        }
        chunk.events.into_iter().for_each(|event| state.history.push(event));
        state.ended |= chunk.ended;
        if source.options.has_time || chunk.ended {
            let before = state.watermark.unwrap_or(WATERMARK_NONE);
            let after = if chunk.ended { WATERMARK_END } else { chunk.watermark };
            if after > before {
                state.watermark = Some(after);
            }
        }
        opening.touched.insert(chunk.source);
        opening.touched.extend(chunk.relations);
        opening.rows += chunk.rows;
        opening.bytes += chunk.bytes;
        let (ticket, watermark) = (chunk.ticket, state.watermark);
        opening.entering.push(Entering::Chunk { ticket, source: chunk.source, watermark });
    }

    pub(super) fn histories(&self, dataflow: ObjectId) -> BTreeMap<ObjectId, H> {
        let roots = self.dataflows.get(&dataflow).map(|d| &d.roots).into_iter().flatten();
        roots.filter_map(|root| self.sources.get(root).map(|s| (*root, s.state.history.clone()))).collect()
    }

    pub(super) fn watermarks(&self) -> Watermarks {
        let mut watermarks = Watermarks::default();
        for (id, source) in &self.sources {
            if let Some(watermark) = source.state.watermark {
                watermarks.set(*id, watermark);
            }
        }
        for (id, watermark) in &self.table_watermarks {
            watermarks.set(*id, *watermark);
        }
        watermarks
    }
}
