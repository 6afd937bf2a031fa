//! Parts of replicated tables for the other replica: the sending side of a fetch, which a server has and
//! the library has not. Version 1 of the protocol: the total size (u64), the number of files (u64), then of
//! each file its name (with its length before it), its size (u64), its bytes, and their hash.

use std::fs;
use std::io::{self, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use cityhash_rs::cityhash_102_128;

use super::engine::Engine;
use crate::http::{Request, Response};

/// The engine hashes what it reads in pieces of this size, each with the hash before as seed.
const HASHED_BYTES: usize = 2_048;
/// Of CityHash 1.0.2.
const K3: u64 = 0xc949_d7c7_509e_6557;

/// Serves until the process ends.
pub(super) fn serve(engine: &Arc<Engine>, listener: &TcpListener) {
    for client in listener.incoming().flatten() {
        let engine = Arc::clone(engine);
        thread::spawn(move || {
            if let Err(error) = answer(&engine, &client) {
                eprintln!("a replica was cut off: {error}");
            }
        });
    }
}

fn answer(engine: &Engine, client: &TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(client), client);
    while let Some(request) = Request::read(&mut reader)? {
        io::copy(&mut request.body(&mut reader)?, &mut io::sink())?;
        let endpoint = request.parameter("endpoint").unwrap_or_default();
        let replica = endpoint.strip_prefix("DataPartsExchange:");
        let part = request.parameter("part").unwrap_or_default();
        let sent = part_of(engine, replica.unwrap_or_default(), part);
        let response = match sent {
            Ok(files) => {
                Response::new(200, files).with_header("Set-Cookie", "server_protocol_version=1")
            }
            Err(why) => {
                let text = format!("Code: 232. DB::Exception: No part {part}: {why}");
                Response::new(500, text).with_header("X-ClickHouse-Exception-Code", "232")
            }
        };
        response.write(&mut writer)?;
    }
    Ok(())
}

/// The files of a part, as they are sent. `replica`: its path in ZooKeeper.
fn part_of(engine: &Engine, replica: &str, part: &str) -> Result<Vec<u8>, String> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let sql = format!(
        "SELECT p.path FROM system.parts AS p JOIN system.replicas AS r ON p.database = r.database AND \
         p.table = r.table WHERE r.replica_path = '{}' AND p.name = '{}'",
        quoted(replica),
        quoted(part)
    );
    let answer = engine.connect()?.query(sql.as_bytes(), "TSVRaw", &[])?;
    let path = String::from_utf8_lossy(&answer.output);
    match path.trim_end() {
        "" => Err("there is none of this name".to_owned()),
        path => files(Path::new(path)).map_err(|error| error.to_string()),
    }
}

fn files(part: &Path) -> io::Result<Vec<u8>> {
    let mut files = vec![];
    for entry in fs::read_dir(part)? {
        let entry = entry?;
        // What a replica knows of its own transactions is no business of the others.
        if entry.file_type()?.is_file() && entry.file_name() != "txn_version.txt" {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push((name, fs::read(entry.path())?));
        }
    }
    let total: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let mut out = vec![];
    out.extend(total.to_le_bytes());
    out.extend((files.len() as u64).to_le_bytes());
    for (name, bytes) in &files {
        write_text(&mut out, name);
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
        out.extend(hash(bytes));
    }
    Ok(out)
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(text.bytes());
}

/// A seeded hash is that of the seed, written as this version of CityHash would read it, and the bytes.
fn hash(bytes: &[u8]) -> [u8; 16] {
    let mut state = 0u128;
    for piece in bytes.chunks(HASHED_BYTES) {
        let (first, second) = ((state >> 64) as u64, state as u64);
        let mut seeded = (first ^ K3).to_le_bytes().to_vec();
        seeded.extend(second.to_le_bytes());
        seeded.extend(piece);
        state = cityhash_102_128(&seeded);
    }
    state.rotate_left(64).to_le_bytes()
}
