//! COPY … TO STDOUT: the rows of a query, a relation or a subscription as text.

use sql::CopySource;
use types::{SqlError, SqlState};

use super::{query, subscribe};
use crate::api::Response;
use crate::session::Session;

pub(crate) async fn execute(
    session: &mut Session,
    from: &CopySource,
    options: &[(String, Option<String>)],
) -> Result<Response, SqlError> {
    for (name, value) in options {
        let text_format = name == "format" && value.as_deref().is_some_and(|v| v.eq_ignore_ascii_case("text"));
        if !text_format {
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                format!("COPY option \"{name}\" is not supported"),
            )
            .with_hint("COPY TO STDOUT writes FORMAT text."));
        }
    }
    match from {
        CopySource::Subscribe(subscription) => {
            let (columns, stream) = subscribe::open(session, subscription).await?;
            Ok(Response::CopyOut { columns, stream })
        }
        CopySource::Query(select) => copy_query(session, select).await,
        CopySource::Relation { name, columns } => {
            let select = sql::select_columns_from(name, columns);
            copy_query(session, &select).await
        }
    }
}

async fn copy_query(session: &mut Session, select: &sql::ast::Query) -> Result<Response, SqlError> {
    match query::execute(session, select, &[]).await? {
        Response::Rows { columns, stream, .. } => Ok(Response::CopyOut { columns, stream }),
        Response::CopyOut { .. } | Response::Command { .. } => Err(SqlError::internal("a query gives rows")),
    }
}
