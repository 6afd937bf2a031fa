use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;

use super::*;
use crate::config::Config;
use crate::observe::board::Board;

const SCHEMA: &str = r#"{"type":"record","name":"E","fields":[{"name":"a","type":"shop.A"}]}"#;
const REFERENCE: &str =
    r#"{"type":"record","name":"A","namespace":"shop","fields":[{"name":"x","type":"long"}]}"#;

/// A registry that answers as a test wants.
#[derive(Default)]
struct Fake {
    asked: StdMutex<Vec<String>>,
    /// In place of the registry: a proxy answers 404, or the registry says that it has no schema.
    is_proxied: AtomicBool,
    is_empty: AtomicBool,
    failures_left: AtomicUsize,
    authorization: StdMutex<Option<String>>,
}

async fn serve(fake: Arc<Fake>) -> String {
    async fn by_id(
        State(fake): State<Arc<Fake>>,
        Path(id): Path<String>,
        headers: HeaderMap,
    ) -> (StatusCode, String) {
        fake.asked.lock().unwrap().push(id.clone());
        let sent = headers.get("authorization");
        *fake.authorization.lock().unwrap() = sent.map(|v| v.to_str().unwrap().to_owned());
        let failures = &fake.failures_left;
        let fails = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fails.is_ok() {
            return (StatusCode::SERVICE_UNAVAILABLE, "not yet".to_owned());
        }
        if fake.is_proxied.load(Ordering::SeqCst) {
            return (
                StatusCode::NOT_FOUND,
                "<html>no such page</html>".to_owned(),
            );
        }
        let missing = r#"{"error_code":40403,"message":"Schema not found"}"#;
        if fake.is_empty.load(Ordering::SeqCst) {
            return (StatusCode::NOT_FOUND, missing.to_owned());
        }
        let body = match id.as_str() {
            "1" => serde_json::json!({
                "schema": SCHEMA,
                "references": [{"name": "shop.A", "subject": "a/b value", "version": 3}],
            }),
            "2" => serde_json::json!({"schema": "message M {}", "schemaType": "PROTOBUF"}),
            "5" => serde_json::json!({"schema": "{\"type\":7}", "schemaType": "JSON"}),
            "8" => serde_json::json!({"schema": "<a/>", "schemaType": "XML"}),
            "3" => serde_json::json!({"schema": "no schema"}),
            "4" => return (StatusCode::UNAUTHORIZED, "{}".to_owned()),
            "6" => serde_json::json!({
                "schema": SCHEMA,
                "references": [{"name": "shop.A", "subject": "gone", "version": 3}],
            }),
            "7" => {
                let body = serde_json::json!({ "schema": "x".repeat(9 << 20) });
                return (StatusCode::OK, body.to_string());
            }
            _ => return (StatusCode::NOT_FOUND, missing.to_owned()),
        };
        (StatusCode::OK, body.to_string())
    }
    async fn by_subject(
        Path((subject, version)): Path<(String, String)>,
        RawQuery(query): RawQuery,
    ) -> (StatusCode, String) {
        if subject == "gone" {
            let error = r#"{"error_code":40401,"message":"Subject not found"}"#;
            return (StatusCode::NOT_FOUND, error.to_owned());
        }
        assert_eq!((subject.as_str(), version.as_str()), ("a/b value", "3"));
        assert_eq!(query.as_deref(), Some("deleted=true"));
        let body = serde_json::json!({ "schema": REFERENCE });
        (StatusCode::OK, body.to_string())
    }
    let app = Router::new()
        .route("/base/schemas/ids/{id}", get(by_id))
        .route("/base/schemas/guids/{id}", get(by_id))
        .route(
            "/base/subjects/{subject}/versions/{version}",
            get(by_subject),
        )
        .with_state(fake);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/base")
}

fn schemas(registry: &str) -> Arc<Schemas> {
    let text = format!(
        "[[pipeline]]\nname = \"p\"\nkind = \"enrichment\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
         format = \"avro\"\n[pipeline.clickhouse]\ntable = \"t\"\n[pipeline.schema_registry]\n{registry}"
    );
    let loaded = Config::parse(&text, "config.toml", std::path::Path::new("."), []).unwrap();
    let config = loaded.config.pipelines[0].schema_registry.clone().unwrap();
    let board = Board::new().add_pipeline("p", "enrichment");
    Schemas::new(&config, PipelineMetrics::new("p"), board).unwrap()
}

async fn learned(schemas: &Arc<Schemas>, key: SchemaKey) -> Result<Option<Found>, Halt> {
    schemas.ask(key).task.await?;
    Ok(schemas.find(key, Instant::now()))
}

#[tokio::test]
async fn a_schema_is_asked_for_once_with_those_it_refers_to_and_failures_are_waited_out() {
    let fake = Arc::new(Fake {
        failures_left: AtomicUsize::new(2),
        ..Fake::default()
    });
    let url = serve(fake.clone()).await;
    // Nobody listens at the first address.
    let url =
        format!("url = [\"http://127.0.0.1:1\", \"{url}/\"]\nuser = \"u\"\npassword = \"p:w\"");
    let schemas = schemas(&url);
    assert!(schemas.find(SchemaKey::Id(1), Instant::now()).is_none());
    let both = tokio::join!(
        learned(&schemas, SchemaKey::Id(1)),
        learned(&schemas, SchemaKey::Id(1))
    );
    for found in [both.0, both.1] {
        match found {
            Ok(Some(Found::Avro(schema))) => assert_eq!(schema.name(), "E"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(*fake.asked.lock().unwrap(), ["1", "1", "1"]);
    let sent = fake.authorization.lock().unwrap().clone();
    assert_eq!(sent.as_deref(), Some("Basic dTpwOnc="));
    let later = Instant::now() + Duration::from_secs(3601);
    assert!(schemas.find(SchemaKey::Id(1), later).is_none());
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_who_is_not_let_in_halts() {
    let url = serve(Arc::default()).await;
    let schemas = schemas(&format!("url = \"{url}\"\ntoken = \"t\""));
    for (id, expected) in [
        (5, "schema 5 of the registry: no JSON Schema: "),
        (8, "schema 8 of the registry is of type XML"),
        (3, "schema 3 of the registry: no Avro schema"),
    ] {
        match learned(&schemas, SchemaKey::Id(id)).await {
            Ok(Some(Found::Unusable(why))) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let protobuf = learned(&schemas, SchemaKey::Id(2)).await;
    assert!(matches!(protobuf, Ok(Some(Found::Protobuf(_)))));
    let halt = learned(&schemas, SchemaKey::Id(4)).await.unwrap_err();
    assert_eq!(halt.reason, "authentication");
    assert!(
        halt.advice.contains("/schemas/ids/4: 401"),
        "{}",
        halt.advice
    );
}

#[tokio::test]
async fn a_schema_that_is_missing_is_asked_for_again_and_then_known_to_be_missing() {
    let fake = Arc::new(Fake::default());
    let url = serve(fake.clone()).await;
    let mut schemas = schemas(&format!("url = \"{url}\""));
    Arc::get_mut(&mut schemas).unwrap().missing = Duration::from_millis(60);
    match learned(&schemas, SchemaKey::Id(9)).await {
        Ok(Some(Found::Missing)) => {}
        other => panic!("{other:?}"),
    }
    assert!(fake.asked.lock().unwrap().len() > 1);
    // No registry counts so far, and none has an answer for it that says so.
    for id in [1 << 31, u32::MAX] {
        let asked = fake.asked.lock().unwrap().len();
        match learned(&schemas, SchemaKey::Id(id)).await {
            Ok(Some(Found::Missing)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(fake.asked.lock().unwrap().len(), asked);
    }
    let guid = SchemaKey::Guid([0xab; 16]);
    schemas.ask(guid).task.await.unwrap();
    let asked = fake.asked.lock().unwrap().last().cloned();
    assert_eq!(
        asked.as_deref(),
        Some("abababab-abab-abab-abab-abababababab")
    );
}

#[tokio::test]
async fn a_schema_that_is_due_serves_on_while_the_registry_is_away() {
    let fake = Arc::new(Fake::default());
    let url = serve(fake.clone()).await;
    let mut schemas = schemas(&format!("url = \"{url}\""));
    Arc::get_mut(&mut schemas).unwrap().cache_ttl = Duration::ZERO;
    assert!(matches!(
        learned(&schemas, SchemaKey::Id(1)).await,
        Ok(None)
    ));
    fake.failures_left.store(1, Ordering::SeqCst);
    match learned(&schemas, SchemaKey::Id(1)).await {
        Ok(Some(Found::Avro(schema))) => assert_eq!(schema.name(), "E"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_schema_that_is_missing_holds_up_nobody_who_needs_another() {
    let url = serve(Arc::default()).await;
    let schemas = schemas(&format!("url = \"{url}\""));
    let missing = tokio::spawn(schemas.ask(SchemaKey::Id(9)).task);
    while schemas.asking.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let known = tokio::time::timeout(MISSING / 2, learned(&schemas, SchemaKey::Id(1))).await;
    assert!(matches!(known, Ok(Ok(Some(Found::Avro(_))))), "{known:?}");
    assert!(!missing.is_finished());
    missing.abort();
    assert!(missing.await.unwrap_err().is_cancelled());
    drop(schemas.asking_for(SchemaKey::Id(1)));
    assert_eq!(schemas.asking.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_known_schema_serves_on_whatever_says_that_there_is_none_and_a_proxy_is_waited_out() {
    let fake = Arc::new(Fake::default());
    let url = serve(fake.clone()).await;
    let mut schemas = schemas(&format!("url = \"{url}\""));
    Arc::get_mut(&mut schemas).unwrap().cache_ttl = Duration::ZERO;
    assert!(matches!(
        learned(&schemas, SchemaKey::Id(1)).await,
        Ok(None)
    ));
    for says_none in [&fake.is_proxied, &fake.is_empty] {
        says_none.store(true, Ordering::SeqCst);
        let found = learned(&schemas, SchemaKey::Id(1)).await;
        assert!(matches!(found, Ok(Some(Found::Avro(_)))), "{found:?}");
        says_none.store(false, Ordering::SeqCst);
        schemas.lock().get_mut(&SchemaKey::Id(1)).unwrap().until = Instant::now();
    }
    // Without a schema from before, a 404 of a proxy is no answer.
    fake.is_proxied.store(true, Ordering::SeqCst);
    match schemas.client.schema(SchemaKey::Id(9)).await {
        Err(NoAnswer::Unavailable(why)) => {
            assert!(why.contains("/schemas/ids/9: 404"), "{why}");
            assert!(
                why.contains("is the path of schema_registry.url right?"),
                "{why}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_another_attempt_does_not_change_is_no_outage() {
    let url = serve(Arc::default()).await;
    let mut schemas = schemas(&format!("url = \"{url}\""));
    Arc::get_mut(&mut schemas).unwrap().missing = Duration::from_millis(60);
    for (id, expected) in [
        (
            6,
            "refers to shop.A, version 3 of subject gone, and there is none",
        ),
        (7, "an answer of more than 8388608 bytes"),
    ] {
        match learned(&schemas, SchemaKey::Id(id)).await {
            Ok(Some(Found::Unusable(why))) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_told_that_it_is_not_let_in_and_waits_once_for_what_does_not_answer() {
    let url = serve(Arc::default()).await;
    let command = |url: &str| {
        let mut schemas = schemas(&format!("url = \"{url}\""));
        Arc::get_mut(&mut schemas).unwrap().waits = true;
        schemas
    };
    let found = command(&url).find(SchemaKey::Id(4), Instant::now());
    assert!(
        matches!(&found, Some(Found::Forbidden(why)) if why.contains("401")),
        "{found:?}"
    );
    let away = command("http://127.0.0.1:1");
    away.unanswered().insert(SchemaKey::Id(9));
    let began = Instant::now();
    assert!(away.find(SchemaKey::Id(9), began).is_none());
    assert!(began.elapsed() < PATIENCE, "it is not asked again");
}

#[tokio::test]
async fn waits_for_many_missing_schemas_are_bounded_together() {
    let schemas = schemas("url = \"http://127.0.0.1:1\"");
    let now = Instant::now();
    let is_over = |seconds| schemas.is_wait_over(now + Duration::from_secs(seconds));
    for (seconds, expected) in [
        (0, false),
        (29, false),
        (58, false),
        (60, true),
        (89, true),
        // After a while without one the next is waited for.
        (119, false),
        (120, false),
    ] {
        assert_eq!(is_over(seconds), expected, "{seconds}");
    }
}

#[tokio::test]
async fn what_was_missing_before_is_asked_for_once_and_takes_no_wait_from_others() {
    let fake = Arc::new(Fake::default());
    let url = serve(fake.clone()).await;
    let schemas = schemas(&format!("url = \"{url}\""));
    let unusable = Found::Unusable("refers to shop.A".to_owned());
    for (id, found) in [(9, Found::Missing), (10, Found::Missing), (6, unusable)] {
        schemas.keep_missing(SchemaKey::Id(id), found, Duration::ZERO);
        let asked = tokio::time::timeout(MISSING / 2, learned(&schemas, SchemaKey::Id(id)));
        let found = asked.await.expect("no wait of its own");
        match found {
            Ok(Some(Found::Missing)) => assert_ne!(id, 6),
            Ok(Some(Found::Unusable(why))) => assert!(why.contains("and there is none"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(*fake.asked.lock().unwrap(), ["9", "10", "6"]);
    assert!(schemas.missing_since.lock().unwrap().is_none());
}
