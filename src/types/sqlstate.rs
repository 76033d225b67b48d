//! SQLSTATE codes as Postgres gives them (its Appendix A). Only what we raise.

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($name:ident = $code:literal),* $(,)?) => {
        /// A five-character SQLSTATE.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum SqlState { $($name),* }

        impl SqlState {
            /// The code as sent on the wire.
            pub const fn code(self) -> &'static str {
                match self { $(SqlState::$name => $code),* }
            }

            /// The state of a code we know.
            pub fn from_code(code: &str) -> Option<SqlState> {
                match code { $($code => Some(SqlState::$name),)* _ => None }
            }
        }
    };
}

states! {
    SuccessfulCompletion = "00000",
    Warning = "01000",
    ConnectionFailure = "08006",
    ProtocolViolation = "08P01",
    FeatureNotSupported = "0A000",
    CardinalityViolation = "21000",
    StringDataRightTruncation = "22001",
    NumericValueOutOfRange = "22003",
    NullValueNotAllowed = "22004",
    InvalidDatetimeFormat = "22007",
    DatetimeFieldOverflow = "22008",
    DivisionByZero = "22012",
    CharacterNotInRepertoire = "22021",
    SubstringError = "22011",
    InvalidParameterValue = "22023",
    SkipToNonexistentRow = "2202K",
    SkipToFirstRowOfMatch = "2202L",
    InvalidRegularExpression = "2201B",
    InvalidArgumentForLogarithm = "2201E",
    InvalidArgumentForPowerFunction = "2201F",
    InvalidRowCountInLimitClause = "2201W",
    InvalidRowCountInResultOffsetClause = "2201X",
    InvalidTextRepresentation = "22P02",
    InvalidBinaryRepresentation = "22P03",
    BadCopyFileFormat = "22P04",
    DataException = "22000",
    NotNullViolation = "23502",
    UniqueViolation = "23505",
    CheckViolation = "23514",
    InvalidCursorState = "24000",
    ActiveSqlTransaction = "25001",
    ReadOnlySqlTransaction = "25006",
    IdleInTransactionSessionTimeout = "25P03",
    NoActiveSqlTransaction = "25P01",
    InFailedSqlTransaction = "25P02",
    InvalidSqlStatementName = "26000",
    InvalidSavepointSpecification = "3B001",
    InvalidAuthorizationSpecification = "28000",
    InvalidPassword = "28P01",
    DependentObjectsStillExist = "2BP01",
    InvalidCursorName = "34000",
    InvalidCatalogName = "3D000",
    InvalidSchemaName = "3F000",
    SerializationFailure = "40001",
    DeadlockDetected = "40P01",
    SyntaxError = "42601",
    InsufficientPrivilege = "42501",
    CannotCoerce = "42846",
    GroupingError = "42803",
    WindowingError = "42P20",
    InvalidRecursion = "42P19",
    InvalidColumnReference = "42P10",
    InvalidObjectDefinition = "42P17",
    InvalidTableDefinition = "42P16",
    DuplicateCursor = "42P03",
    DuplicateSchema = "42P06",
    DuplicateTable = "42P07",
    GeneratedAlways = "428C9",
    DuplicateColumn = "42701",
    DuplicateObject = "42710",
    DuplicatePreparedStatement = "42P05",
    AmbiguousColumn = "42702",
    AmbiguousFunction = "42725",
    UndefinedColumn = "42703",
    UndefinedFunction = "42883",
    UndefinedTable = "42P01",
    UndefinedParameter = "42P02",
    UndefinedObject = "42704",
    WrongObjectType = "42809",
    DatatypeMismatch = "42804",
    IndeterminateDatatype = "42P18",
    ReservedName = "42939",
    InsufficientResources = "53000",
    DiskFull = "53100",
    OutOfMemory = "53200",
    TooManyConnections = "53300",
    ProgramLimitExceeded = "54000",
    StatementTooComplex = "54001",
    ObjectNotInPrerequisiteState = "55000",
    ObjectInUse = "55006",
    CantChangeRuntimeParam = "55P02",
    LockNotAvailable = "55P03",
    QueryCanceled = "57014",
    AdminShutdown = "57P01",
    CannotConnectNow = "57P03",
    IoError = "58030",
    UndefinedFile = "58P01",
    SnapshotTooOld = "72000",
    ConfigFileError = "F0000",
    InternalError = "XX000",
    DataCorrupted = "XX001",
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
