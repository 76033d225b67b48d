//! Functions that wait: for time, for a lock, for another session's end or their own. They are asynchronous, so that they
//! occupy no query thread while they do and end at once when the statement is cancelled or times out.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, FieldRef};
use async_trait::async_trait;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use futures::future::BoxFuture;
use types::{SqlError, SqlState};

use super::locks;
use super::scalar::{Call, Returns, VOID, cells, check_arity};
use crate::advisory::Mode;
use crate::system::SessionView;
use crate::system::table::{Cell, array_of};

type Work = BoxFuture<'static, Result<Cell, SqlError>>;

/// One function that waits; NULL for a NULL argument. Its work is made of the call at once and needs it no longer.
#[derive(Debug)]
struct Function {
    name: &'static str,
    arity: (usize, usize),
    returns: Returns,
    work: fn(&Call) -> Result<Work, SqlError>,
}

const FUNCTIONS: &[Function] = &[
    Function { name: "pg_sleep", arity: (1, 1), returns: Returns::TextAs(VOID), work: sleep },
    Function { name: "pg_cancel_backend", arity: (1, 1), returns: Returns::Bool, work: cancel_backend },
    Function { name: "pg_terminate_backend", arity: (1, 2), returns: Returns::Bool, work: terminate_backend },
    lock("pg_advisory_lock", |call| advisory_lock(call, Mode::Exclusive, false)),
    lock("pg_advisory_lock_shared", |call| advisory_lock(call, Mode::Share, false)),
    lock("pg_advisory_xact_lock", |call| advisory_lock(call, Mode::Exclusive, true)),
    lock("pg_advisory_xact_lock_shared", |call| advisory_lock(call, Mode::Share, true)),
];

const fn lock(name: &'static str, work: fn(&Call) -> Result<Work, SqlError>) -> Function {
    Function { name, arity: (1, 2), returns: Returns::TextAs(VOID), work }
}

/// The function of that name for one session.
pub fn function(view: &Arc<SessionView>, name: &str) -> Option<ScalarUDF> {
    let function = FUNCTIONS.iter().find(|function| function.name == name)?;
    let arguments = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
    let signature = Signature::new(arguments, Volatility::Volatile);
    let waiting = Waiting { function, view: view.clone(), signature };
    Some(AsyncScalarUDF::new(Arc::new(waiting)).into_scalar_udf())
}

/// Nobody sleeps into the past.
fn sleep(call: &Call) -> Result<Work, SqlError> {
    let seconds = call.float(0)?;
    let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    Ok(Box::pin(async move {
        tokio::time::sleep(time).await;
        Ok("".into())
    }))
}

fn advisory_lock(call: &Call, mode: Mode, of_transaction: bool) -> Result<Work, SqlError> {
    let wanted = locks::wanted(call, mode, of_transaction)?;
    let (advisory, timeout) = (call.view.shared.advisory.clone(), call.view.parameters.lock_timeout());
    Ok(Box::pin(async move {
        advisory.lock(wanted, timeout).await?;
        Ok("".into())
    }))
}

fn cancel_backend(call: &Call) -> Result<Work, SqlError> {
    let target = backend(call);
    let reached = target.is_some_and(|target| call.view.shared.sessions.cancel(target));
    Ok(answer(call, target, reached))
}

/// With a time-out (milliseconds) it waits for the session to be gone.
fn terminate_backend(call: &Call) -> Result<Work, SqlError> {
    let timeout_ms = call.int(1).unwrap_or_default();
    let timeout_ms = u64::try_from(timeout_ms)
        .map_err(|_| SqlError::new(SqlState::NumericValueOutOfRange, "\"timeout\" must not be negative"))?;
    let target = backend(call);
    let gone = target.and_then(|target| call.view.shared.sessions.end(target));
    let (Some(target), Some(gone)) = (target, gone) else { return Ok(answer(call, target, false)) };
    if timeout_ms == 0 || target == call.view.session_id {
        return Ok(answer(call, Some(target), true));
    }
    let notices = call.view.notices.clone();
    Ok(Box::pin(async move {
        let ended = tokio::time::timeout(Duration::from_millis(timeout_ms), gone).await.is_ok();
        if !ended {
            let message = format!("backend with PID {target} did not terminate within {timeout_ms} milliseconds");
            notices.warning(SqlState::Warning, message);
        }
        Ok(ended.into())
    }))
}

/// The process id of the first argument; one that can be nobody's is `None`.
fn backend(call: &Call) -> Option<u32> {
    call.int(0).and_then(|pid| u32::try_from(pid).ok())
}

/// Who has reached himself does not answer any more: the signal ends the statement.
fn answer(call: &Call, target: Option<u32>, reached: bool) -> Work {
    if !reached {
        let pid = call.int(0).unwrap_or_default();
        call.view.notices.warning(SqlState::Warning, format!("PID {pid} is not a PostgreSQL backend process"));
    }
    match reached && target == Some(call.view.session_id) {
        true => Box::pin(std::future::pending()),
        false => Box::pin(std::future::ready(Ok(reached.into()))),
    }
}

#[derive(Debug)]
struct Waiting {
    function: &'static Function,
    view: Arc<SessionView>,
    signature: Signature,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name && Arc::ptr_eq(&self.view, &other.view)
    }
}

impl Eq for Waiting {}

impl std::hash::Hash for Waiting {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for Waiting {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        check_arity(self.function.name, self.function.arity, arguments.len())?;
        Ok(self.function.returns.field(self.function.name).data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        check_arity(self.function.name, self.function.arity, args.arg_fields.len())?;
        Ok(Arc::new(self.function.returns.field(self.function.name)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        unreachable!("DataFusion awaits asynchronous functions")
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Waiting {
    /// Row by row: each waits for the one before.
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns =
            args.args.iter().map(|arg| cells(&arg.to_array(args.number_rows)?)).collect::<Result<Vec<_>>>()?;
        let external = |error: SqlError| DataFusionError::External(Box::new(error));
        let mut results = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let arguments: Vec<Cell> = columns.iter().map(|column| column[row].clone()).collect();
            if arguments.contains(&Cell::Null) {
                results.push(Cell::Null);
                continue;
            }
            let call = Call { view: &self.view, arguments: &arguments, fields: &args.arg_fields };
            let work = (self.function.work)(&call).map_err(external)?;
            results.push(work.await.map_err(external)?);
        }
        Ok(ColumnarValue::Array(array_of(args.return_field.data_type(), results.iter())))
    }
}
