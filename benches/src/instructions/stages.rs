//! Stages of the paths and the functions that are them; none is called by another of the same path.

use crate::Workload;

type Stage = (&'static str, &'static [&'static str]);

/// Functions while which is counted.
pub(crate) fn toggles(workload: Workload) -> &'static [&'static str] {
    match workload {
        Workload::Event => &["*drive::RecordPath::chunk*", "*drive::RecordPath::seal*"],
        Workload::Change | Workload::ChangeInBlock => &[
            "*drive::changes::ChangePath::chunk*",
            "*drive::changes::ChangePath::seal*",
        ],
        Workload::Join => &[
            "*drive::joins::JoinPath::chunk*",
            "*drive::joins::JoinPath::close*",
        ],
    }
}

pub(crate) fn of(workload: Workload) -> &'static [Stage] {
    match workload {
        Workload::Event => &EVENT,
        Workload::Change | Workload::ChangeInBlock => &CHANGE,
        Workload::Join => &JOIN,
    }
}

const EVENT: [Stage; 6] = [
    (
        "decode: validate the JSON, find the values",
        &["Scanner::scan"],
    ),
    ("encode: columns of the event", &["Row<V>::event_columns"]),
    (
        "operate: session",
        &[
            "Row<V>::session_event",
            "EnrichmentOperator as streamweir::lane::operator::Operator>::judge",
        ],
    ),
    (
        "operate: profile from the cache or the answer",
        &["RecordPath::look_up"],
    ),
    ("seal: columns of the rows", &["BlockPlan>::fill"]),
    ("seal: compress, checksum", &["frame::compress"]),
];

const CHANGE: [Stage; 6] = [
    (
        "decode: validate the JSON, find the values",
        &["RowReader::read"],
    ),
    ("decode: the key", &["KeyReader::encode"]),
    (
        "encode: columns of the row",
        &["debezium::row::Types::encode"],
    ),
    (
        "batch: the last row of each key",
        &["ReplicationOperator as streamweir::lane::operator::records::RecordRows>::push"],
    ),
    ("seal: columns of the rows", &["BlockPlan>::fill"]),
    ("seal: compress, checksum", &["frame::compress"]),
];

const JOIN: [Stage; 2] = [
    (
        "decode: validate the JSON, find the values",
        &["Scanner::scan"],
    ),
    ("join: decide, and the joined record", &["JoinPath::emit"]),
];
