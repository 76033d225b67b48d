//! Renders a graph as a timely dataflow on one worker. All workers render the same graphs in the same order.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use operators::{BuildContext, Operator, OperatorError, RestoredTable, guarded};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, Scope, Stream};
use timely::worker::Worker;
use types::{Epoch, MemoryBudget, ObjectId, hash_columns, vnode_of, worker_of};

use crate::command::{CreateDataflow, Event, RestoredBatch, Start};
use crate::container::Parcel;
use crate::exchange::VnodeDistributor;
use crate::graph::{Edge, Exchange, Node, NodeKind};
use crate::host::{Host, HostContext, RecordQueue, Tap, Turn};
use crate::pace::Pace;
use crate::stats::StatsRegistry;

pub type InputPort = InputHandle<u64, CapacityContainerBuilder<Parcel>>;

/// An input of a rendered dataflow.
pub struct RenderedInput {
    /// The id of its node.
    pub node: u32,
    pub relation: ObjectId,
    /// Columns of the relation that the graph reads.
    pub columns: Vec<usize>,
    /// Fed from another dataflow's output on this worker, not from outside.
    pub tapped: bool,
    /// Tapped: changes up to this epoch lie in the snapshot that it started with.
    pub contains: Epoch,
    pub port: InputPort,
}

/// A dataflow on one worker.
pub struct Rendered {
    /// Timely's own index, for dropping.
    pub index: usize,
    pub inputs: Vec<RenderedInput>,
    pub probe: ProbeHandle<u64>,
    pub records: Rc<RefCell<RecordQueue>>,
}

/// What rendering needs from the worker.
pub struct RenderContext<'a> {
    pub stats: &'a StatsRegistry,
    pub budget: &'a MemoryBudget,
    pub pace: &'a Pace,
    pub events: &'a Arc<dyn Fn(Event) + Send + Sync>,
    pub tap: Rc<RefCell<dyn Tap>>,
}

/// Builds the dataflow on this worker, also if operators fail to be built or restored: on other workers they may not,
/// and the channels between workers must be the same everywhere.
pub fn render(worker: &mut Worker, create: &CreateDataflow, context: &RenderContext<'_>) -> Rendered {
    let records: Rc<RefCell<RecordQueue>> = Rc::default();
    let (me, workers) = (worker.index(), worker.peers());
    let operators = build_operators(create, me, workers, context.pace.batch_rows);
    let index = worker.next_dataflow_index();
    let graph = &create.graph;
    let name = format!("relation {}", graph.relation);
    let (inputs, probe) = worker.dataflow_named::<u64, _, _>(&name, |scope| {
        let mut inputs = vec![];
        let mut streams: Vec<Stream<'_, u64, Parcel>> = vec![];
        let last = graph.nodes.len() - 1;
        for (position, (node, operator)) in graph.nodes.iter().zip(operators).enumerate() {
            let stream = match (&node.kind, operator) {
                (NodeKind::Input { relation, columns }, _) => {
                    let mut port = InputPort::new_with_builder();
                    let stream = scope.input_from(&mut port);
                    inputs.push(RenderedInput {
                        node: node.id,
                        relation: *relation,
                        columns: columns.clone(),
                        tapped: false,
                        contains: 0,
                        port,
                    });
                    stream
                }
                (NodeKind::Operator(_), Some(operator)) => {
                    let host = Host::new(
                        operator,
                        HostContext {
                            dataflow: graph.relation,
                            operator_id: node.id,
                            worker: me,
                            records: records.clone(),
                            counters: context.stats.register(graph.relation, node.id, me),
                            memory: context.budget.account(),
                            pace: context.pace.clone(),
                            events: context.events.clone(),
                            tap: (position == last).then(|| context.tap.clone()),
                        },
                    );
                    host_operator(scope, node, &streams, host)
                }
                (NodeKind::Operator(_), None) => unreachable!("every operator node was built"),
            };
            streams.push(stream);
        }
        let output = streams.pop().expect("a graph has nodes");
        let (probe, _) = output.probe();
        (inputs, probe)
    });
    Rendered { index, inputs, probe, records }
}

type Built = Result<Box<dyn Operator>, OperatorError>;

/// Builds and restores the operators, by node; none for inputs.
fn build_operators(create: &CreateDataflow, worker: usize, workers: usize, batch_rows: usize) -> Vec<Option<Built>> {
    let shards = create.shards.clone();
    let context = BuildContext { worker, workers, batch_rows, shard: Arc::new(move |_| shards[worker].clone()) };
    let graph = &create.graph;
    let build = |node: &Node| {
        let NodeKind::Operator(spec) = &node.kind else { return None };
        Some(guarded(|| {
            let inputs: Vec<_> = node.inputs.iter().map(|e| graph.nodes[e.from].schema.clone()).collect();
            let mut operator = spec.build(&inputs, &context)?;
            if let Start::Restored { state, .. } = &create.start {
                for table in state.get(&node.id).into_iter().flatten() {
                    restore(operator.as_mut(), table, worker, workers)?;
                }
            }
            Ok(operator)
        }))
    };
    graph.nodes.iter().map(build).collect()
}

/// Hands over the rows of one written batch whose vnodes this worker owns.
fn restore(
    operator: &mut dyn Operator,
    table: &RestoredBatch,
    worker: usize,
    workers: usize,
) -> Result<(), OperatorError> {
    let keys: Vec<_> = table.vnode_columns.iter().map(|c| table.batch.column(*c).clone()).collect();
    let hashes = hash_columns(&keys, table.batch.num_rows())?;
    let owned: Vec<u32> =
        (0..hashes.len() as u32).filter(|row| worker_of(vnode_of(hashes[*row as usize]), workers) == worker).collect();
    if owned.is_empty() {
        return Ok(());
    }
    let batch = if owned.len() == table.batch.num_rows() {
        table.batch.clone()
    } else {
        arrow::compute::take_record_batch(&table.batch, &arrow::array::UInt32Array::from(owned))?
    };
    operator.restore(RestoredTable { table: table.table, batch: &batch })
}

type Drain = Box<dyn FnMut(&mut Host)>;

fn host_operator<'scope>(
    scope: Scope<'scope, u64>,
    node: &Node,
    streams: &[Stream<'scope, u64, Parcel>],
    mut host: Host,
) -> Stream<'scope, u64, Parcel> {
    let mut builder = OperatorBuilder::new(node.label.clone(), scope);
    let info = builder.operator_info();
    let activator = scope.activator_for(info.address);
    let mut drains: Vec<Drain> =
        node.inputs.iter().enumerate().map(|(port, edge)| connect(&mut builder, edge, port, streams)).collect();
    let (output, stream) = builder.new_output::<Parcel>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Parcel>>::from(output);
    builder.build(move |mut capabilities| {
        let mut capability = Some(capabilities.pop().expect("one output, one capability"));
        move |frontiers| {
            for drain in &mut drains {
                drain(&mut host);
            }
            let complete = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
            let Some(held) = capability.as_mut() else { return };
            let held = RefCell::new(held);
            let mut handle = output.activate();
            let turn = host.run(
                complete,
                |epoch, out| {
                    if out.rows.is_empty() && out.errors.is_empty() {
                        return;
                    }
                    let at = held.borrow().delayed(&epoch);
                    let mut session = handle.session(&at);
                    for batch in out.rows.drain(..) {
                        session.give_container(&mut Parcel::rows(batch));
                    }
                    if !out.errors.is_empty() {
                        session.give_container(&mut Parcel::errors(std::mem::take(&mut out.errors)));
                    }
                },
                |epoch| held.borrow_mut().downgrade(&(epoch + 1)),
            );
            drop(handle);
            match turn {
                Turn::Again => activator.activate(),
                // All inputs closed: the dataflow is being dropped.
                Turn::Idle if complete.is_none() => capability = None,
                Turn::Idle => {}
            }
        }
    });
    stream
}

fn connect<'scope>(
    builder: &mut OperatorBuilder<'scope, u64>,
    edge: &Edge,
    port: usize,
    streams: &[Stream<'scope, u64, Parcel>],
) -> Drain {
    let stream = streams[edge.from].clone();
    match &edge.exchange {
        Exchange::Pipeline => {
            let mut input = builder.new_input(stream, Pipeline);
            Box::new(move |host| {
                input.for_each(|capability, parcel| host.receive(port, *capability.time(), parcel.take()));
            })
        }
        Exchange::Hash(columns) => {
            let columns = columns.clone();
            let pact = DistributorPact(move |workers| VnodeDistributor::new(columns, workers));
            let mut input = builder.new_input(stream, pact);
            Box::new(move |host| {
                input.for_each(|capability, parcel| host.receive(port, *capability.time(), parcel.take()));
            })
        }
    }
}
