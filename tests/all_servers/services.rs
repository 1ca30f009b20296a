//! The two services that read the Secrets, as far as their callers see them. A port-forward to a
//! pod reaches them.

use crate::space::{Data, Space};
use crate::workloads::{environment_of, started};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpSocket;

/// How many services can run at a time.
const SLOTS: u16 = 32;
/// The pods' ports are this one and those above it.
const FIRST_POD_PORT: u16 = 20_000;

/// A port of pods and the local one behind it.
#[derive(Clone, Copy)]
struct Place {
    pod_port: u16,
    local_port: u16,
}

/// All places. A socket that does not listen keeps each local port from other programs: without a
/// service a connection is refused, as where a pod's program has ended.
static PLACES: LazyLock<Vec<(Place, TcpSocket)>> = LazyLock::new(|| {
    let place = |index| {
        let socket = TcpSocket::new_v4().unwrap();
        // A service can then listen there.
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let place = Place {
            pod_port: FIRST_POD_PORT + index,
            local_port: socket.local_addr().unwrap().port(),
        };
        (place, socket)
    };
    (0..SLOTS).map(place).collect()
});
static FREE: LazyLock<Mutex<Vec<Place>>> =
    LazyLock::new(|| Mutex::new(PLACES.iter().map(|(place, _)| *place).collect()));

/// The sandbox's arguments for all slots.
pub fn forwards() -> Vec<String> {
    let pair = |(place, _): &(Place, TcpSocket)| {
        let ports = format!("{}={}", place.pod_port, place.local_port);
        ["--forward".to_owned(), ports]
    };
    PLACES.iter().flat_map(pair).collect()
}

/// The right to answer at a port of pods.
pub struct Slot(Place);

impl Slot {
    /// One that nobody has.
    pub fn take() -> Self {
        let free = locked(&FREE).pop();
        Self(free.expect("a free slot: raise SLOTS, or let tests end their services earlier"))
    }

    /// The pods' port.
    pub fn port(&self) -> u16 {
        self.0.pod_port
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        locked(&FREE).push(self.0);
    }
}

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `GET /feed` needs one of the tokens.
    BrainApi,
    /// `POST /embed` needs one of the keys, and then a text, which no test has.
    Embeddings,
}

/// A service. It ends when this is dropped.
pub struct Service {
    state: Arc<State>,
    /// What takes the connections, while it runs.
    server: Mutex<Option<JoinHandle<()>>>,
    slot: Slot,
}

struct State {
    kind: Kind,
    /// The one that it follows.
    workload: Option<(Space, &'static str)>,
    run: Mutex<Run>,
    answered: Mutex<BTreeMap<u16, usize>>,
    ending: AtomicBool,
}

/// What one start of the service got.
#[derive(Default)]
struct Run {
    environment: Data,
    /// The pod's uid and the start of its container.
    pod: Option<(String, String)>,
}

impl Service {
    /// Starts with that environment, which it keeps whatever becomes of its pod.
    pub fn start(slot: Slot, kind: Kind, environment: Data) -> Self {
        let service = Self::new(slot, kind, None);
        service.restart_with(environment);
        service
    }

    /// One that does not run until [`Service::restart_with`].
    pub fn idle(slot: Slot, kind: Kind) -> Self {
        Self::new(slot, kind, None)
    }

    /// Starts with the environment of the workload's pod, which has to run; again whenever that is
    /// another or has started again. The first request after that finds it out: until then the
    /// Secrets have to stay as they were when the pod started.
    pub fn of(slot: Slot, kind: Kind, space: &Space, workload: &'static str) -> Self {
        let service = Self::new(slot, kind, Some((space.other_operator(), workload)));
        service.state.environment().unwrap();
        service.listen();
        service
    }

    fn new(slot: Slot, kind: Kind, workload: Option<(Space, &'static str)>) -> Self {
        let state = Arc::new(State {
            kind,
            workload,
            run: Mutex::default(),
            answered: Mutex::default(),
            ending: AtomicBool::default(),
        });
        Self {
            state,
            server: Mutex::default(),
            slot,
        }
    }

    /// Ends and starts again.
    pub fn restart_with(&self, environment: Data) {
        self.stop();
        locked(&self.state.run).environment = environment;
        self.listen();
    }

    fn listen(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.slot.0.local_port)).unwrap();
        let state = Arc::clone(&self.state);
        let serve = move || {
            for stream in listener.incoming().flatten() {
                if state.ending.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&state);
                // The client may hang up at any time.
                thread::spawn(move || state.serve(stream));
            }
        };
        *locked(&self.server) = Some(thread::spawn(serve));
    }

    /// Ends: connections are refused, until [`Service::restart_with`].
    pub fn stop(&self) {
        if let Some(server) = locked(&self.server).take() {
            self.state.ending.store(true, Ordering::SeqCst);
            // It is waiting for a connection, and somebody else may bring that, too.
            while !server.is_finished() {
                drop(TcpStream::connect(("127.0.0.1", self.slot.0.local_port)));
                thread::sleep(Duration::from_millis(1));
            }
            server.join().unwrap();
            self.state.ending.store(false, Ordering::SeqCst);
        }
    }

    /// The port at which it is reached without a port-forward.
    pub fn local_port(&self) -> u16 {
        self.slot.0.local_port
    }

    /// How many answers had that status.
    pub fn answered(&self, status: u16) -> usize {
        let answered = locked(&self.state.answered);
        answered.get(&status).copied().unwrap_or(0)
    }

    /// How many answers there were.
    pub fn answers(&self) -> usize {
        locked(&self.state.answered).values().sum()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    /// What the present run got; nothing where a kubelet would have nothing running.
    fn environment(&self) -> Option<Data> {
        let mut run = locked(&self.run);
        if let Some((space, workload)) = &self.workload {
            let pod = started(space, workload)?;
            if run.pod.as_ref() != Some(&pod) {
                run.environment = environment_of(space, workload).ok()?;
                run.pod = Some(pod);
            }
        }
        Some(run.environment.clone())
    }

    /// Answers one request: kwok would not tell the client that a connection has ended, so it must
    /// not count on one that lasts.
    fn serve(&self, stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let request = Request::read(&mut reader)?;
        let environment = self.environment();
        let status = environment.map_or(503, |it| self.kind.answer(&it, &request));
        *locked(&self.answered).entry(status).or_default() += 1;
        let (reason, body) = match status {
            200 => ("OK", "{\"items\":[]}"),
            401 => ("Unauthorized", "{\"detail\":\"invalid token\"}"),
            422 => (
                "Unprocessable Entity",
                "{\"detail\":[{\"type\":\"missing\"}]}",
            ),
            404 => ("Not Found", "{\"detail\":\"Not Found\"}"),
            _ => ("Service Unavailable", "{\"detail\":\"no pod\"}"),
        };
        write!(
            reader.get_mut(),
            "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

impl Kind {
    fn answer(self, environment: &Data, request: &Request) -> u16 {
        let accepted = match self {
            Self::BrainApi => {
                let list = entries(environment, "KB_ROUTER_TOKENS");
                let single = environment.get("KB_ROUTER_TOKEN").map(String::as_str);
                let single = single.filter(|token| !token.is_empty());
                if list.is_empty() {
                    single.into_iter().collect()
                } else {
                    list
                }
            }
            Self::Embeddings => entries(environment, "API_KEYS"),
        };
        let shown = request.bearer.as_deref();
        let allowed = accepted.is_empty() || shown.is_some_and(|token| accepted.contains(&token));
        match (self, request.line.as_str()) {
            (Self::BrainApi, "GET /feed") if allowed => 200,
            (Self::Embeddings, "POST /embed") if allowed && request.has_empty_object() => 422,
            (Self::BrainApi, "GET /feed") | (Self::Embeddings, "POST /embed") if !allowed => 401,
            _ => 404,
        }
    }
}

/// The entries of a list in the environment.
fn entries<'a>(environment: &'a Data, name: &str) -> Vec<&'a str> {
    let list = environment.get(name).map_or("", String::as_str);
    let entries = list.split(',').map(str::trim);
    entries.filter(|entry| !entry.is_empty()).collect()
}

struct Request {
    /// The method and the path.
    line: String,
    bearer: Option<String>,
    body: Vec<u8>,
}

impl Request {
    fn read(reader: &mut BufReader<TcpStream>) -> Result<Self> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let line = format!("{} {}", word(), word());
        let (mut bearer, mut length) = (None, 0);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim_end_matches(['\r', '\n']);
            let Some((name, value)) = header.split_once(':') else {
                break;
            };
            let value = value.trim_start_matches(' ');
            match name.to_ascii_lowercase().as_str() {
                "authorization" => bearer = value.strip_prefix("Bearer ").map(str::to_owned),
                "content-length" => length = value.parse().map_err(Error::other)?,
                "transfer-encoding" => return Err(Error::other("only bodies with a length")),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(Self { line, bearer, body })
    }

    fn has_empty_object(&self) -> bool {
        serde_json::from_slice(&self.body)
            .is_ok_and(|body: serde_json::Value| body == serde_json::json!({}))
    }
}

/// What a test that has failed left behind is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
