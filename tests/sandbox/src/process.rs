//! Child processes that never outlive this one.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wait;
use crate::workdir::log_tail;

/// Whether this process runs as root, whom some servers refuse.
pub(crate) fn runs_as_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// CPU time a process used, from its start to its end.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// In its own code.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

/// A child process: killed by its id when dropped, and by the kernel when this process ends in
/// any way.
pub struct Process {
    pid: u32,
    child: Mutex<Child>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl Process {
    /// Starts the command in a process group of its own, so that Ctrl-C in a terminal reaches
    /// only this process, which then stops its children in order.
    pub fn spawn(command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let (reply, answer) = channel();
        keeper()
            .send(Spawn { command, reply })
            .expect("the keeper thread never ends");
        let child = answer
            .recv()
            .expect("the keeper thread answers every request")
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            pid: child.id(),
            child: Mutex::new(child),
        })
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time, with the last lines of its log.
    pub(crate) fn start(
        name: &str,
        command: Command,
        log: &Path,
        timeout: Duration,
        answers: impl Fn() -> bool,
    ) -> Result<Self> {
        let process = Self::spawn(command)?;
        wait::until(&format!("{name} answers"), timeout, || {
            (process.try_wait().is_some() || answers()).then_some(())
        })
        .with_context(|| log_tail(log))?;
        ensure!(
            process.try_wait().is_none(),
            "{name} gave up: {}",
            log_tail(log)
        );
        Ok(process)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGKILL, then waits for the end. Nothing happens if it has ended already.
    pub fn kill(&self) {
        let mut child = self.lock();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGTERM; see [`Process::wait`].
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// SIGINT, as Ctrl-C would send it.
    pub fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    /// SIGHUP, the order to read secrets again.
    pub fn hang_up(&self) {
        self.signal(libc::SIGHUP);
    }

    /// SIGQUIT, which some servers take as the order to end at once, children included.
    pub fn quit(&self) {
        self.signal(libc::SIGQUIT);
    }

    /// SIGSTOP: the process stands still until [`Process::resume`].
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// How it ended, or `None` while it runs.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        self.lock().try_wait().ok().flatten()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it still runs after `timeout`.
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        wait::until(&format!("process {} ends", self.pid), timeout, || {
            self.try_wait()
        })
    }

    /// What it used, once it has ended; `None` while it runs, and after [`Process::try_wait`] or
    /// [`Process::wait`] has seen it end.
    pub fn usage_at_end(&self) -> Option<Usage> {
        let _child = self.lock();
        // SAFETY: both are plain structs of integers, which all-zero bytes are valid for.
        let (mut info, mut usage): (libc::siginfo_t, libc::rusage) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // The C library's waitid leaves out the last argument, which the kernel's has.
        // SAFETY: both pointers are to live structs of the kernel's layout. WNOWAIT leaves the
        // child to be waited for, so its id stays ours.
        let asked = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PID,
                self.pid,
                &raw mut info,
                libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
                &raw mut usage,
            )
        };
        // SAFETY: waitid filled the struct, or left its zeros for a child that runs.
        let ended = asked == 0 && unsafe { info.si_pid() } != 0;
        ended.then(|| Usage {
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
        })
    }

    /// The largest it has been (`VmHWM`); `None` once it has ended.
    ///
    /// A child's `ru_maxrss` will not do: the kernel counts in it what the process that forked
    /// the child held at that moment.
    pub fn peak_resident_bytes(&self) -> Option<u64> {
        self.resident_bytes("VmHWM:")
    }

    /// Bytes of code and other mapped files in its memory; `None` of one that has ended.
    pub fn mapped_bytes(&self) -> Option<u64> {
        self.resident_bytes("RssFile:")
    }

    fn resident_bytes(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let mut lines = status.lines();
        let size = lines.find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = size.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    }

    fn signal(&self, signal: libc::c_int) {
        let mut child = self.lock();
        // A process that was waited for no longer owns its id.
        if matches!(child.try_wait(), Ok(None)) {
            // SAFETY: kill only takes integers, and the id is that of our unreaped child.
            unsafe { libc::kill(self.pid as libc::pid_t, signal) };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn duration(time: libc::timeval) -> Duration {
    let parts = (u64::try_from(time.tv_sec), u32::try_from(time.tv_usec));
    let (seconds, micros) = (parts.0.unwrap_or(0), parts.1.unwrap_or(0));
    Duration::new(seconds, micros * 1_000)
}

struct Spawn {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

/// The thread that starts all children. The kernel sends a child its parent-death signal when the
/// *thread* that started it ends, and the threads of tests end: this one lives as long as the
/// process.
fn keeper() -> &'static Sender<Spawn> {
    static KEEPER: OnceLock<Sender<Spawn>> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let (requests, received) = channel::<Spawn>();
        thread::Builder::new()
            .name("sandbox-keeper".into())
            .spawn(move || {
                for mut spawn in received {
                    let child = die_with_parent(&mut spawn.command).process_group(0).spawn();
                    let _ = spawn.reply.send(child);
                }
            })
            .expect("a thread can be started");
        requests
    })
}

fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = std::process::id() as libc::pid_t;
    let ask_kernel = move || {
        // SAFETY: prctl and getppid take and return integers and are async-signal-safe.
        let (asked, parent_now) = unsafe {
            (
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL),
                libc::getppid(),
            )
        };
        if asked != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have ended before the kernel was asked.
        if parent_now == parent {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: the closure allocates nothing, takes no lock and makes async-signal-safe calls only.
    unsafe { command.pre_exec(ask_kernel) }
}
