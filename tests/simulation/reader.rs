//! A simulated reader: pins an epoch for some relations, waits until they are sealed there, perhaps dawdles, and compares
//! what it finds with what must be there.

use coordinator::oracle::Pin;
use rand::Rng;
use types::ObjectId;

use crate::rows::contents;
use crate::world::World;

pub struct Reader {
    relations: Vec<ObjectId>,
    pin: Pin,
    /// Steps it takes its time for, once it could read.
    patience: u32,
}

impl Reader {
    /// Of what the catalog shows.
    pub fn new(world: &mut World<'_, '_>) -> Reader {
        let mut relations = world.readable();
        relations.retain(|_| world.rng.random_bool(0.6));
        let pin = world.oracle.pin(&relations);
        world.model.show(pin.epoch());
        Reader { relations, pin, patience: world.rng.random_range(0..6) }
    }

    /// True once it is over.
    pub fn step(&mut self, world: &mut World<'_, '_>) -> bool {
        let epoch = self.pin.epoch();
        let gone = |id: &ObjectId| world.oracle.frontier(*id).is_none();
        if self.relations.iter().any(gone) {
            return true;
        }
        for id in &self.relations {
            if world.oracle.failure(*id).is_some() {
                world.allow_failure(*id);
                return true;
            }
            if world.oracle.frontier(*id).is_some_and(|frontier| frontier < epoch) {
                return false;
            }
        }
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        let expected = world.model.contents(epoch);
        for id in &self.relations {
            let found = contents(world.shards(*id), epoch);
            assert_eq!(found, expected[id], "relation {id} at epoch {epoch}");
            world.model.checks += 1;
        }
        true
    }
}
