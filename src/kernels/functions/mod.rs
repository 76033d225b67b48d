//! SQL functions: DataFusion's, with those replaced or added whose Postgres meaning differs. The planner registers
//! them by calling these functions; compiled expressions find them by name. One file per function of ours.

mod average;
pub(crate) mod bytea;
mod calendar;
mod checked;
mod converted;
mod guarded;
mod interval;
mod modulo;
mod padding;
mod result_size;
mod rounding;
mod split_index;
mod sum;
pub(crate) mod text_form;
mod timezone;
mod to_char;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion_functions::math;

pub use crate::expr::zone::{UTC, zoned};
pub use checked::{checked_operator, constant, postgres_cast};

/// Postgres' names of functions that DataFusion has under another one.
const SCALAR_ALIASES: [(&str, &str); 2] = [("signum", "sign"), ("ceil", "ceiling")];
const AGGREGATE_ALIASES: [(&str, &str); 2] = [("bool_and", "every"), ("var", "variance")];

/// All scalar functions, each once; ours stand in for DataFusion's of the same name.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let renamed = |f: Arc<ScalarUDF>| match SCALAR_ALIASES.iter().find(|(name, _)| *name == f.name()) {
        Some((_, alias)) => Arc::new(f.as_ref().clone().with_aliases([*alias])),
        None => f,
    };
    let ours = [
        ScalarUDF::new_from_impl(to_char::ToChar::with_postgres_patterns()),
        ScalarUDF::new_from_impl(to_char::ToChar::with_java_patterns()),
        ScalarUDF::new_from_impl(split_index::SplitIndex::new()),
        ScalarUDF::new_from_impl(modulo::Modulo::new()),
        ScalarUDF::new_from_impl(rounding::Rounding::of(math::trunc())),
        ScalarUDF::new_from_impl(rounding::Rounding::of(math::floor())),
        ScalarUDF::new_from_impl(rounding::Rounding::of(renamed(math::ceil()))),
        ScalarUDF::new_from_impl(interval::ScaleInterval::multiplication()),
        ScalarUDF::new_from_impl(interval::ScaleInterval::division()),
        timezone::Timezone::udf(),
    ];
    let ours: Vec<Arc<ScalarUDF>> =
        ours.into_iter().chain(calendar::functions()).chain(padding::functions()).map(Arc::new).collect();
    let kept = library_functions().filter(|f| ours.iter().all(|our| our.name() != f.name()));
    let mut all: Vec<Arc<ScalarUDF>> = kept.map(renamed).map(|f| Arc::new(guarded::guarded(f))).collect();
    all.extend(ours);
    all
}

fn library_functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let nested = datafusion_functions_nested::all_default_nested_functions();
    datafusion_functions::all_default_functions().into_iter().chain(nested)
}

/// What [`scalar_functions`] has in place of a library's function. The binder of the library makes calls of its own
/// from syntax (EXTRACT, `a[1]`, ARRAY[…]). `None` for functions of anybody else.
pub fn in_place_of(function: &ScalarUDF) -> Option<Arc<ScalarUDF>> {
    static LIBRARY: OnceLock<HashMap<String, Arc<ScalarUDF>>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| library_functions().map(|f| (f.name().to_string(), f)).collect());
    let theirs = library.get(function.name())?;
    // Aliases are the only difference between ours and theirs that equality of their implementations doesn't see.
    (theirs.inner().dyn_eq(function.inner().as_ref())).then(|| scalar_function(function.name())).flatten()
}

/// All aggregate functions, each once; ours stand in for DataFusion's of the same name.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let ours = [
        AggregateUDF::new_from_impl(sum::CheckedSum::default()),
        AggregateUDF::new_from_impl(average::RoundedAverage::new()),
    ];
    let ours = ours.map(Arc::new);
    let renamed = |f: Arc<AggregateUDF>| match AGGREGATE_ALIASES.iter().find(|(name, _)| *name == f.name()) {
        Some((_, alias)) => Arc::new(f.as_ref().clone().with_aliases([*alias])),
        None => f,
    };
    let theirs = datafusion_functions_aggregate::all_default_aggregate_functions();
    let kept = theirs.into_iter().filter(|f| ours.iter().all(|our| our.name() != f.name()));
    kept.map(renamed).chain(ours.iter().cloned()).collect()
}

/// All window functions, each once. Aggregates may be used as window functions besides.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    datafusion_functions_window::all_default_window_functions()
}

/// The scalar function of this name or alias.
pub fn scalar_function(name: &str) -> Option<Arc<ScalarUDF>> {
    static REGISTRY: OnceLock<HashMap<String, Arc<ScalarUDF>>> = OnceLock::new();
    REGISTRY.get_or_init(|| by_name(scalar_functions(), |f| f.name(), |f| f.aliases())).get(name).cloned()
}

/// The aggregate function of this name or alias.
pub fn aggregate_function(name: &str) -> Option<Arc<AggregateUDF>> {
    static REGISTRY: OnceLock<HashMap<String, Arc<AggregateUDF>>> = OnceLock::new();
    REGISTRY.get_or_init(|| by_name(aggregate_functions(), |f| f.name(), |f| f.aliases())).get(name).cloned()
}

/// The window function of this name or alias.
pub fn window_function(name: &str) -> Option<Arc<WindowUDF>> {
    static REGISTRY: OnceLock<HashMap<String, Arc<WindowUDF>>> = OnceLock::new();
    REGISTRY.get_or_init(|| by_name(window_functions(), |f| f.name(), |f| f.aliases())).get(name).cloned()
}

/// Names win over aliases.
fn by_name<F>(
    functions: Vec<Arc<F>>,
    name: impl Fn(&F) -> &str,
    aliases: impl Fn(&F) -> &[String],
) -> HashMap<String, Arc<F>> {
    let mut map = HashMap::new();
    for function in &functions {
        for alias in aliases(function) {
            map.insert(alias.clone(), function.clone());
        }
    }
    for function in functions {
        map.insert(name(&function).to_string(), function.clone());
    }
    map
}
