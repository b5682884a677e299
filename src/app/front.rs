//! The thread that answers requests: apart from those that read, render and plan, so that status is told quickly while a
//! thousand apps are looked at.

use std::io;

use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime of one thread. What runs on it is dropped with it.
pub struct Front(Option<Runtime>);

impl Front {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("front").enable_all().build()?;
        Ok(Front(Some(runtime)))
    }

    /// Where to spawn what answers requests.
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }

    /// A socket whose requests are told of here.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn unix(&self, listener: UnixListener) -> io::Result<UnixListener> {
        let listener = listener.into_std()?;
        let _here = self.handle().enter();
        UnixListener::from_std(listener)
    }

    /// As [`Front::unix`].
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn tcp(&self, listener: TcpListener) -> io::Result<TcpListener> {
        let listener = listener.into_std()?;
        let _here = self.handle().enter();
        TcpListener::from_std(listener)
    }
}

impl Drop for Front {
    /// Does not wait, as a runtime that is dropped within another must not.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
