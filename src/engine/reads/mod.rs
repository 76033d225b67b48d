//! Ad-hoc reads: DataFusion over one epoch of our relations. The only place that uses the umbrella crate.
//!
//! `run` fixes the epoch, waits for it, puts providers under the plan and executes on the query threads; the pin is
//! held by the scans until the last one is done.

mod endless;
mod lookup;
mod match_exec;
mod produced;
mod provider;
mod row_subquery;
mod run;
mod source_scan;

pub(crate) use lookup::rows_by_key;
pub(crate) use produced::{RowSender, produced};
pub(crate) use run::{Reading, explain_physical, pinned, run};
