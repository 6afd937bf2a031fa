//! This machine: memory, files, the state directory, and who has our address.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::super::facts::{Listener, MachineFacts};
use super::any_certificate;
use crate::config::Service;

const HTTP_TIMEOUT: Duration = Duration::from_secs(3);
/// Of an answer that names pipelines.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

pub(super) fn gather(service: &Service) -> MachineFacts {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo_bytes(&meminfo, "MemTotal");
    let limit = cgroup_limit();
    MachineFacts {
        memory_bytes: match (total, limit) {
            (Some(total), Some(limit)) => Some(total.min(limit)),
            (total, limit) => total.or(limit),
        },
        file_limit: file_limit(),
        state_dir_problem: state_dir_problem(&service.state_dir),
        listener: listener(service.http_listen, service.http_tls.is_some()),
    }
}

/// A line such as `MemTotal:   16384 kB`, whose kB are 1,024 bytes.
fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number = rest.strip_prefix(':')?.trim().strip_suffix(" kB")?;
    number.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What this process's control group may take, where there is a limit.
fn cgroup_limit() -> Option<u64> {
    let files = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limits = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let mut limits = limits.filter_map(|text| text.trim().parse::<u64>().ok());
    // The old interface says "none" by a number near 2^63.
    limits.find(|limit| *limit < 1 << 62)
}

fn file_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is ours and outlives the call.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (answer == 0).then_some(limit.rlim_cur)
}

/// Why nothing could be kept in `directory`, or in the first of its parents that exists, since the daemon
/// makes the rest. Nothing is written.
fn state_dir_problem(directory: &Path) -> Option<String> {
    let existing = directory.ancestors().find(|path| path.exists())?;
    let place = existing.display();
    if !existing.is_dir() {
        return Some(format!("{place} is no directory"));
    }
    let name = std::ffi::CString::new(existing.as_os_str().as_encoded_bytes()).ok()?;
    // SAFETY: the name is a C string that outlives the call.
    let answer = unsafe { libc::access(name.as_ptr(), libc::W_OK | libc::X_OK) };
    if answer != 0 {
        let error = std::io::Error::last_os_error();
        return Some(format!("{place}: {error}"));
    }
    free_bytes(&name)
        .filter(|free| *free < 64 << 20)
        .map(|free| format!("{place} has {} MiB left", free >> 20))
}

/// What this user may still write to the file system of `name`.
fn free_bytes(name: &std::ffi::CStr) -> Option<u64> {
    let mut stats = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the structure is ours; it is read only after the call has filled it.
    let stats = unsafe {
        if libc::statvfs(name.as_ptr(), stats.as_mut_ptr()) != 0 {
            return None;
        }
        stats.assume_init()
    };
    Some(stats.f_bavail * stats.f_frsize)
}

/// Who has the address: tried by listening, and if that fails by asking, as the file says and then the
/// other way, since the daemon may run under the file as it was before.
fn listener(address: SocketAddr, with_tls: bool) -> Listener {
    let error = match TcpListener::bind(address) {
        Ok(_) => return Listener::Free,
        Err(error) => error,
    };
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return Listener::Unusable(error.to_string());
    }
    match ask(address, with_tls).or_else(|| ask(address, !with_tls)) {
        Some(names) => Listener::Daemon(names),
        None => Listener::Other(error.to_string()),
    }
}

/// The names of the pipelines that a daemon at `address` runs.
fn ask(address: SocketAddr, with_tls: bool) -> Option<BTreeSet<String>> {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let stream = TcpStream::connect_timeout(&address, HTTP_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(HTTP_TIMEOUT)).ok()?;
    let request =
        format!("GET /api/v1/streaming HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answer = if with_tls {
        let connection = any_certificate::connection(address.ip())?;
        exchange(rustls::StreamOwned::new(connection, stream), &request)?
    } else {
        exchange(stream, &request)?
    };
    let (_, body) = answer.split_once("\r\n\r\n")?;
    // A body in chunks has their lengths around it.
    let body = &body[body.find('{')?..=body.rfind('}')?];
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let pipelines = body.get("pipelines")?.as_array()?.iter();
    let names = pipelines.filter_map(|p| p.get("name")?.as_str().map(str::to_owned));
    Some(names.collect())
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Option<String> {
    stream.write_all(request.as_bytes()).ok()?;
    stream.flush().ok()?;
    let mut answer = vec![];
    // However the connection ends, a whole answer is one.
    let _ = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    Some(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kibibytes() {
        let text = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal"), Some(16 << 20));
        assert_eq!(meminfo_bytes(text, "MemAvailable"), Some(2 << 20));
        assert_eq!(meminfo_bytes("", "MemTotal"), None);
    }

    #[test]
    fn an_address_that_another_program_has_is_not_a_daemons() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = other.accept().unwrap();
                let _ = stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\nno");
            }
        });
        assert!(matches!(listener(address, false), Listener::Other(_)));
        answering.join().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        assert_eq!(listener(address, false), Listener::Free);
    }

    #[test]
    fn a_daemon_is_known_by_tls_and_without_it_whatever_the_file_says() {
        for (serves_tls, file_says_tls) in [(true, true), (true, false), (false, true)] {
            let daemon = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = daemon.local_addr().unwrap();
            let answering = std::thread::spawn(move || {
                for _ in 0..if serves_tls == file_says_tls { 1 } else { 2 } {
                    let (stream, _) = daemon.accept().unwrap();
                    answer(stream, serves_tls);
                }
            });
            let names = ["made".to_owned()].into();
            let found = listener(address, file_says_tls);
            assert_eq!(found, Listener::Daemon(names), "{serves_tls}");
            answering.join().unwrap();
        }
    }

    fn answer(mut stream: TcpStream, with_tls: bool) {
        let text = "HTTP/1.0 200 OK\r\n\r\n{\"pipelines\":[{\"name\":\"made\"}]}";
        let mut request = [0; 1_024];
        if !with_tls {
            // What is no HTTP has no answer.
            if stream.read(&mut request).is_ok() && request.starts_with(b"GET ") {
                let _ = stream.write_all(text.as_bytes());
            }
            return;
        }
        let connection = rustls::ServerConnection::new(any_certificate::tests::server()).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        if stream.read(&mut request).is_ok() {
            let _ = stream.write_all(text.as_bytes());
        }
    }

    #[test]
    fn a_directory_that_is_still_to_be_made_is_judged_by_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(state_dir_problem(&directory.path().join("a/b")), None);
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let problem = state_dir_problem(&file.join("state")).unwrap();
        assert!(problem.contains("is no directory"), "{problem}");
    }
}
