//! The engine behind its HTTP interface takes what the daemon's client sends, and survives.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use clickhouse::Compression;
use clickhouse::insert_formatted::CompressedData;
use sandbox::clickhouse::ClickHouse;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::{unique, wait};

const PATIENCE: Duration = Duration::from_secs(120);

/// A table in a database of its own; without a window it deduplicates nothing.
fn table(server: &ClickHouse, window: u32) -> (String, String) {
    let database = unique("db");
    server
        .try_query(&format!("CREATE DATABASE {database} ENGINE = Atomic"))
        .unwrap();
    let ddl = format!(
        "CREATE TABLE {database}.t (id UInt32, name String DEFAULT 'none') ENGINE = MergeTree \
         ORDER BY id SETTINGS non_replicated_deduplication_window = {window}"
    );
    server.try_query(&ddl).unwrap();
    (format!("{database}.t"), database)
}

fn server() -> &'static ClickHouse {
    static SERVER: std::sync::OnceLock<ClickHouse> = std::sync::OnceLock::new();
    SERVER.get_or_init(|| ClickHouse::start().unwrap())
}

fn client(url: &str, database: &str) -> clickhouse::Client {
    clickhouse::Client::default()
        .with_url(url)
        .with_database(database)
        .with_setting("async_insert", "0")
        .with_setting("insert_deduplicate", "1")
}

/// RowBinary: little-endian id, then the name with its length.
fn rows(ids: std::ops::Range<u32>) -> Vec<u8> {
    ids.flat_map(|id| [&id.to_le_bytes()[..], &[1, b'x']].concat())
        .collect()
}

async fn insert(client: &clickhouse::Client, token: &str, body: &[u8]) -> Result<(), String> {
    let mut insert = client
        .insert_formatted_with("INSERT INTO t (id, name) FORMAT RowBinary")
        .with_setting("insert_deduplication_token", token);
    let sent = async {
        insert
            .send_compressed(CompressedData::new(body, Compression::Lz4)?)
            .await?;
        insert.end().await
    };
    sent.await
        .map_err(|error: clickhouse::error::Error| error.to_string())
}

fn count(table: &str) -> String {
    server().query(&format!("SELECT count() FROM {table}"))
}

#[tokio::test]
async fn a_compressed_insert_arrives_and_a_repeated_token_adds_nothing() {
    let (table, database) = table(server(), 100);
    let client = client(&server().url(), &database);
    insert(&client, "first", &rows(0..1000)).await.unwrap();
    insert(&client, "first", &rows(0..1000)).await.unwrap();
    assert_eq!(count(&table), "1000");
    insert(&client, "second", &rows(0..1000)).await.unwrap();
    assert_eq!(count(&table), "2000");
    assert_eq!(
        server().query(&format!("SELECT sum(id), any(name) FROM {table}")),
        "999000\tx"
    );
}

#[tokio::test]
async fn defaults_are_filled_and_answers_come_back_compressed_and_with_parameters() {
    let (table, database) = table(server(), 0);
    let client = client(&server().url(), &database);
    let mut insert = client
        .insert_formatted_with("INSERT INTO t (id, name) FORMAT RowBinaryWithDefaults")
        .with_setting("max_insert_block_size", "100000");
    insert.send(vec![0, 7, 0, 0, 0, 1].into()).await.unwrap();
    insert.end().await.unwrap();
    assert_eq!(
        server().query(&format!("SELECT id, name FROM {table}")),
        "7\tnone"
    );

    let sql = "SELECT repeat(name, {n:UInt32}) FROM t WHERE name = {name:String}";
    let query = client.query(sql).param("n", 3).param("name", "none");
    assert_eq!(query.fetch_all::<String>().await.unwrap(), ["nonenonenone"]);
}

#[tokio::test]
async fn errors_carry_the_code_of_the_engine() {
    let (_, database) = table(server(), 0);
    let url = server().url();
    let missing = client(&url, &database)
        .query("SELECT * FROM missing")
        .execute()
        .await;
    assert!(
        missing.unwrap_err().to_string().contains("Code: 60"),
        "an unknown table"
    );
    let unknown = client(&url, "nowhere").query("SELECT 1").execute().await;
    assert!(
        unknown.unwrap_err().to_string().contains("Code: 81"),
        "an unknown database"
    );
    let setting = client(&url, &database).with_setting("no_such_setting", "1");
    let refused = setting.query("SELECT 1").execute().await;
    assert!(
        refused.unwrap_err().to_string().contains("Code: 115"),
        "an unknown setting"
    );
    let cut = insert(&client(&url, &database), "cut", &rows(0..1)[..5]).await;
    assert!(
        cut.unwrap_err().starts_with("bad response: Code: 33"),
        "a row that is cut"
    );
}

#[test]
fn a_body_that_ends_early_leaves_no_row() {
    let (table, _) = table(server(), 0);
    let address = server().url().replace("http://", "");
    for framing in [
        "Content-Length: 60000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4000\r\n",
    ] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let query = format!("query=INSERT+INTO+{table}+FORMAT+RowBinary");
        write!(stream, "POST /?{query} HTTP/1.1\r\n{framing}").unwrap();
        stream.write_all(&rows(0..1000)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // The server hangs up without an answer once it has dropped the insert.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"");
    }
    assert_eq!(count(&table), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_an_insert_comes_back_with_what_it_acknowledged() {
    let server = ClickHouse::start().unwrap();
    let (table, database) = table(&server, 100);
    let client = client(&server.url(), &database);
    insert(&client, "kept", &rows(0..10)).await.unwrap();
    for _ in 0..3 {
        let mut insert = client.insert_formatted_with("INSERT INTO t (id, name) FORMAT RowBinary");
        insert.send(rows(0..100_000).into()).await.unwrap();
        server.restart().unwrap();
        assert!(
            insert.end().await.is_err(),
            "nothing acknowledges an insert of a dead server"
        );
        assert_eq!(server.query(&format!("SELECT count() FROM {table}")), "10");
    }
    insert(&client, "kept", &rows(0..10)).await.unwrap();
    let rows = server.query(&format!("SELECT count() FROM {table}"));
    assert_eq!(rows, "10", "tokens survive a kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_does_what_its_name_says() {
    let (table, database) = table(server(), 100);
    let proxy = Proxy::start(&server().url()).unwrap();
    let client = client(&proxy.url(), &database);
    let body = rows(0..10);
    let inject = |fault: Fault| proxy.inject(Matcher::inserts(), fault, 1);

    inject(Fault::exception(500, 252, "Too many parts"));
    let error = insert(&client, "1", &body).await.unwrap_err();
    assert!(
        error.contains("Code: 252. DB::Exception: Too many parts"),
        "{error}"
    );
    inject(Fault::Disconnect);
    insert(&client, "1", &body).await.unwrap_err();
    inject(Fault::CutMidBody { bytes: 20 });
    insert(&client, "1", &body).await.unwrap_err();
    assert_eq!(count(&table), "0", "none of these reach the table");

    inject(Fault::FailAfterWrite);
    insert(&client, "1", &body).await.unwrap_err();
    assert_eq!(count(&table), "10", "the reply was lost, the rows were not");
    inject(Fault::Duplicate);
    insert(&client, "2", &body).await.unwrap();
    assert_eq!(
        count(&table),
        "20",
        "the second copy met the token of the first"
    );

    let held = inject(Fault::HoldResponse);
    let waiting = tokio::spawn({
        let (client, body) = (client.clone(), body.clone());
        async move { insert(&client, "3", &body).await }
    });
    wait::until("the held insert is written", PATIENCE, || {
        (count(&table) == "30").then_some(())
    })
    .unwrap();
    assert!(!waiting.is_finished());
    held.release();
    waiting.await.unwrap().unwrap();

    let held = inject(Fault::HoldRequest);
    let given_up = tokio::spawn({
        let (client, body) = (client.clone(), body.clone());
        async move { insert(&client, "4", &body).await }
    });
    held.wait_for_hits(1, PATIENCE).unwrap();
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    assert_eq!(count(&table), "30");
    held.release();
    held.wait_for_finished(1, PATIENCE).unwrap();
    assert_eq!(count(&table), "40", "the zombie's insert arrived after all");

    let delay = Duration::from_millis(300);
    inject(Fault::RespondSlowly { delay });
    let asked = Instant::now();
    insert(&client, "5", &body).await.unwrap();
    assert!(asked.elapsed() >= delay);

    let tokens: Vec<_> = proxy
        .inserts()
        .into_iter()
        .map(|seen| seen.token.unwrap())
        .collect();
    assert_eq!(tokens, ["1", "1", "1", "1", "2", "3", "4", "5"]);
}
