//! Requests to the services, and what came of them.

use crate::services::{Kind, Service, Slot};
use crate::space::Data;
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many good answers a client has to have got for its silence about others to mean something.
pub const ENOUGH: usize = 20;

/// A service of a namespace, which runs as its pod does.
pub struct Server {
    namespace: String,
    /// The label of its pod.
    app: &'static str,
    /// Which service.
    pub kind: Kind,
    service: Service,
    /// How many times it has started.
    starts: AtomicUsize,
    /// The uid of the pod in which it runs.
    pod: Mutex<Option<String>>,
}

/// A client as a kind of service sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sender {
    /// `NAMESPACE/APP`.
    pub from: String,
    /// The name of the variable with its token.
    pub token: &'static str,
}

/// A request that was answered 401 or 403.
#[derive(Debug)]
pub struct Refusal {
    /// Who sent it.
    pub sender: Sender,
    /// The pod it ran in, and the number of that start of its workload's.
    pub pod: (String, usize),
    /// The server and the number of its start.
    pub server: (String, usize),
    /// When, since the load began.
    pub at: Duration,
    /// The status.
    pub status: u16,
}

/// What came of all requests.
#[derive(Debug, Default)]
pub struct Counts {
    /// The statuses of the answers to each client.
    pub statuses: BTreeMap<Sender, BTreeMap<u16, usize>>,
    /// How often there was nobody to answer each client: a server with one replica is away while
    /// its pod is replaced.
    pub away: BTreeMap<Sender, usize>,
    /// What was refused.
    pub refused: Vec<Refusal>,
    /// How often each workload's pods started, by `NAMESPACE/APP`.
    pub starts: BTreeMap<String, usize>,
    /// How many answers a stranger got with a token that nobody ever gave out, and how many of
    /// them were good.
    pub strangers: (usize, usize),
}

impl Counts {
    /// How often a workload's pods started.
    pub fn starts(&self, namespace: &str, app: &str) -> usize {
        let starts = self.starts.get(&format!("{namespace}/{app}"));
        starts.copied().unwrap_or(0)
    }

    /// No request was refused, each client got its answers, and no stranger got in.
    #[track_caller]
    pub fn assert_no_refusal(&self) {
        assert!(self.refused.is_empty(), "refused:\n{self}");
        self.assert_traffic();
    }

    /// Requests were refused: the load can tell.
    #[track_caller]
    pub fn assert_refusals(&self) {
        assert!(!self.refused.is_empty(), "nothing was refused:\n{self}");
        self.assert_traffic();
    }

    #[track_caller]
    fn assert_traffic(&self) {
        assert!(!self.statuses.is_empty(), "no client");
        for (sender, statuses) in &self.statuses {
            let good = [200, 422].map(|status| statuses.get(&status).copied().unwrap_or(0));
            let good: usize = good.iter().sum();
            assert!(good >= ENOUGH, "{sender} got {good} good answers:\n{self}");
            let known = |status: &u16| matches!(status, 200 | 422 | 401 | 403);
            assert!(statuses.keys().all(known), "{sender}:\n{self}");
        }
        let (answers, good) = self.strangers;
        assert!(answers >= ENOUGH, "the stranger got {answers} answers");
        assert_eq!(good, 0, "a stranger was let in:\n{self}");
    }
}

impl Display for Sender {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} with {}", self.from, self.token)
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for refusal in self.refused.iter().take(20) {
            let (pod, start) = &refusal.pod;
            let (server, server_start) = &refusal.server;
            writeln!(
                f,
                "{} at {:?}: {} in {pod} (start {start}) by {server} (start {server_start})",
                refusal.status, refusal.at, refusal.sender
            )?;
        }
        writeln!(f, "{} refused", self.refused.len())?;
        for (sender, statuses) in &self.statuses {
            let away = self.away.get(sender).copied().unwrap_or(0);
            writeln!(f, "{sender}: {statuses:?}, away {away}")?;
        }
        let (answers, good) = self.strangers;
        writeln!(f, "stranger: {good} of {answers} good")?;
        writeln!(f, "starts: {:?}", self.starts)
    }
}

impl Server {
    /// One that has not started yet.
    pub fn new(namespace: &str, app: &'static str, kind: Kind, slot: Slot) -> Self {
        Self {
            namespace: namespace.to_owned(),
            app,
            kind,
            service: Service::idle(slot, kind),
            starts: AtomicUsize::default(),
            pod: Mutex::default(),
        }
    }

    /// Starts it in the pod of that uid.
    pub fn start_in(&self, uid: &str, environment: &Data) {
        let mut pod = self.pod.lock().unwrap();
        self.starts.fetch_add(1, Ordering::SeqCst);
        self.service.restart_with(environment.clone());
        *pod = Some(uid.to_owned());
    }

    /// Ends it if it runs there.
    pub fn end_in(&self, uid: &str) {
        let mut pod = self.pod.lock().unwrap();
        if pod.as_deref() == Some(uid) {
            self.service.stop();
            *pod = None;
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("{}/{}", self.namespace, self.app)
    }

    /// The status of the answer to a request with that token; `None` where nobody answers.
    pub fn ask(&self, token: Option<&str>) -> Option<u16> {
        let address = ("127.0.0.1", self.service.local_port());
        let mut stream = TcpStream::connect(address).ok()?;
        let limit = Some(Duration::from_secs(10));
        stream.set_read_timeout(limit).ok()?;
        let (line, body) = match self.kind {
            Kind::BrainApi => ("GET /feed", ""),
            Kind::Embeddings => ("POST /embed", "{}"),
        };
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "{line} HTTP/1.1\r\nHost: it\r\n{}Content-Length: {}\r\n\r\n{body}",
            token.unwrap_or_default(),
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        // HTTP/1.1 200
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.get(9..12)?.parse().ok()
    }

    /// Whether it is the one of such pods.
    pub fn is_of(&self, namespace: &str, app: &str) -> bool {
        (self.namespace.as_str(), self.app) == (namespace, app)
    }

    /// The number of its present start.
    pub fn start(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }
}

/// Whether the status is that of a request that was let in.
pub fn is_good(status: u16) -> bool {
    matches!(status, 200 | 422)
}
