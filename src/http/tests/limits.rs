//! Connections that are slow, silent, large or many.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::time::timeout;

use super::super::server::Limits;
use super::{DEADLINE, LIMITS, Served};

#[tokio::test]
async fn hostile_requests_are_answered_and_the_server_lives_on() {
    let served = Served::start().await;
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(500));
    let requests: [(&[u8], &[u16]); 6] = [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            &[400],
        ),
        (b"GET / HTTP/9.9\r\n\r\n", &[400, 505]),
        (
            b"GET /api/v1/streaming/%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            &[400],
        ),
        (
            b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
            &[400],
        ),
        (long_path.as_bytes(), &[414, 431]),
        (many_headers.as_bytes(), &[431]),
    ];
    for (request, statuses) in requests {
        let answer = served.send(request).await;
        assert!(statuses.contains(&answer.status), "{}", answer.head);
    }
    assert_eq!(served.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_connection_that_never_sends_a_request_does_not_hold_up_others_or_the_shutdown() {
    let served = Served::start().await;
    let mut silent = TcpStream::connect(served.address).expect("the server listens");
    silent.write_all(b"GET / HT").expect("the server reads");
    assert_eq!(served.get("/livez").await.status, 200);
    served.stop.send(()).expect("the server runs");
    timeout(DEADLINE, served.server)
        .await
        .expect("it ends in time")
        .expect("without a panic");
    TcpStream::connect(served.address).expect_err("nobody listens any more");
}

#[tokio::test]
async fn a_request_head_that_does_not_arrive_in_time_ends_the_connection() {
    let limits = Limits {
        header_timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let served = Served::start_within(limits).await;
    assert_cut_off(&served, b"GET / HTTP/1.1\r\nhost:").await;
}

#[tokio::test]
async fn a_connection_kept_alive_ends_when_its_time_is_up() {
    let limits = Limits {
        connection_age_max: Duration::from_millis(50),
        ..LIMITS
    };
    let served = Served::start_within(limits).await;
    assert_cut_off(&served, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_takes_no_answers_loses_its_connection_to_the_next() {
    let served = Served::start_within(Limits {
        connections_max: 1,
        write_timeout: Duration::from_millis(100),
        ..LIMITS
    })
    .await;
    let address = served.address;
    let pages = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64);
    let sender = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_write_timeout(Some(DEADLINE / 2))
            .expect("a valid timeout");
        // Answers that nobody takes fill every buffer, then the server is done with the client.
        while stream.write_all(&pages).is_ok() {}
        stream
    });
    let stream = sender.await.expect("no panic");
    assert_eq!(served.get("/livez").await.status, 200);
    drop(stream);
}

/// Sends this much of a request and sees the server close while the client would wait for more.
async fn assert_cut_off(served: &Served, request: &'static [u8]) {
    let address = served.address;
    let ended = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(DEADLINE / 2))
            .expect("a valid timeout");
        stream.write_all(request).expect("the server reads");
        stream.read_to_end(&mut Vec::new())
    });
    ended
        .await
        .expect("no panic")
        .expect("the server closes before the client gives up");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_until_another_ends() {
    let served = Served::start_within(Limits {
        connections_max: 1,
        ..LIMITS
    })
    .await;
    let address = served.address;
    let clients = tokio::task::spawn_blocking(move || {
        let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut status = [0; 12];
        let mut first = TcpStream::connect(address).expect("the server listens");
        first.write_all(request).expect("the server reads");
        first
            .read_exact(&mut status)
            .expect("the first connection is served");
        let mut second = TcpStream::connect(address).expect("the backlog takes it");
        second.write_all(request).expect("the backlog takes it");
        second
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a valid timeout");
        second
            .read_exact(&mut status)
            .expect_err("the only slot is taken");
        drop(first);
        second
            .set_read_timeout(Some(DEADLINE / 2))
            .expect("a valid timeout");
        second.read_exact(&mut status).expect("the slot is free");
        status
    });
    assert_eq!(&clients.await.expect("no panic"), b"HTTP/1.1 200");
}
