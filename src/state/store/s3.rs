//! As much of S3 as a snapshot store asks for, in memory: put, get, list, delete many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Serves one empty bucket `snapshots`; the endpoint's URL.
pub(super) async fn stand_in_for_s3() -> String {
    let router = Router::new()
        .fallback(answer)
        .with_state(Objects::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn answer(State(objects): State<Objects>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let query = parts.uri.query().unwrap_or_default();
    let key = parts
        .uri
        .path()
        .strip_prefix("/snapshots")
        .expect("the bucket")
        .trim_start_matches('/');
    let mut objects = objects.lock().unwrap();
    match parts.method {
        Method::PUT => {
            objects.insert(key.to_owned(), body);
            reply(StatusCode::OK, "")
        }
        Method::GET if query.contains("list-type=2") => {
            reply(StatusCode::OK, &list(&objects, query))
        }
        Method::GET => match objects.get(key) {
            Some(bytes) => Response::builder()
                .header("ETag", "\"1\"")
                .header("Last-Modified", MODIFIED)
                .body(Body::from(bytes.clone()))
                .unwrap(),
            None => reply(
                StatusCode::NOT_FOUND,
                "<Error><Code>NoSuchKey</Code></Error>",
            ),
        },
        Method::POST if query == "delete" => {
            let wanted = String::from_utf8(body.to_vec()).unwrap();
            let mut deleted = String::new();
            for key in wanted.split("<Key>").skip(1) {
                let key = key.split("</Key>").next().unwrap();
                objects.remove(key);
                deleted += &format!("<Deleted><Key>{key}</Key></Deleted>");
            }
            let result = format!("<DeleteResult>{deleted}</DeleteResult>");
            reply(StatusCode::OK, &result)
        }
        other => panic!("{other} {query} is not expected"),
    }
}

const MODIFIED: &str = "Sat, 21 Nov 2026 10:00:00 GMT";

fn list(objects: &BTreeMap<String, Bytes>, query: &str) -> String {
    let prefix = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "prefix")
        .expect("a prefix")
        .1;
    let contents: String = objects
        .iter()
        .filter(|(key, _)| key.starts_with(&*prefix))
        .map(|(key, bytes)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-21T10:00:00.000Z</LastModified>\
                 <ETag>\"1\"</ETag><Size>{}</Size></Contents>",
                bytes.len()
            )
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>")
}

fn reply(status: StatusCode, text: &str) -> Response {
    Response::builder()
        .status(status)
        .header("ETag", "\"1\"")
        .body(Body::from(text.to_owned()))
        .unwrap()
}
