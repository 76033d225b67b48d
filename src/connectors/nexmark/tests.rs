//! The generator against data made elsewhere with the same crate, and its own laws: positions, splits, limits, pace.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::DataType::{Int64, Utf8};
use arrow::datatypes::{DataType, TimestampMicrosecondType};

use crate::generator::wall_clock_us;
use crate::testing::{TIMESTAMP, all_columns, check_resume_everywhere, columns, located, read_all, rows_shown, source};
use crate::{ConnectorError, FormatSpec, Offsets, OpenRequest, ReadEvent, SourceConfig, configure};

const PERSON: &[(&str, DataType)] = &[
    ("id", Int64),
    ("name", Utf8),
    ("emailAddress", Utf8),
    ("creditCard", Utf8),
    ("city", Utf8),
    ("state", Utf8),
    ("dateTime", TIMESTAMP),
    ("extra", Utf8),
];
const AUCTION: &[(&str, DataType)] = &[
    ("id", Int64),
    ("item_name", Utf8),
    ("description", Utf8),
    ("initial_bid", Int64),
    ("reserve", Int64),
    ("date_time", TIMESTAMP),
    ("expires", TIMESTAMP),
    ("seller", Int64),
    ("category", Int64),
    ("extra", Utf8),
];
const BID: &[(&str, DataType)] = &[
    ("auction", Int64),
    ("bidder", Int64),
    ("price", Int64),
    ("channel", Utf8),
    ("url", Utf8),
    ("datetime", TIMESTAMP),
    ("extra", Utf8),
];

fn nexmark(table: &str, more: &[(&str, &str)], declared: &[(&str, DataType)]) -> std::sync::Arc<dyn SourceConfig> {
    let options = [("connector", "nexmark"), ("nexmark.table.type", table)];
    let options: Vec<_> = options.iter().chain(more).copied().collect();
    source(&options, declared).unwrap().config
}

fn lines(config: &dyn SourceConfig) -> Vec<String> {
    let chunks = read_all(config, all_columns(config)).unwrap();
    chunks.iter().flat_map(|chunk| rows_shown(&chunk.rows)).map(|line| line.replace('|', ",")).collect()
}

/// FNV-1a of the lines with their ends: stands for a file that is too long to be written here.
fn fingerprint(lines: &[String]) -> u64 {
    let bytes = lines.iter().flat_map(|line| line.bytes().chain(*b"\n"));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Reads the first 5,000 events at ten a second; compares the first 1,000 and all of them with known data.
fn check_known(table: &str, declared: &[(&str, DataType)], counts: [usize; 2], known: [u64; 2], second_line: &str) {
    let options = [("nexmark.event.num", "5000"), ("nexmark.event.interval", "100 ms")];
    let lines = lines(nexmark(table, &options, declared).as_ref());
    assert_eq!(lines.len(), counts[1]);
    assert_eq!(lines[1], second_line);
    assert_eq!(fingerprint(&lines[..counts[0]]), known[0]);
    assert_eq!(fingerprint(&lines), known[1]);
}

#[test]
fn persons_are_those_of_the_benchmark() {
    check_known(
        "Person",
        PERSON,
        [20, 100],
        [0x792e_5e98_f979_a851, 0x617d_5532_0072_1a32],
        "1001,peter smith,kabfpld@fhfis.com,5179 0198 7232 1932,boise,WA,2024-01-01 00:00:05.000,pxtyxzeastoqqtakhggexrsrtfyccvduqmlfawfjwgneixaqhbphuwcohbglifdmwtaspyhzmmesflgzexiivfngiqkkzqdcxvfopjoafxttvqhtoexzcxhoppxbqwxipmlvignix",
    );
}

#[test]
fn auctions_are_those_of_the_benchmark() {
    check_known(
        "Auction",
        AUCTION,
        [60, 300],
        [0xe2db_bdd1_5ad1_edb8, 0x1943_aeca_9d5e_c985],
        "1001,tfwipvdbmdkaapimyqcp,ayfnatbsalsphhtgxmckrbndpbgvigxyalpieakjvtnlrppzswjwznyyesubywntvwjildonvysruyroxgfivilycpkrrqlibzjv,1171819,93374315,2024-01-01 00:00:00.200,2024-01-01 00:02:48.311,1006,11,rmrsddrlojlybtlgiqqgsrwzssroqbfrakefrwuhzybcyoaegjpnzuzlowbfxaoggetswtzyfdkpyhqliqmmdzbfhctlkkfgvnokuglgkbqtvxpijkfscvqhpklnnyemnbnrsfnipceeakvzzoimipospzlnwpirkokavbcaitgrvkgtxpigstmmnlyewnsmvfwavcrdqtbpyxzpfxluqbzvazdeyustbuvluvxhplwjlshwiykqkjdpkjwrsuljbbiwcesixncjdhzguibcgzdsgrvctwysorfpbcurgasrafadnhwkpgyywalqcuvfcvzqgybrdalvklsasq",
    );
}

#[test]
fn bids_are_those_of_the_benchmark() {
    check_known(
        "bid",
        BID,
        [920, 4600],
        [0x2344_52b9_c68b_07c2, 0xff2b_f2b5_71e0_87b7],
        "1000,1001,499920,Apple,https://www.nexmark.com/rxa/n_n/ffl_/item.htm?query=1,2024-01-01 00:00:00.500,jeklosvdtnexframxpqsdbuwuywlmlbjmyjvpfipfsjoxnifwptbkqxspdbmbarp",
    );
}

#[test]
fn any_position_gives_the_same_row_again() {
    for (table, declared) in [("person", PERSON), ("auction", AUCTION), ("bid", BID)] {
        for splits in ["1", "3"] {
            let options = [("nexmark.event.num", "130"), ("nexmark.split.num", splits)];
            check_resume_everywhere(nexmark(table, &options, declared).as_ref());
        }
    }
}

#[test]
fn splits_share_the_stream_between_them() {
    let rows = |splits: &str| {
        let config = nexmark("bid", &[("nexmark.event.num", "777"), ("nexmark.split.num", splits)], BID);
        let chunks = read_all(config.as_ref(), all_columns(config.as_ref())).unwrap();
        let mut rows: Vec<_> = located(&chunks).into_iter().map(|(_, _, row)| row).collect();
        rows.sort();
        rows
    };
    let one = rows("1");
    assert_eq!(one.len(), 15 * 46 + 23);
    assert_eq!(rows("4"), one);
    assert_eq!(rows("1000"), one);
}

#[test]
fn only_projected_columns_are_made_and_projection_changes_no_value() {
    let config = nexmark("bid", &[("nexmark.event.num", "100")], BID);
    let whole = read_all(config.as_ref(), all_columns(config.as_ref())).unwrap();
    let request = OpenRequest { projection: vec![2, 5], ..OpenRequest::default() };
    let some = read_all(config.as_ref(), request).unwrap();
    assert_eq!(some[0].rows, whole[0].rows.project(&[2, 5]).unwrap());
}

#[test]
fn a_live_stream_starts_now_and_replays_from_its_resolved_options() {
    let options = [("connector", "nexmark"), ("nexmark.table.type", "bid"), ("nexmark.rate", "1000000")];
    let before = wall_clock_us();
    let configured = source(&options, BID).unwrap();
    assert!(!configured.config.bounded());
    let mut reader = configured.config.open(all_columns(configured.config.as_ref())).unwrap();
    let ReadEvent::Chunk(chunk) = reader.next(Duration::from_secs(10)).unwrap() else { panic!("rows are due") };
    let first = chunk.rows.column(5).as_primitive::<TimestampMicrosecondType>().value(0);
    assert!((before - 2_000..=wall_clock_us()).contains(&first));
    // Configured again from what the catalog stores, much later: the same rows at the same positions.
    let again = configure(&configured.resolved_options, &FormatSpec::default(), &columns(BID)).unwrap();
    assert_eq!(again.resolved_options, configured.resolved_options);
    let until = Some(Offsets::from([(chunk.partition.clone(), chunk.to)]));
    let request = OpenRequest { until, ..all_columns(again.config.as_ref()) };
    let replayed = read_all(again.config.as_ref(), request).unwrap();
    assert_eq!(located(&replayed), located(&[chunk]));
}

#[test]
fn a_paced_stream_waits_for_its_events() {
    // One event an hour, the first at once: the next bid is three hours away.
    let options = [("nexmark.min.event.gap.in.ns", "3600000000000")];
    let config = nexmark("person", &options, PERSON);
    let mut reader = config.open(all_columns(config.as_ref())).unwrap();
    let ReadEvent::Chunk(chunk) = reader.next(Duration::ZERO).unwrap() else { panic!("the first person is due") };
    assert_eq!((chunk.from, chunk.to), (0, 1));
    assert!(matches!(reader.next(Duration::ZERO).unwrap(), ReadEvent::Idle));
    let until = Some(Offsets::from([("0".to_string(), 1_000)]));
    let request = OpenRequest { until, ..all_columns(config.as_ref()) };
    let rows: usize = read_all(config.as_ref(), request).unwrap().iter().map(|c| c.rows.num_rows()).sum();
    assert_eq!(rows, 1_000, "replay is not paced");
}

#[test]
fn event_times_stay_exact_far_into_the_stream() {
    let config = nexmark("bid", &[("nexmark.event.num", "20000000000")], BID);
    let from = 18_000_000_000u64;
    let request = OpenRequest {
        from: Offsets::from([("0".to_string(), from)]),
        until: Some(Offsets::from([("0".to_string(), from + 46)])),
        projection: vec![5],
        ..OpenRequest::default()
    };
    let chunks = read_all(config.as_ref(), request).unwrap();
    let times = chunks[0].rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let event = from / 46 * 50 + 4 + from % 46;
    let base = 1_704_067_200_000_000;
    assert_eq!(times.value(0), base + (event as i64 * 100 + 500) / 1_000 * 1_000);
    assert!(times.values().windows(2).all(|w| w[0] <= w[1]));
}

#[test]
fn positions_beyond_the_end_are_refused() {
    let config = nexmark("bid", &[("nexmark.event.num", "100")], BID);
    let from = Offsets::from([("0".to_string(), 93)]);
    let opened = config.open(OpenRequest { from, ..all_columns(config.as_ref()) });
    assert!(matches!(opened.err(), Some(ConnectorError::HistoryLost { .. })));
}
