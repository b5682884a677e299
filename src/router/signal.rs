//! A one-way signal to many tasks, cheap to be polled along with other work: after the first poll a look at one flag.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Locks a mutex. What it guards is never left half-changed by a panic, so a poisoned one is as good.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The signal: it is fired once and stays fired.
#[derive(Debug, Default)]
pub struct Signal {
    fired: AtomicBool,
    next: AtomicU64,
    wakers: Mutex<HashMap<u64, Waker>>,
}

impl Signal {
    /// Fires the signal and wakes all that wait.
    pub fn fire(&self) {
        self.fired.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        wakers.into_values().for_each(Waker::wake);
    }

    /// Whether it was fired.
    pub fn is_fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }

    /// A future that ends when the signal is fired.
    pub fn wait(self: &Arc<Self>) -> Fired {
        Fired { signal: self.clone(), id: None, waker: None }
    }
}

/// See [`Signal::wait`].
#[derive(Debug)]
pub struct Fired {
    signal: Arc<Signal>,
    id: Option<u64>,
    waker: Option<Waker>,
}

impl Future for Fired {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.is_fired() {
            return Poll::Ready(());
        }
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let waker = context.waker().clone();
        let id = self.id.unwrap_or_else(|| self.signal.next.fetch_add(1, Ordering::Relaxed));
        self.id = Some(id);
        self.waker = Some(waker.clone());
        lock(&self.signal.wakers).insert(id, waker);
        // Fired between the first look and the insertion: the wakers may have been taken before this one was in.
        if self.signal.is_fired() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Fired {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&self.signal.wakers).remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_those_that_wait_and_those_that_come_later() {
        let signal = Arc::new(Signal::default());
        let waits = tokio::spawn(signal.wait());
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(signal.wait());
        signal.fire();
        waits.await.unwrap();
        signal.wait().await;
        assert!(lock(&signal.wakers).is_empty());
    }
}
