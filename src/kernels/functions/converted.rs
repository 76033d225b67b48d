//! An aggregate of DataFusion that works on other types inside than it shows: arguments are converted on their way in,
//! results on their way out.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// How arguments and results are converted. `result`: the type that is shown.
#[derive(Debug, Clone)]
pub(super) struct Conversion {
    pub input: fn(&[ArrayRef]) -> Vec<ArrayRef>,
    pub output: fn(&ArrayRef, &DataType) -> Result<ArrayRef>,
    pub result: DataType,
}

/// `A` is a boxed `Accumulator` or `GroupsAccumulator`.
#[derive(Debug)]
struct Converted<A> {
    inner: A,
    conversion: Conversion,
}

impl<A> Converted<A> {
    fn new(inner: A, conversion: Conversion) -> Self {
        Converted { inner, conversion }
    }

    fn input(&self, values: &[ArrayRef]) -> Vec<ArrayRef> {
        (self.conversion.input)(values)
    }

    fn output(&self, results: &ArrayRef) -> Result<ArrayRef> {
        (self.conversion.output)(results, &self.conversion.result)
    }
}

/// The accumulator, converted if it has to be.
pub(super) fn accumulator((inner, conversion): (Box<dyn Accumulator>, Option<Conversion>)) -> Box<dyn Accumulator> {
    match conversion {
        Some(conversion) => Box::new(Converted::new(inner, conversion)),
        None => inner,
    }
}

/// The accumulator by groups, converted if it has to be.
pub(super) fn groups_accumulator(
    (inner, conversion): (Box<dyn GroupsAccumulator>, Option<Conversion>),
) -> Box<dyn GroupsAccumulator> {
    match conversion {
        Some(conversion) => Box::new(Converted::new(inner, conversion)),
        None => inner,
    }
}

impl Accumulator for Converted<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&self.input(values))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&self.input(values))
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = self.inner.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&self.output(&result)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

impl GroupsAccumulator for Converted<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_count: usize,
    ) -> Result<()> {
        self.inner.update_batch(&self.input(values), groups, filter, groups_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let results = self.inner.evaluate(emit_to)?;
        self.output(&results)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], groups_count: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, groups_count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&self.input(values), filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
