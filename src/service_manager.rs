//! What systemd is told of the service: that it runs, that it is alive, and that it stops. The protocol is that
//! of sd_notify(3); without `NOTIFY_SOCKET` nobody is told.

use std::ffi::{OsStr, OsString};
use std::io::{Error, Result};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Whoever started the process.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the process is alive.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    pub(crate) fn of_environment() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = address.and_then(|address| match connect(&address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(?address, %error, "NOTIFY_SOCKET: nobody is told that the service runs");
                None
            }
        });
        ServiceManager {
            watchdog: watchdog(
                std::env::var_os("WATCHDOG_USEC"),
                std::env::var_os("WATCHDOG_PID"),
                std::process::id(),
            ),
            socket,
        }
    }

    /// The configuration is read, and the pipelines start.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Reads nothing more.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Tells that the process is alive as long as `is_alive` says so, and does not end.
    pub(crate) async fn watch(&self, is_alive: impl Fn() -> bool) {
        let Some(interval) = self.watchdog else {
            return std::future::pending().await;
        };
        loop {
            if is_alive() {
                self.tell("WATCHDOG=1");
            }
            // Half of what is waited for, as the manual says.
            tokio::time::sleep(interval / 2).await;
        }
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::warn!(state, %error, "NOTIFY_SOCKET does not take it");
        }
    }
}

fn connect(address: &OsStr) -> Result<UnixDatagram> {
    let bytes = address.as_bytes();
    let address = match bytes {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => return Err(Error::other("neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not hold up the service.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// `None` where nobody watches, or another process is watched.
fn watchdog(micros: Option<OsString>, pid: Option<OsString>, own_pid: u32) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if pid.is_some_and(|pid| number(pid) != Some(u64::from(own_pid))) {
        return None;
    }
    let micros = number(micros?).filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_where_this_process_is_watched() {
        let some = |text: &str| Some(OsString::from(text));
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(some("1000000"), some("7"), 7), second);
        assert_eq!(watchdog(some("1000000"), None, 7), second);
        assert_eq!(watchdog(some("1000000"), some("8"), 7), None);
        assert_eq!(watchdog(some("0"), None, 7), None);
        assert_eq!(watchdog(some("soon"), None, 7), None);
        assert_eq!(watchdog(None, some("7"), 7), None);
    }

    #[test]
    fn whoever_listens_at_a_path_or_an_abstract_name_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let name = format!("streamweir-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a name");
        for (listener, address) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (
                UnixDatagram::bind_addr(&abstract_name),
                OsString::from(format!("@{name}")),
            ),
        ] {
            let listener = listener.expect("a socket");
            let manager = ServiceManager {
                socket: Some(connect(&address).expect("somebody listens")),
                watchdog: None,
            };
            manager.ready();
            manager.stopping();
            let mut buffer = [0; 64];
            for expected in ["READY=1", "STOPPING=1"] {
                let length = listener.recv(&mut buffer).expect("a message");
                assert_eq!(&buffer[..length], expected.as_bytes());
            }
        }
        assert!(connect(OsStr::new("nowhere")).is_err());
        ServiceManager::default().ready();
    }
}
