//! A schema registry in this process, for records whose schemas are known beforehand.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

/// Has these schemas, each as the newest of the subject `of-ID` too, and answers the first request with an
/// error.
pub fn registry(schemas: Vec<(u32, String)>) -> String {
    registry_for(schemas, None)
}

/// The same, and lets in only those who send one of these headers `Authorization`.
pub fn registry_for(schemas: Vec<(u32, String)>, let_in: Option<Vec<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/base", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
            let sent = request.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                (name.eq_ignore_ascii_case("authorization")).then_some(value)
            });
            let is_let_in = let_in.as_ref().is_none_or(|let_in| {
                sent.is_some_and(|sent| let_in.iter().any(|known| known == sent))
            });
            let schema = schemas.iter().find(|(id, _)| {
                let subject = format!("GET /base/subjects/of-{id}-value/versions/latest ");
                let id = format!("GET /base/schemas/ids/{id} ");
                request.starts_with(&id) || request.starts_with(&subject)
            });
            let (status, body) = match schema {
                _ if count == 0 => ("503 Service Unavailable", String::new()),
                _ if !is_let_in => {
                    let body = r#"{"error_code":40101,"message":"Unauthorized"}"#;
                    ("401 Unauthorized", body.to_owned())
                }
                Some((_, schema)) => {
                    let kind = match () {
                        () if schema.starts_with("syntax") => "PROTOBUF",
                        () if schema.contains("\"properties\"") => "JSON",
                        () => "AVRO",
                    };
                    let body =
                        serde_json::json!({ "schema": schema, "schemaType": kind, "version": 3 });
                    ("200 OK", body.to_string())
                }
                None => ("404 Not Found", r#"{"error_code":40403}"#.to_owned()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

/// A record behind the frame of its schema.
pub fn framed(schema: u32, body: &[u8]) -> Vec<u8> {
    [&[0][..], &schema.to_be_bytes(), body].concat()
}
