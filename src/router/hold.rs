//! Requests that wait while a route holds. A request takes its place under the lock under which it saw the hold, so that a
//! release that comes after the swap of the table finds every one of them; they are let go in the order they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::signal::lock;

/// The waiting requests of one route.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// One waiting request. Dropped, it waits no more.
#[derive(Debug)]
pub struct Place {
    id: u64,
    released: oneshot::Receiver<()>,
    queue: Arc<Queue>,
}

impl Queue {
    /// Takes a place at the end, if fewer than `max` wait.
    pub fn enter(self: &Arc<Self>, max: u32) -> Option<Place> {
        let mut inner = lock(&self.inner);
        if inner.waiting.len() >= max as usize {
            return None;
        }
        let (sender, released) = oneshot::channel();
        let id = inner.next;
        inner.next += 1;
        inner.waiting.push_back((id, sender));
        Some(Place { id, released, queue: self.clone() })
    }

    /// Lets all go, in the order they came.
    pub fn release(&self) {
        let waiting = std::mem::take(&mut lock(&self.inner).waiting);
        for (_, sender) in waiting {
            // A request that has gone meanwhile needs no word.
            let _ = sender.send(());
        }
    }

    /// How many wait.
    pub fn held(&self) -> u64 {
        lock(&self.inner).waiting.len() as u64
    }
}

impl Place {
    /// Waits until it is released.
    pub async fn wait(&mut self) {
        // An error says that the queue let go of the sender without a word, which is a release as well.
        let _ = (&mut self.released).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = &mut lock(&self.queue.inner).waiting;
        // Ids grow from front to back.
        if let Ok(at) = waiting.binary_search_by_key(&self.id, |(id, _)| *id) {
            waiting.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lets_go_in_order_and_forgets_who_left() {
        let queue = Arc::new(Queue::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        let leaver = queue.enter(10).unwrap();
        for number in 0..4 {
            let mut place = queue.enter(10).unwrap();
            let order = order.clone();
            tasks.push(tokio::spawn(async move {
                place.wait().await;
                lock(&order).push(number);
            }));
        }
        assert_eq!(queue.held(), 5);
        drop(leaver);
        assert_eq!(queue.held(), 4);
        queue.release();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*lock(&order), [0, 1, 2, 3]);
        assert_eq!(queue.held(), 0);
    }

    #[test]
    fn is_full_at_its_limit() {
        let queue = Arc::new(Queue::default());
        let _first = queue.enter(1).unwrap();
        assert!(queue.enter(1).is_none());
        assert!(queue.enter(0).is_none());
    }
}
