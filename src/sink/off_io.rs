//! Work that takes a processor for long does not hold up the two threads that serve inserts, profiles,
//! dead letters and HTTP.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work` here and now, while the other tasks of this thread go on elsewhere.
pub(super) fn off_io<T>(work: impl FnOnce() -> T) -> T {
    let is_shared = Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if is_shared {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn other_tasks_go_on_meanwhile() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime");
        let (done, is_done) = channel();
        let busy = runtime.spawn(async move {
            // The only thread of the runtime serves this one meanwhile.
            tokio::spawn(async move { done.send(()) });
            off_io(|| is_done.recv_timeout(Duration::from_secs(30)).is_ok())
        });
        assert!(runtime.block_on(busy).expect("it ends"));
        assert_eq!(off_io(|| 7), 7);
    }
}
