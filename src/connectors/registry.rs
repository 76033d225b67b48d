//! From CREATE SOURCE to a source: picks the connector, hands it its options and refuses the rest.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::datagen::DatagenSource;
use crate::file::FileConfig;
use crate::nexmark::NexmarkSource;
use crate::options::OptionBag;
use crate::{ConnectorError, SourceConfig, SourceOptions};

/// The FORMAT … ENCODE … clause, words in upper case; all empty if there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatSpec {
    pub format: String,
    pub encode: String,
    pub options: Vec<(String, String)>,
}

/// A declared column that comes from the connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    pub name: String,
    pub data_type: DataType,
}

/// A source ready to be validated and opened.
#[derive(Debug, Clone)]
pub struct ConfiguredSource {
    pub config: Arc<dyn SourceConfig>,
    pub options: SourceOptions,
    /// The WITH options to store: as given, and those whose default depends on the moment of creation. Configuring
    /// from these again gives exactly this source.
    pub resolved_options: Vec<(String, String)>,
}

const CONNECTORS: &str = "file (filesystem), nexmark, datagen";

/// Reads the options of CREATE SOURCE. Looks at nothing outside: that is `SourceConfig::validate`.
///
/// `options` are those of WITH, RisingWave's way (`connector = 'file'` with FORMAT … ENCODE …) or Flink's
/// (`'connector' = 'filesystem', 'format' = 'csv'`). Errors: unknown connectors, options, formats and values by name;
/// columns of types the source can't give.
pub fn configure(
    options: &[(String, String)],
    format: &FormatSpec,
    columns: &[ColumnSpec],
) -> Result<ConfiguredSource, ConnectorError> {
    let find = |name: &str| options.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
    let connector =
        find("connector").ok_or_else(|| ConnectorError::MissingConnector { known: CONNECTORS.to_string() })?;
    let mut bag = OptionBag::new(connector, options);
    bag.take("connector");
    let source_options = SourceOptions::take(&mut bag)?;
    let fields: Vec<Field> = columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut resolved_options = options.to_vec();
    let config: Arc<dyn SourceConfig> = match connector.to_ascii_lowercase().as_str() {
        "file" | "filesystem" => Arc::new(FileConfig::take(&mut bag, format, schema)?),
        "nexmark" => {
            generated_format(&mut bag, connector, format)?;
            Arc::new(NexmarkSource::take(&mut bag, schema, &mut resolved_options)?)
        }
        "datagen" => {
            generated_format(&mut bag, connector, format)?;
            Arc::new(DatagenSource::take(&mut bag, schema, &mut resolved_options)?)
        }
        _ => {
            let (name, known) = (connector.to_string(), CONNECTORS.to_string());
            return Err(ConnectorError::UnknownConnector { name, known });
        }
    };
    bag.finish()?;
    Ok(ConfiguredSource { config, options: source_options, resolved_options })
}

/// Generators make columns, not bytes; the clauses RisingWave writes for them are accepted.
fn generated_format(bag: &mut OptionBag, connector: &str, format: &FormatSpec) -> Result<(), ConnectorError> {
    bag.take("format");
    let known = matches!(format.format.as_str(), "" | "PLAIN" | "NATIVE")
        && matches!(format.encode.as_str(), "" | "NATIVE" | "JSON");
    if !known {
        return Err(ConnectorError::UnsupportedFormat {
            connector: connector.to_string(),
            format: format!("{} ENCODE {}", format.format, format.encode),
            known: "none, PLAIN ENCODE NATIVE, PLAIN ENCODE JSON".into(),
        });
    }
    OptionBag::new(connector, &format.options).finish()
}

#[cfg(test)]
mod tests;
