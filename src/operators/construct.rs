//! Spec → operator: the one place that lists them all.

use arrow::datatypes::SchemaRef;

use crate::join::JoinOperator;
use crate::materialize::MaterializeOperator;
use crate::spec::OperatorSpec;
use crate::{
    AggregateOperator, BuildContext, EmitOnCloseOperator, FilterProjectOperator, Operator, OperatorError,
    PartialAggregateOperator, RecomputeOperator, SessionAggregateOperator, SessionOperator, WindowOperator,
};

impl OperatorSpec {
    /// The operator that this describes. `inputs`: schemas of its ports.
    pub fn build(&self, inputs: &[SchemaRef], ctx: &BuildContext) -> Result<Box<dyn Operator>, OperatorError> {
        let input = || inputs[0].clone();
        Ok(match self {
            OperatorSpec::FilterProject(spec) => Box::new(FilterProjectOperator::new(spec, input())?),
            OperatorSpec::Window(spec) => Box::new(WindowOperator::new(spec)?),
            OperatorSpec::Session(spec) => Box::new(SessionOperator::new(spec)?),
            OperatorSpec::PartialAggregate(spec) => Box::new(PartialAggregateOperator::new(spec)?),
            OperatorSpec::Aggregate(spec) => Box::new(AggregateOperator::new(spec, ctx)?),
            OperatorSpec::SessionAggregate(spec) => Box::new(SessionAggregateOperator::new(spec)?),
            OperatorSpec::Join(spec) => Box::new(JoinOperator::new(spec)?),
            OperatorSpec::TopN(_) | OperatorSpec::Union => {
                return Err(OperatorError::internal("arrives with the next merge"));
            }
            OperatorSpec::EmitOnClose(spec) => Box::new(EmitOnCloseOperator::new(spec)?),
            OperatorSpec::Recompute(spec) => Box::new(RecomputeOperator::new(spec, ctx.worker, ctx.workers)?),
            OperatorSpec::Materialize(spec) => Box::new(MaterializeOperator::new(spec, ctx)),
        })
    }
}
