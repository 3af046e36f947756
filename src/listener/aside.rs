//! What is waited for beside something that goes on all the time, at the price of one look each time.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;

/// A future that is polled when it has been woken itself, and not whenever its task is.
pub struct Aside<F> {
    future: F,
    bell: Arc<Bell>,
    waker: Waker,
    /// Whom the bell wakes.
    owner: Option<Waker>,
}

struct Bell {
    rung: AtomicBool,
    owner: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let owner = self.owner.lock().clone();
        if let Some(owner) = owner {
            owner.wake();
        }
    }
}

impl<F> Aside<F> {
    pub fn new(future: F) -> Self {
        let bell = Arc::new(Bell {
            // The first poll is nobody's call.
            rung: AtomicBool::new(true),
            owner: Mutex::default(),
        });
        Self {
            future,
            waker: Arc::clone(&bell).into(),
            bell,
            owner: None,
        }
    }
}

impl<F: Future + Unpin> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let task = context.waker();
        if !this
            .owner
            .as_ref()
            .is_some_and(|owner| owner.will_wake(task))
        {
            this.owner = Some(task.clone());
            *this.bell.owner.lock() = Some(task.clone());
        }
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.bell.rung.store(false, Ordering::Release);
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::atomic::AtomicUsize};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_is_woken() {
        let (notify, polls) = (Notify::new(), AtomicUsize::new(0));
        let mut notified = pin!(notify.notified());
        let counted = pin!(std::future::poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            notified.as_mut().poll(context)
        }));
        let mut aside = Aside::new(counted);
        for _ in 0..100 {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                () = &mut aside => panic!("nobody has woken it"),
            }
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let (_, ()) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                notify.notify_waiters();
            },
            aside
        );
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
