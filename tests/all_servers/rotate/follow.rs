//! Following the objects of a collection, as controllers and kubelets do.

use crate::sandbox::SANDBOX;
use futures_util::StreamExt;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What became of the objects.
pub enum Change {
    /// There are these and no others.
    All(Vec<Value>),
    /// One is new, or another than before.
    One(Value),
    /// One is gone.
    Gone(Value),
}

/// A thread that follows a collection. It ends when this is dropped.
pub struct Follower {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Follows the collection at that path. What is there has been seen when it returns.
    pub fn start(path: String, mut see: impl FnMut(Change) + Send + 'static) -> Self {
        let ending = Arc::new(AtomicBool::default());
        let told = Arc::clone(&ending);
        let (begun, begins) = std::sync::mpsc::channel();
        let tell = move |change| {
            see(change);
            // Only the first is waited for.
            let _ = begun.send(());
        };
        let thread = thread::spawn(move || follow(&path, &told, tell));
        begins.recv().expect("a list");
        Self {
            ending,
            thread: Some(thread),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // What it panicked with has been printed.
            let _ = thread.join();
        }
    }
}

/// Tells of every change until it is to end. A watch that breaks off begins again with a list.
fn follow(path: &str, ending: &AtomicBool, mut see: impl FnMut(Change)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = runtime.block_on(SANDBOX.client());
    while !ending.load(Ordering::SeqCst) {
        let listed = runtime.block_on(client.request::<Value>(get(path)));
        let Ok(mut list) = listed else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let watch = get(&format!("{path}?watch=1&resourceVersion={version}"));
        let Value::Array(items) = list["items"].take() else {
            panic!("{path}: no list");
        };
        see(Change::All(items));
        let next = watching(&client, watch);
        let mut next = std::pin::pin!(next);
        while !ending.load(Ordering::SeqCst) {
            let moment = Duration::from_millis(50);
            let change = async { tokio::time::timeout(moment, next.next()).await };
            match runtime.block_on(change) {
                Err(_) => {}
                Ok(Some(change)) => see(change),
                Ok(None) => break,
            }
        }
    }
}

/// The changes of a watch, as long as it goes well.
fn watching(
    client: &Client,
    watch: http::Request<Vec<u8>>,
) -> impl futures_util::Stream<Item = Change> {
    let opened = client.request_events::<Value>(watch);
    let opened = futures_util::stream::once(opened);
    let events = opened.filter_map(|events| async { events.ok() }).flatten();
    events
        .map(|event| match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                Some(Change::One(object))
            }
            Ok(WatchEvent::Deleted(object)) => Some(Change::Gone(object)),
            _ => None,
        })
        .take_while(|change| std::future::ready(change.is_some()))
        .filter_map(std::future::ready)
}

fn get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}
