//! From what the planner asked for to the operator that does it. (Not `build.rs`: cargo would run that.)

use arrow::datatypes::SchemaRef;

use crate::aggregate::{AggregateOperator, PartialAggregateOperator};
use crate::spec::OperatorSpec;
use crate::union::union_schema;
use crate::{
    BuildContext, EmitOnCloseOperator, ErrorRowsOperator, FilterProjectOperator, IgnoreErrorsOperator, JoinOperator,
    MatchOnCloseOperator, MaterializeOperator, Operator, OperatorError, RecomputeOperator, SessionAggregateOperator,
    SessionOperator, TopNOperator, UnionOperator, WindowOperator,
};

impl OperatorSpec {
    /// The operator of one worker, without state. `inputs`: schemas of the edges that lead to it, by port.
    ///
    /// Errors: `Limit` for what the specification asks beyond what an operator can do; `Internal` and `Kernel` for
    /// plans that contradict themselves.
    pub fn build(&self, inputs: &[SchemaRef], ctx: &BuildContext) -> Result<Box<dyn Operator>, OperatorError> {
        let input = || {
            let first = inputs.first().cloned();
            first.ok_or_else(|| OperatorError::internal("an operator was planned without an input"))
        };
        Ok(match self {
            OperatorSpec::FilterProject(spec) => Box::new(FilterProjectOperator::new(spec, input()?)?),
            OperatorSpec::Window(spec) => Box::new(WindowOperator::new(spec)?),
            OperatorSpec::Session(spec) => Box::new(SessionOperator::new(spec)?),
            OperatorSpec::PartialAggregate(spec) => Box::new(PartialAggregateOperator::new(spec)?),
            OperatorSpec::Aggregate(spec) => Box::new(AggregateOperator::new(spec, ctx)?),
            OperatorSpec::SessionAggregate(spec) => Box::new(SessionAggregateOperator::new(spec)?),
            OperatorSpec::Join(spec) => Box::new(JoinOperator::new(spec)?),
            OperatorSpec::TopN(spec) => Box::new(TopNOperator::new(spec)?),
            OperatorSpec::Union => {
                let schema = union_schema(inputs);
                Box::new(UnionOperator::new(schema.ok_or_else(|| OperatorError::internal("a union of nothing"))?))
            }
            OperatorSpec::EmitOnClose(spec) => Box::new(EmitOnCloseOperator::new(spec)?),
            OperatorSpec::Recompute(spec) => Box::new(RecomputeOperator::new(spec, ctx.worker, ctx.workers)?),
            OperatorSpec::MatchOnClose(spec) => Box::new(MatchOnCloseOperator::new(spec)?),
            OperatorSpec::IgnoreErrors => Box::new(IgnoreErrorsOperator),
            OperatorSpec::ErrorRows(spec) => Box::new(ErrorRowsOperator::new(spec)),
            OperatorSpec::Materialize(spec) => Box::new(MaterializeOperator::new(spec, ctx)),
        })
    }
}
