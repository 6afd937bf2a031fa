//! Tasks beside the lane: what they find comes back as a message, and so does that one has panicked.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::Sender;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::Message;
use crate::halt::Halt;

/// Runs a task on the runtime that all pipelines share. A panic in it ends its pipeline alone.
pub(super) fn spawn(
    runtime: &Handle,
    messages: &Sender<Message>,
    task: impl Future<Output = ()> + Send + 'static,
) -> AbortHandle {
    let messages = messages.clone();
    let watched = async move {
        // Nothing of a task that panicked is used again: its claim is abandoned, and the lane halts.
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            let _ = messages.send(Message::Panicked);
        }
    };
    runtime.spawn(watched).abort_handle()
}

/// The same for a thread: whoever holds this answers, and says so when it panics.
pub(super) struct Answers(pub(super) Sender<Message>);

impl Drop for Answers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(Message::Panicked);
        }
    }
}

/// A defect of the program, in a lane or one of its tasks.
pub(crate) fn panicked() -> Halt {
    Halt::new(
        "panic",
        "a defect of the program stopped this pipeline, and this one alone: what is not committed is read \
         again after a start; please report the panic that the log shows before this",
    )
}
