//! What can be changed over HTTP, by whom, and how it is refused.

use serde_json::{Value, json};

use super::{Answer, LIMITS, Served};
use crate::config::Config;

const TOKEN: &str = "open-sesame";

async fn with_token() -> Served {
    let service = format!("admin_token = {TOKEN:?}");
    Served::start_with(LIMITS, &service, None).await
}

/// A pipeline that is valid and never started here.
fn order(name: &str) -> Value {
    json!({ "pipeline": pipeline(name), "start": false })
}

fn pipeline(name: &str) -> Value {
    json!({
        "name": name,
        "kind": "enrichment",
        "topics": [format!("{name}-events")],
        "group_id": format!("{name}-group"),
        "clickhouse": { "table": name },
        "batch": { "rows_max": 10 },
    })
}

impl Served {
    async fn with(&self, method: &str, target: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let target = format!("/api/v1/streaming/{target}");
        self.change(method, &target, TOKEN, &body).await
    }

    async fn state_of(&self, name: &str) -> (u16, Value) {
        let answer = self.get(&format!("/api/v1/streaming/{name}")).await;
        (answer.status, answer.json()["state"].clone())
    }

    fn kept(&self, name: &str) -> Option<Value> {
        let directory = self.directory.path().join("state/pipelines");
        let text = std::fs::read(directory.join(format!("{name}.json"))).ok()?;
        Some(serde_json::from_slice(&text).expect("what is kept is JSON"))
    }
}

/// Status, code and the paths of the problems.
fn refusal(answer: &Answer) -> (u16, String, Vec<String>) {
    let error = &answer.json()["error"];
    assert!(error["message"].is_string(), "{error}");
    let problems = error["problems"].as_array().expect("a list").iter();
    let path = |problem: &Value| {
        assert!(problem["message"].is_string(), "{error}");
        problem["path"].as_str().expect("a path").to_owned()
    };
    let code = error["code"].as_str().expect("a code").to_owned();
    (answer.status, code, problems.map(path).collect())
}

#[tokio::test]
async fn without_a_configured_token_nothing_can_be_changed() {
    let served = Served::start().await;
    for (method, target) in [
        ("POST", "create"),
        ("POST", "validate"),
        ("POST", "clickstream/stop"),
        ("PUT", "clickstream"),
        ("DELETE", "clickstream"),
    ] {
        let answer = served.with(method, target, &Value::Null).await;
        let (status, code, _) = refusal(&answer);
        assert_eq!(
            (status, code.as_str()),
            (403, "forbidden"),
            "{method} {target}"
        );
    }
    assert_eq!(served.get("/api/v1/streaming").await.status, 200);
}

#[tokio::test]
async fn a_wrong_token_is_401_and_after_ten_of_them_even_the_right_one_is_429() {
    let served = with_token().await;
    let target = "/api/v1/streaming/clickstream/pause";
    let without = served.request("POST", target).await;
    assert_eq!(without.status, 401);
    assert!(
        without.head.contains("www-authenticate: Bearer"),
        "{}",
        without.head
    );
    for n in 0..10 {
        let wrong = served.change("POST", target, "sesame", "").await;
        assert_eq!(wrong.status, 401, "{n}");
    }
    let late = served.change("POST", target, TOKEN, "").await;
    assert_eq!(refusal(&late).1, "too_many_attempts");
    assert_eq!(late.status, 429);
    assert_eq!(served.get(target).await.status, 405, "GET needs no token");
}

#[tokio::test]
async fn a_pipeline_is_created_kept_shown_and_removed() {
    let served = with_token().await;
    let created = served.with("POST", "create", &order("sales")).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert!(
        created.head.contains("location: /api/v1/streaming/sales"),
        "{}",
        created.head
    );
    assert_eq!(
        created.json(),
        json!({ "name": "sales", "state": "stopped" })
    );
    assert_eq!(served.kept("sales"), Some(order("sales")));
    let one = served.get("/api/v1/streaming/sales").await.json();
    assert_eq!(one["source"], "api");
    assert_eq!(one["kind"], "enrichment");
    assert_eq!(one["state"], "stopped");
    let again = served.with("POST", "create", &order("sales")).await;
    assert_eq!(refusal(&again).1, "exists");
    assert_eq!(again.status, 409);
    // The pipeline alone is an order too.
    let mut alone = pipeline("other");
    alone["name"] = json!("other");
    let valid = served.with("POST", "validate", &alone).await;
    assert_eq!(
        (valid.status, valid.json()),
        (200, json!({ "valid": true }))
    );
    assert_eq!(served.kept("other"), None, "validating creates nothing");
    let removed = served.with("DELETE", "sales", &Value::Null).await;
    assert_eq!(removed.status, 202, "{}", removed.body);
    assert_eq!(served.state_of("sales").await.0, 404);
    assert_eq!(served.kept("sales"), None);
    let gone = served.with("DELETE", "sales", &Value::Null).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn every_problem_of_a_pipeline_is_named_by_its_path_and_nothing_is_created() {
    let served = with_token().await;
    served.with("POST", "create", &order("sales")).await;
    let changed = |pointer: &str, value: Value| {
        let mut order = order("new");
        *order.pointer_mut(pointer).expect("a key") = value;
        order
    };
    let mut unknown = order("new");
    unknown["pipeline"]["colour"] = json!("red");
    let mut clash = order("new");
    clash["pipeline"]["group_id"] = json!("sales-group");
    clash["pipeline"]["topics"] = json!(["sales-events"]);
    for (order, path) in [
        (changed("/pipeline/kind", json!("magic")), "pipeline.kind"),
        (changed("/pipeline/name", json!("a b")), "pipeline.name"),
        (changed("/pipeline/topics", json!([])), "pipeline.topics"),
        (changed("/pipeline/topics", json!(null)), "pipeline.topics"),
        (changed("/pipeline/batch", json!(7)), "pipeline.batch"),
        (
            changed("/pipeline/batch/rows_max", json!("many")),
            "pipeline.batch.rows_max",
        ),
        (
            changed("/pipeline/clickhouse/table", json!("a.b")),
            "pipeline.clickhouse.table",
        ),
        (changed("/pipeline", json!(null)), "pipeline"),
        (changed("/start", json!("yes")), "start"),
        (unknown, "pipeline.colour"),
        (clash, "pipeline.group_id"),
        (
            json!({ "pipeline_name": "new", "type": "kafka_consumer" }),
            "config",
        ),
        (json!([1]), ""),
        (json!({}), ""),
    ] {
        for target in ["create", "validate"] {
            let answer = served.with("POST", target, &order).await;
            let (status, code, paths) = refusal(&answer);
            assert_eq!((status, code.as_str()), (422, "invalid"), "{order}");
            assert!(paths.iter().any(|found| found == path), "{path}: {paths:?}");
        }
    }
    assert_eq!(served.state_of("new").await.0, 404);
    assert_eq!(served.kept("new"), None);
}

#[tokio::test]
async fn moves_that_change_nothing_are_200_and_impossible_ones_409() {
    let served = with_token().await;
    served.with("POST", "create", &order("sales")).await;
    for (target, status) in [
        ("sales/drain", 200),
        ("sales/stop", 200),
        ("sales/pause", 409),
        ("sales/resume", 409),
        ("sales/checkpoint", 409),
        ("nobody/start", 404),
    ] {
        let answer = served.with("POST", target, &Value::Null).await;
        assert_eq!(answer.status, status, "{target}: {}", answer.body);
        if status == 200 {
            let expected = json!({ "name": "sales", "state": "stopped" });
            assert_eq!(answer.json(), expected, "{target}");
        }
    }
}

#[tokio::test]
async fn the_same_replacement_twice_changes_nothing() {
    let served = with_token().await;
    let absent = served.with("PUT", "sales", &order("sales")).await;
    assert_eq!(absent.status, 404);
    served.with("POST", "create", &order("sales")).await;
    let same = served.with("PUT", "sales", &order("sales")).await;
    assert_eq!(same.status, 200, "{}", same.body);
    let mut changed = order("sales");
    changed["pipeline"]["batch"]["rows_max"] = json!(20);
    for status in [202, 200] {
        let answer = served.with("PUT", "sales", &changed).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(served.kept("sales"), Some(changed.clone()));
    }
    let mut nameless = changed.clone();
    let table = nameless["pipeline"].as_object_mut().expect("a table");
    table.remove("name");
    assert_eq!(served.with("PUT", "sales", &nameless).await.status, 200);
    let other = served.with("PUT", "sales", &order("other")).await;
    assert_eq!(refusal(&other).2, ["pipeline.name"]);
    assert_eq!(served.kept("sales"), Some(changed));
}

#[tokio::test]
async fn a_name_of_the_file_is_taken_also_where_its_pipeline_does_not_run() {
    let served = with_token().await;
    let (of_file, named) = (["sales".to_owned()], ["other".to_owned()]);
    let started = served.supervisor.start_all(vec![], &of_file, &named);
    started.expect("nothing to start");
    let refused = served.with("POST", "create", &order("sales")).await;
    assert_eq!((refused.status, &*refusal(&refused).1), (409, "of_file"));
    assert_eq!(served.kept("sales"), None);
    let created = served.with("POST", "create", &order("own")).await;
    assert_eq!(created.status, 201, "{}", created.body);
}

#[tokio::test]
async fn created_pipelines_take_new_secrets_and_nothing_else_of_a_file_that_is_read_again() {
    let served = with_token().await;
    served.with("POST", "create", &order("sales")).await;
    let renewed = |text: &str| {
        let text = format!("[service]\nstate_dir = \"x\"\n{text}");
        let loaded = Config::parse(&text, "config.toml", served.directory.path(), []);
        let config = loaded.expect("a valid configuration").config;
        let supervisor = &served.supervisor;
        supervisor.renew_secrets(config.pipelines, &config.base)
    };
    assert_eq!(renewed("[clickhouse]\npassword = \"new\""), 1);
    // Under the new URL it would be another pipeline, which none takes.
    let both = "[clickhouse]\nurl = \"http://elsewhere:8123\"\npassword = \"newer\"";
    assert_eq!(renewed(both), 1);
}

#[tokio::test]
async fn a_process_with_nothing_to_do_goes_on_for_as_long_as_it_has_a_token() {
    let served = Served::start().await;
    served.supervisor.set_takes_orders(true);
    let (supervisor, (over, is_over)) = (served.supervisor.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        supervisor.wait();
        over.send(())
    });
    let early = is_over.recv_timeout(std::time::Duration::from_millis(100));
    assert!(early.is_err(), "somebody may create a pipeline");
    served.supervisor.set_takes_orders(false);
    is_over.recv_timeout(super::DEADLINE).expect("nobody can");
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_create_nothing() {
    let served = with_token().await;
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("\u{0}", 400),
        (deep.as_str(), 400),
        (large.as_str(), 413),
        ("1e999", 400),
        ("null", 422),
    ] {
        let answer = served
            .change("POST", "/api/v1/streaming/create", TOKEN, body)
            .await;
        let start: String = body.chars().take(20).collect();
        assert_eq!(answer.status, status, "{start}: {}", answer.body);
        assert!(answer.json()["error"]["code"].is_string(), "{start}");
    }
    // Larger than it says, chunk by chunk.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let request = format!(
        "POST /api/v1/streaming/create HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\
         transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(17)
    );
    assert_eq!(served.send(request.as_bytes()).await.status, 413);
    assert_eq!(served.get("/livez").await.status, 200);
    let all = served.get("/api/v1/streaming").await.json();
    assert_eq!(all["pipelines"].as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn the_description_names_every_call_and_every_one_it_names_is_answered() {
    let served = with_token().await;
    let answer = served.get("/api/v1/openapi.json").await;
    let description = answer.json();
    let mut calls = vec![];
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, call) in methods.as_object().expect("methods") {
            let needs_token = call.get("security").is_some();
            assert_eq!(needs_token, method != "get", "{method} {path}");
            calls.push(format!("{method} {path}"));
            let target = path.replace("{name}", "nobody");
            let (method, body) = (method.to_uppercase(), r#"{"pipeline":{}}"#);
            let answer = served.change(&method, &target, TOKEN, body).await;
            let documented = call["responses"].get(answer.status.to_string());
            assert!(documented.is_some(), "{method} {path}: {}", answer.body);
            assert_ne!(answer.status, 405, "{method} {path}");
        }
    }
    calls.sort_unstable();
    let name = "/api/v1/streaming/{name}";
    let mut expected: Vec<String> = [
        "start",
        "pause",
        "resume",
        "drain",
        "stop",
        "restart",
        "checkpoint",
        "limits",
    ]
    .iter()
    .map(|word| format!("post {name}/{word}"))
    .collect();
    expected.extend(["get", "put", "delete"].map(|method| format!("{method} {name}")));
    expected.push("get /api/v1/streaming".to_owned());
    expected.push("get /api/v1/openapi.json".to_owned());
    expected.push("get /api/v1/watermarks".to_owned());
    expected.extend(["create", "validate"].map(|word| format!("post /api/v1/streaming/{word}")));
    expected.sort_unstable();
    assert_eq!(calls, expected);
}
