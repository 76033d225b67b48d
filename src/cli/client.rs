//! A connection to a server, with notices handed on as they come.

use std::future::poll_fn;

use anyhow::Context;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::error_text;

/// Connects and prints notices to standard error.
pub(crate) async fn connect(url: &str) -> anyhow::Result<Client> {
    connect_with(url, |text| eprintln!("{text}")).await
}

/// Connects; `on_notice` gets each notice as text, from the connection's own task.
pub(crate) async fn connect_with(url: &str, on_notice: impl Fn(String) + Send + 'static) -> anyhow::Result<Client> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls)
        .await
        .map_err(|error| anyhow::Error::msg(error_text::of_client_error(&error, None)))
        .with_context(|| format!("cannot connect to {}", without_password(url)))?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                on_notice(error_text::of_db_error(&notice, None));
            }
        }
    });
    Ok(client)
}

/// The URL as it may be printed.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            let user = url[scheme + 3..at].split(':').next().unwrap_or_default();
            format!("{}{user}{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_printed() {
        assert_eq!(without_password("postgres://me:secret@h:1/d"), "postgres://me@h:1/d");
        assert_eq!(without_password("postgres://me@h:1/d"), "postgres://me@h:1/d");
        assert_eq!(without_password("host=h user=me"), "host=h user=me");
    }
}
