//! The proxy itself: one thread a client connection, one upstream connection a request.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Fault, Matcher, SeenRequest};
use crate::http::{Request, Response};

/// A running proxy. Dropped, it takes no more connections and lets go of what it holds.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Injection {
    state: Arc<State>,
    number: usize,
}

#[derive(Debug)]
struct State {
    upstream: String,
    rules: Mutex<Rules>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rules {
    requests: Vec<SeenRequest>,
    injections: Vec<Rule>,
    closed: bool,
}

#[derive(Debug)]
struct Rule {
    matcher: Matcher,
    fault: Fault,
    times_left: usize,
    hits: usize,
    finished: usize,
    released: bool,
}

impl Proxy {
    /// Starts a proxy on a free loopback port; `upstream_url` is `http://host:port`.
    pub fn start(upstream_url: &str) -> Result<Self> {
        let upstream = upstream_url.trim_end_matches('/').strip_prefix("http://");
        let upstream = upstream.with_context(|| format!("not http://host:port: {upstream_url}"))?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            rules: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&accepting);
                if state.lock().closed {
                    return;
                }
                thread::spawn(move || {
                    // A client or server that hangs up is what the tests are about.
                    let _ = serve(&state, &client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self { port, state })
    }

    /// Where to send requests: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next `times` requests that match meet the fault (`usize::MAX`: all). Of several
    /// injections that match a request, the first that has times left takes it.
    pub fn inject(&self, matcher: Matcher, fault: Fault, times: usize) -> Injection {
        let mut rules = self.state.lock();
        let rule = Rule {
            matcher,
            fault,
            times_left: times,
            hits: 0,
            finished: 0,
            released: false,
        };
        rules.injections.push(rule);
        Injection {
            state: Arc::clone(&self.state),
            number: rules.injections.len() - 1,
        }
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.state.lock().requests.clone()
    }

    /// Every INSERT so far, in order of arrival.
    pub fn inserts(&self) -> Vec<SeenRequest> {
        let mut requests = self.requests();
        requests.retain(SeenRequest::is_insert);
        requests
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.lock().closed = true;
        self.state.changed.notify_all();
        // Wakes the thread that accepts, so that it sees the end and lets go of the port.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Injection {
    /// How many requests have met the fault.
    pub fn hits(&self) -> usize {
        self.state.lock().injections[self.number].hits
    }

    /// Waits until `count` requests have met the fault (and, if it is a hold, are being held or
    /// were released).
    ///
    /// # Errors
    /// When they have not after `timeout`.
    pub fn wait_for_hits(&self, count: usize, timeout: Duration) -> Result<()> {
        self.wait(timeout, |rule| rule.hits >= count)
            .with_context(|| format!("of {count} hits"))
    }

    /// Waits until `count` faults are over: what had to be sent to the server was, and it has
    /// answered. After [`Injection::release`] of a held request this is the moment its insert is
    /// done.
    ///
    /// # Errors
    /// When they are not after `timeout`.
    pub fn wait_for_finished(&self, count: usize, timeout: Duration) -> Result<()> {
        self.wait(timeout, |rule| rule.finished >= count)
            .with_context(|| format!("of {count} to finish"))
    }

    /// Lets go of all that this injection holds or would hold.
    pub fn release(&self) {
        self.state.lock().injections[self.number].released = true;
        self.state.changed.notify_all();
    }

    /// No further request meets the fault; what is held stays held.
    pub fn stop(&self) {
        self.state.lock().injections[self.number].times_left = 0;
    }

    fn wait(&self, timeout: Duration, done: impl Fn(&Rule) -> bool) -> Result<()> {
        let rules = self.state.lock();
        let waited = self
            .state
            .changed
            .wait_timeout_while(rules, timeout, |rules| {
                !done(&rules.injections[self.number])
            });
        let (rules, _) = waited.expect("no holder of this lock panics");
        let rule = &rules.injections[self.number];
        ensure!(
            done(rule),
            "{:?} saw {} requests in {timeout:?}",
            rule.fault,
            rule.hits
        );
        Ok(())
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("no holder of this lock panics")
    }

    /// Remembers the request; returns its number and the fault it meets, if any.
    fn admit(&self, mut seen: SeenRequest) -> (usize, Option<(usize, Fault)>) {
        let mut rules = self.lock();
        let mut candidates = rules.injections.iter_mut().enumerate();
        let met = candidates.find_map(|(number, rule)| {
            if rule.times_left == 0 || !rule.matcher.takes(&seen) {
                return None;
            }
            rule.times_left -= 1;
            rule.hits += 1;
            Some((number, rule.fault.clone()))
        });
        seen.faulted = met.is_some();
        rules.requests.push(seen);
        self.changed.notify_all();
        (rules.requests.len() - 1, met)
    }

    fn wait_for_release(&self, injection: usize) {
        let rules = self.lock();
        let waiting = |rules: &mut Rules| !rules.injections[injection].released && !rules.closed;
        drop(
            self.changed
                .wait_while(rules, waiting)
                .expect("no holder of this lock panics"),
        );
    }

    fn finish(&self, request: usize, injection: Option<usize>, status: Option<u16>) {
        let mut rules = self.lock();
        rules.requests[request].status = status;
        if let Some(number) = injection {
            rules.injections[number].finished += 1;
        }
        self.changed.notify_all();
    }
}

fn serve(state: &State, client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 << 10, client);
    while let Some(request) = Request::read(&mut reader)? {
        let mut body = Vec::new();
        request.body(&mut reader)?.read_to_end(&mut body)?;
        let (number, met) = state.admit(SeenRequest::new(&request, &body));
        let exchange = Exchange {
            upstream: &state.upstream,
            request: &request,
            body: &body,
        };
        let (injection, reply) = match met {
            Some((injection, fault)) => (Some(injection), exchange.with(state, injection, &fault)),
            None => (None, exchange.forward().map(Some)),
        };
        let status = reply
            .as_ref()
            .ok()
            .and_then(Option::as_ref)
            .map(|reply| reply.status);
        state.finish(number, injection, status);
        match reply? {
            Some(reply) => reply.write(&mut &*client)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

struct Exchange<'a> {
    upstream: &'a str,
    request: &'a Request,
    body: &'a [u8],
}

impl Exchange<'_> {
    /// Runs the request through a fault; `None` cuts the client's connection.
    fn with(&self, state: &State, injection: usize, fault: &Fault) -> io::Result<Option<Response>> {
        match fault {
            Fault::Reject { status, body } => Ok(Some(rejection(*status, body))),
            Fault::Lie { body } => Ok(Some(Response::new(200, body.as_str()))),
            Fault::Disconnect => Ok(None),
            Fault::FailAfterWrite => self.forward().map(|_| None),
            Fault::HoldResponse => {
                let reply = self.forward()?;
                state.wait_for_release(injection);
                Ok(Some(reply))
            }
            Fault::HoldRequest => {
                state.wait_for_release(injection);
                self.forward().map(Some)
            }
            Fault::RespondSlowly { delay } => {
                let reply = self.forward()?;
                thread::sleep(*delay);
                Ok(Some(reply))
            }
            Fault::Duplicate => {
                let first = self.forward()?;
                let second = self.forward()?;
                Ok(Some(if first.status == 200 { second } else { first }))
            }
            Fault::CutMidBody { bytes } => {
                let upstream = self.send(&self.body[..self.body.len().min(*bytes)])?;
                upstream.shutdown(Shutdown::Both)?;
                Ok(None)
            }
        }
    }

    fn forward(&self) -> io::Result<Response> {
        let upstream = self.send(self.body)?;
        Response::read(&mut BufReader::new(upstream))
    }

    /// Sends the head, which announces the whole body, and then `body`.
    fn send(&self, body: &[u8]) -> io::Result<TcpStream> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\n",
            self.request.method, self.request.target
        );
        for (name, value) in self.request.headers() {
            let ours = [
                "content-length",
                "transfer-encoding",
                "connection",
                "expect",
            ];
            if !ours.contains(&name.as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let length = self.body.len();
        head.push_str(&format!(
            "content-length: {length}\r\nconnection: close\r\n\r\n"
        ));
        let mut upstream = TcpStream::connect(self.upstream)?;
        upstream.set_nodelay(true)?;
        upstream.write_all(head.as_bytes())?;
        upstream.write_all(body)?;
        Ok(upstream)
    }
}

fn rejection(status: u16, body: &str) -> Response {
    let response = Response::new(status, body);
    let code = body
        .strip_prefix("Code: ")
        .and_then(|rest| rest.split_once('.'));
    match code {
        Some((code, _)) => response.with_header("X-ClickHouse-Exception-Code", code),
        None if status == 200 => response.with_header("X-ClickHouse-Summary", "{}"),
        None => response,
    }
}
