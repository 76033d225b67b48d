//! The machine alone: a script of inputs, the effects as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};
use types::ObjectId;

use super::*;

/// Events are their own text.
#[derive(Debug, Clone, Default, PartialEq)]
struct Lines(Vec<String>);

impl History for Lines {
    type Event = String;
    type Admission = ();

    fn push(&mut self, event: String) {
        self.0.push(event);
    }
}

struct Script {
    machine: Machine<Lines>,
    now: Now,
    durable: u64,
    tickets: u64,
    shown: String,
}

const SOURCE: ObjectId = ObjectId(1);
const TABLE: ObjectId = ObjectId(2);
const VIEW: ObjectId = ObjectId(3);

impl Script {
    /// A machine at epoch 10 with a source, a table and, over both, a view; all sealed.
    fn new(bound: bool) -> Script {
        let start = Start {
            epoch: 10,
            incarnation: 1,
            wall_time_us: 0,
            table_position: 0,
            table_watermarks: BTreeMap::new(),
            checkpoint_interval: Duration::from_secs(10),
            checkpoint_input_bytes: 1_000,
        };
        let machine = Machine::new(start);
        let mut script = Script { machine, now: Now::default(), durable: 0, tickets: 0, shown: String::new() };
        let pending = VecDeque::from([]);
        let state = SourceState { history: Lines::default(), admission: None, watermark: None, ended: false, pending };
        let options = SourceOptions { has_time: true, bound };
        script.step(Input::AddSource { source: SOURCE, state, options });
        script.create(TABLE, &[TABLE], Readable::AtOnce);
        script.create(VIEW, &[SOURCE, TABLE], Readable::AtOnce);
        script.step(Input::Recovered);
        script.tick();
        script.seal(&[TABLE, VIEW], 11);
        script.shown.clear();
        script
    }

    fn step(&mut self, input: Input<Lines>) -> &mut Script {
        for effect in self.machine.step(self.now, input) {
            show(&mut self.shown, &effect);
        }
        self
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn tick(&mut self) -> &mut Script {
        self.now.wall_us += 1_000;
        self.now.elapsed += Duration::from_millis(1);
        let durable = self.durable;
        self.step(Input::Tick { durable })
    }

    fn create(&mut self, relation: ObjectId, inputs: &[ObjectId], readable: Readable) -> &mut Script {
        let ticket = self.ticket();
        let inputs = inputs.to_vec();
        self.step(Input::Create(Create { ticket, relation, inputs, operators: 1, readable, temporary: false }))
    }

    fn seal(&mut self, dataflows: &[ObjectId], epoch: Epoch) -> &mut Script {
        dataflows.iter().for_each(|dataflow| {
            self.step(Input::Sealed { dataflow: *dataflow, epoch });
        });
        self
    }

    fn write(&mut self, position: u64) -> &mut Script {
        let ticket = self.ticket();
        let tables = vec![(TABLE, None)];
        self.step(Input::Wrote(Write { ticket, position, tables, rows: 1, bytes: 10, awaited: true }))
    }

    fn chunk(&mut self, event: &str) -> &mut Script {
        let ticket = self.ticket();
        let relations = BTreeSet::from([SOURCE]);
        let (source, events, admission) = (SOURCE, vec![event.to_string()], None);
        let (watermark, ended, repeats) = (5, false, None);
        let chunk =
            Chunk { ticket, source, relations, rows: 1, bytes: 10, events, repeats, admission, watermark, ended };
        self.step(Input::Chunk(chunk))
    }

    fn durable(&mut self, position: u64) -> &mut Script {
        self.durable = position;
        self.tick()
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.shown);
    }
}

fn show(out: &mut String, effect: &Effect<Lines>) {
    let line = match effect {
        Effect::Log { entries, urgent } => {
            let entries: Vec<String> =
                entries.iter().map(|e| format!("{}:{:?}", e.epoch, e.sources[&SOURCE])).collect();
            format!("log {}{}", entries.join(" "), if *urgent { " urgent" } else { "" })
        }
        Effect::Opened { epoch, concerned, .. } => format!("open {epoch} {concerned:?}"),
        Effect::Checkpoint(plan) => {
            format!("checkpoint {} position {} of {:?}", plan.epoch, plan.position, plan.dataflows.keys())
        }
        Effect::FeedChunk { ticket, epoch, .. } => format!("feed chunk {} in {epoch}", ticket.0),
        Effect::FeedWrite { ticket, epoch, tables } => format!("feed write {} in {epoch} of {tables:?}", ticket.0),
        Effect::Advance { record, .. } => format!("advance {}", record.epoch),
        Effect::Acknowledge(epoch) => format!("acknowledge {epoch}"),
        Effect::Epoch { ticket, epoch } => format!("tell {} epoch {epoch}", ticket.0),
        Effect::Joined { ticket, point } => format!("tell {} joined at {}", ticket.0, point.record.epoch),
        Effect::Build { relation, readable_from, .. } => format!("build {relation} readable from {readable_from}"),
        other @ (Effect::ForgetChunk(_)
        | Effect::Done(_)
        | Effect::Histories { .. }
        | Effect::Unanswered(_)
        | Effect::Hold { .. }
        | Effect::SetAttached(_)
        | Effect::Remove(_)
        | Effect::GiveUp { .. }) => format!("{other:?}"),
    };
    writeln!(out, "{line}").expect("a string takes everything");
}

#[test]
fn writes_enter_when_durable_in_journal_order_and_are_then_acknowledged() {
    let mut script = Script::new(false);
    script.write(1).write(2).write(3).tick().durable(2);
    script.check(expect![[r#"
        open 12 [ObjectId(2), ObjectId(3)]
        feed write 3 in 12 of [ObjectId(2)]
        feed write 4 in 12 of [ObjectId(2)]
        advance 12
        acknowledge 12
        tell 3 epoch 12
        tell 4 epoch 12
    "#]]);
}

#[test]
fn an_epoch_of_a_bound_source_waits_for_its_log() {
    let mut script = Script::new(true);
    script.chunk("a").tick();
    script.chunk("b").tick().check(expect![[r#"
        log 12:["a"] urgent
    "#]]);
    script.shown.clear();
    script.step(Input::Logged { epoch: 12, position: 7 }).tick().durable(7);
    script.check(expect![[r#"
        open 12 [ObjectId(3)]
        feed chunk 3 in 12
        advance 12
        log 13:["b"] urgent
    "#]]);
}

#[test]
fn what_could_not_be_logged_comes_before_anything_later() {
    let mut script = Script::new(false);
    script.chunk("a").tick().step(Input::LogFailed { written: 0 });
    script.chunk("b").tick();
    script.check(expect![[r#"
        log 12:["a"]
        open 12 [ObjectId(3)]
        feed chunk 3 in 12
        advance 12
        log 12:["a"] 13:["b"]
        open 13 [ObjectId(3)]
        feed chunk 4 in 13
        advance 13
    "#]]);
    script.shown.clear();
    script.step(Input::LogFailed { written: 0 });
    script.now.elapsed += Duration::from_secs(1);
    script.tick().step(Input::LogFailed { written: 1 });
    script.now.elapsed += Duration::from_secs(1);
    script.tick().chunk("c").tick();
    script.check(expect![[r#"
        log 12:["a"] 13:["b"]
        log 13:["b"]
        log 14:["c"]
        open 14 [ObjectId(3)]
        feed chunk 5 in 14
        advance 14
    "#]]);
}

#[test]
fn a_dataflow_that_is_behind_holds_epochs_back() {
    let mut script = Script::new(false);
    for position in 1..=10 {
        script.write(position).durable(position);
    }
    assert_eq!(script.machine.epoch(), 11 + limits_epochs());
    script.shown.clear();
    script.seal(&[TABLE, VIEW], 12).tick().check(expect![[r#"
        open 20 [ObjectId(2), ObjectId(3)]
        feed write 11 in 20 of [ObjectId(2)]
        feed write 12 in 20 of [ObjectId(2)]
        advance 20
        acknowledge 20
        tell 11 epoch 20
        tell 12 epoch 20
    "#]]);
}

fn limits_epochs() -> Epoch {
    types::limits::EPOCHS_IN_FLIGHT_MAX as Epoch
}

#[test]
fn a_dataflow_joins_after_the_chunks_that_were_there_before_it() {
    let mut script = Script::new(false);
    let late = ObjectId(9);
    script.create(late, &[SOURCE], Readable::AfterJoin).chunk("old columns");
    script.step(Input::Join { dataflow: late, ticket: Ticket(99) });
    script.tick();
    script.chunk("new columns").tick();
    script.check(expect![[r#"
        build 9 readable from 18446744073709551615
        log 12:["old columns"]
        open 12 [ObjectId(3)]
        feed chunk 4 in 12
        advance 12
        Hold { relation: ObjectId(9), at: 12 }
        tell 99 joined at 12
        log 13:["new columns"]
        open 13 [ObjectId(3), ObjectId(9)]
        feed chunk 5 in 13
        advance 13
    "#]]);
}

#[test]
fn a_checkpoint_ends_before_the_first_write_that_waits() {
    let mut script = Script::new(false);
    script.write(1).write(2).write(4).step(Input::CatalogChanged { position: 5 });
    script.step(Input::CheckpointNow(Ticket(99))).durable(2);
    script.check(expect![[r#"
        open 12 [ObjectId(2), ObjectId(3)]
        feed write 3 in 12 of [ObjectId(2)]
        feed write 4 in 12 of [ObjectId(2)]
        checkpoint 12 position 3 of [ObjectId(2), ObjectId(3)]
        advance 12
        acknowledge 12
        tell 3 epoch 12
        tell 4 epoch 12
    "#]]);
}

#[test]
fn every_operator_has_a_deadline_of_its_own() {
    let mut script = Script::new(false);
    let deadline = |operator, worker, at_us| Input::Deadline { dataflow: VIEW, operator, worker, at_us };
    script.step(deadline(1, 0, 5_000)).step(deadline(2, 0, 9_000)).step(deadline(1, 1, 8_000));
    let mut opened = vec![];
    for _ in 0..10 {
        let before = script.machine.epoch();
        script.tick();
        opened.extend((script.machine.epoch() > before).then_some(script.now.wall_us));
        let epoch = script.machine.epoch();
        script.seal(&[TABLE, VIEW], epoch);
    }
    assert_eq!(opened, [5_000, 8_000, 9_000]);
}

#[test]
fn readers_of_what_failed_fail_and_hold_nobody_back() {
    let mut script = Script::new(false);
    let top = ObjectId(4);
    script.create(top, &[VIEW], Readable::AtOnce);
    script.shown.clear();
    script.step(Input::Failed { dataflow: VIEW }).step(Input::Failed { dataflow: VIEW });
    for position in 1..=20 {
        script.write(position).durable(position).seal(&[TABLE], 11 + position);
    }
    let head: Vec<&str> = script.shown.lines().take(4).collect();
    assert_eq!(
        head,
        [
            "GiveUp { relation: ObjectId(3), because: ObjectId(3) }",
            "GiveUp { relation: ObjectId(4), because: ObjectId(3) }",
            "open 12 [ObjectId(2)]",
            "feed write 4 in 12 of [ObjectId(2)]",
        ]
    );
    assert_eq!(script.machine.epoch(), 31);
    script.shown.clear();
    script.create(ObjectId(5), &[top], Readable::AtOnce);
    script.check(expect![[r#"
        build 5 readable from 32
        GiveUp { relation: ObjectId(5), because: ObjectId(4) }
    "#]]);
}

#[test]
fn what_was_dropped_gets_nothing_and_whoever_waits_for_its_join_is_let_go() {
    let mut script = Script::new(false);
    script.write(1);
    script.step(Input::Drop { dataflow: TABLE, ticket: Ticket(50) });
    script.step(Input::Join { dataflow: TABLE, ticket: Ticket(51) });
    script.chunk("x").step(Input::RemoveSource { source: SOURCE }).durable(1);
    script.check(expect![[r#"
        Remove(ObjectId(2))
        Done(Ticket(50))
        ForgetChunk(Ticket(4))
        Unanswered(Ticket(51))
        open 12 []
        feed write 3 in 12 of []
        advance 12
        acknowledge 12
        tell 3 epoch 12
    "#]]);
}

#[test]
fn what_was_logged_before_the_restart_is_repeated_without_being_logged_again() {
    let mut script = Script::new(false);
    let pending = VecDeque::from([(1, "a".to_string()), (2, "b".to_string())]);
    let state = SourceState { history: Lines::default(), admission: None, watermark: None, ended: false, pending };
    let options = SourceOptions { has_time: false, bound: false };
    script.step(Input::AddSource { source: SOURCE, state, options });
    let repeat = |events: &[&str], through| Chunk {
        ticket: Ticket(70),
        source: SOURCE,
        relations: BTreeSet::from([SOURCE]),
        rows: 1,
        bytes: 10,
        events: events.iter().map(|event| event.to_string()).collect(),
        repeats: Some(through),
        admission: None,
        watermark: 0,
        ended: false,
    };
    script.step(Input::Chunk(repeat(&["half of a"], 0))).tick();
    script.step(Input::Chunk(repeat(&["a"], 1))).tick();
    assert_eq!(script.machine.sources[&SOURCE].state.pending, [(2, "b".to_string())]);
    script.step(Input::Chunk(repeat(&["b"], 1))).tick();
    assert!(!script.shown.contains("log"), "{}", script.shown);
    script.chunk("c").tick();
    assert!(script.shown.contains("log 15:[\"c\"]"), "{}", script.shown);
    assert_eq!(script.machine.sources[&SOURCE].state.history.0, ["half of a", "a", "b", "c"]);
}
