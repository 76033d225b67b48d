//! The view that shows the errors of another one (`on_error = 'dead_letter'`).

use catalog::CatalogObject;
use types::ObjectId;

use crate::{PlanError, PlannedView, stream};

/// A row per error that `of` holds: relation, sqlstate, message, failed_row (NULL where the operator can't tell).
pub fn plan_errors(relation: ObjectId, of: &CatalogObject) -> Result<PlannedView, PlanError> {
    stream::plan_errors(relation, of)
}
