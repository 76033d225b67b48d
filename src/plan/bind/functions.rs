//! The functions a query may call, by name. `kernels` owns them; this is the lookup table, built once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use super::interval_operators::IntervalOperators;

pub(crate) struct Registry {
    pub scalar: BTreeMap<String, Arc<ScalarUDF>>,
    pub aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    pub window: BTreeMap<String, Arc<WindowUDF>>,
}

pub(crate) fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = Registry { scalar: BTreeMap::new(), aggregate: BTreeMap::new(), window: BTreeMap::new() };
        for function in kernels::functions::scalar_functions() {
            for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
                registry.scalar.insert(name.to_string(), function.clone());
            }
        }
        for function in kernels::functions::aggregate_functions() {
            for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
                registry.aggregate.insert(name.to_string(), function.clone());
            }
        }
        for function in kernels::functions::window_functions() {
            for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
                registry.window.insert(name.to_string(), function.clone());
            }
        }
        registry
    })
}

/// Plans operators and special syntax (`count(*)`, EXTRACT, `a[1]`, …) into function calls; order matters.
pub(crate) fn expr_planners() -> &'static [Arc<dyn ExprPlanner>] {
    static PLANNERS: OnceLock<Vec<Arc<dyn ExprPlanner>>> = OnceLock::new();
    PLANNERS.get_or_init(|| {
        vec![
            Arc::new(IntervalOperators),
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
            Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
        ]
    })
}
