//! A brain under load: who reads a token keeps sending it as long as its pod is there.

use super::kubelet::{Containers, Kubelet};
use super::traffic::{Counts, ENOUGH, Refusal, Sender, Server, is_good};
use crate::services::{Kind, Slot};
use crate::space::{Data, Space};
use crate::wait::wait;
use crate::workloads::{
    AGENTS, BRAIN_API, WORKLOADS, agents_by_hand, by_hand, install, ports, wait_ready,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The labels of the pods of the services.
pub const BRAIN_API_APP: &str = "agentibrain-brain-api";
/// See [`BRAIN_API_APP`].
pub const EMBEDDINGS_APP: &str = "agentibrain-embeddings";

/// How long a client waits after an answer, for each load that runs: together they send no more than one
/// would, and leave the processors to what is tested.
const PAUSE: Duration = Duration::from_millis(15);
static LOADS: AtomicU32 = AtomicU32::new(0);
/// What nobody has.
const STRANGE: &str = "a-token-that-nobody-gave-out";

/// What a namespace of the fleet has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Agents, which call the brain at home.
    Agents,
    /// Agents and a brain-api of its own, which calls the embeddings service at home.
    BrainApi,
}

/// A brain with its clients and its fleet. What runs ends when this is dropped.
pub struct Load {
    shared: Arc<Shared>,
    kubelets: BTreeMap<String, Kubelet<Shared>>,
    stranger: Option<Client>,
}

struct Shared {
    began: Instant,
    servers: Vec<Server>,
    /// By the uids of the pods; `None` once no client is to start any more.
    clients: Mutex<Option<BTreeMap<String, Vec<Client>>>>,
    counts: Mutex<Counts>,
}

/// A thread that keeps sending.
struct Client {
    sender: Sender,
    ending: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Load {
    /// Installs the chart at home, where the Secrets have to be, and agents there and in the fleet;
    /// all pods are ready when it returns. A Deployment has rolled out before its old pods have
    /// ended: these agents have that grace period in seconds, and take a tenth of it.
    pub fn start(home: &Space, fleet: &[(Space, Holds)], period: u64) -> Self {
        let (brain_api, embeddings) = (Slot::take(), Slot::take());
        install(home, &by_hand(ports(brain_api.port(), embeddings.port())));
        let server =
            |space: &Space, app, kind, slot| Server::new(&space.namespace, app, kind, slot);
        let mut servers = vec![
            server(home, BRAIN_API_APP, Kind::BrainApi, brain_api),
            server(home, EMBEDDINGS_APP, Kind::Embeddings, embeddings),
        ];
        for (space, holds) in fleet {
            if *holds == Holds::BrainApi {
                let slot = Slot::take();
                let workloads = json!({
                    BRAIN_API_APP: { "port": slot.port() },
                    EMBEDDINGS_APP: null,
                    "brain-keeper": null,
                });
                install(space, &by_hand(json!({ "workloads": workloads })));
                servers.push(server(space, BRAIN_API_APP, Kind::BrainApi, slot));
            }
        }
        let shared = Arc::new(Shared {
            began: Instant::now(),
            servers,
            clients: Mutex::new(Some(BTreeMap::new())),
            counts: Mutex::default(),
        });
        LOADS.fetch_add(1, Ordering::SeqCst);
        let mut load = Self {
            stranger: None,
            kubelets: BTreeMap::new(),
            shared,
        };
        let members = fleet.iter().map(|(space, _)| space);
        for space in members.chain([home]) {
            agents_by_hand(space, period);
            let kubelet = Kubelet::start(space, &load.shared);
            load.kubelets.insert(space.namespace.clone(), kubelet);
        }
        load.wait_ready(home, fleet);
        let sender = Sender {
            from: "stranger".to_owned(),
            token: "",
        };
        let count = |shared: &Shared, answer: Answer| {
            if let Some(status) = answer.status {
                let (answers, good) = &mut locked(&shared.counts).strangers;
                *answers += 1;
                *good += usize::from(is_good(status));
            }
        };
        let servers = (0..load.shared.servers.len()).collect();
        let token = Some(STRANGE.to_owned());
        load.stranger = Some(Client::start(&load.shared, sender, servers, token, count));
        load
    }

    /// Waits until all workloads have rolled out.
    pub fn wait_ready(&self, home: &Space, fleet: &[(Space, Holds)]) {
        for workload in WORKLOADS.into_iter().chain([AGENTS]) {
            wait_ready(home, workload);
        }
        for (space, holds) in fleet {
            wait_ready(space, AGENTS);
            if *holds == Holds::BrainApi {
                wait_ready(space, BRAIN_API);
            }
        }
    }

    /// Waits until each client that runs now has got as many good answers from now on as are enough.
    pub fn wait_for_traffic(&self) {
        let goods = || -> BTreeMap<(String, Sender), usize> {
            let clients = locked(&self.shared.clients);
            let pods = clients.iter().flatten();
            let all = pods.flat_map(|(uid, clients)| clients.iter().map(move |one| (uid, one)));
            all.map(|(uid, one)| ((uid.clone(), one.sender.clone()), one.good()))
                .collect()
        };
        let before = goods();
        assert!(!before.is_empty(), "no client runs");
        wait("every client gets an answer", || {
            let now = goods();
            // One whose pod has gone meanwhile is not waited for.
            before
                .iter()
                .all(|(client, count)| now.get(client).is_none_or(|now| *now >= count + ENOUGH))
        });
    }

    /// See [`Kubelet::crash`].
    pub fn crash(&self, space: &Space, workload: &str) {
        self.kubelets[&space.namespace].crash(workload);
    }

    /// What the services of that kind answer to a token; 0 where nobody answers.
    pub fn answers(&self, kind: Kind, token: &str) -> Vec<u16> {
        let servers = self.shared.of_kind(kind).into_iter();
        let ask = |index: usize| self.shared.servers[index].ask(Some(token));
        servers.map(|index| ask(index).unwrap_or(0)).collect()
    }

    /// Has somebody else send that token to the services of that kind, from now on.
    pub fn send(&self, from: &str, kind: Kind, token: &str) {
        let sender = Sender {
            from: from.to_owned(),
            token: "a token of its own",
        };
        let token = Some(token.to_owned());
        let client = Client::counted(&self.shared, sender, kind, token, (from.to_owned(), 1));
        let mut clients = locked(&self.shared.clients);
        let clients = clients.as_mut().expect("before the end");
        clients.entry(from.to_owned()).or_default().push(client);
    }

    /// Ends all clients, for good; the services go on, and pods still start.
    pub fn stop(&mut self) -> Counts {
        let clients = locked(&self.shared.clients).take();
        let clients = clients
            .into_iter()
            .flatten()
            .flat_map(|(_, clients)| clients);
        end_all(clients.chain(self.stranger.take()).collect());
        std::mem::take(&mut *locked(&self.shared.counts))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.kubelets.clear();
        self.stop();
        LOADS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What came of one request.
struct Answer {
    /// The index of the server.
    server: usize,
    status: Option<u16>,
}

impl Client {
    /// Sends to each of the servers in turn until it is told to end.
    fn start(
        shared: &Arc<Shared>,
        sender: Sender,
        servers: Vec<usize>,
        token: Option<String>,
        count: impl Fn(&Shared, Answer) + Send + 'static,
    ) -> Self {
        let (ending, good) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (told, counted, shared) = (Arc::clone(&ending), Arc::clone(&good), Arc::clone(shared));
        let send = move || {
            for server in servers.iter().copied().cycle() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let status = shared.servers[server].ask(token.as_deref());
                count(&shared, Answer { server, status });
                if status.is_some_and(is_good) {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                thread::sleep(PAUSE * LOADS.load(Ordering::SeqCst));
            }
        };
        Self {
            sender,
            ending,
            good,
            thread: thread::spawn(send),
        }
    }

    /// The same to all services of a kind; what comes of it is counted.
    fn counted(
        shared: &Arc<Shared>,
        sender: Sender,
        kind: Kind,
        token: Option<String>,
        pod: (String, usize),
    ) -> Self {
        let named = sender.clone();
        let count = move |shared: &Shared, answer| shared.count(&named, &pod, &answer);
        Self::start(shared, sender, shared.of_kind(kind), token, count)
    }

    fn good(&self) -> usize {
        self.good.load(Ordering::SeqCst)
    }
}

/// Ends clients, and waits for the answers that they are waiting for.
fn end_all(clients: Vec<Client>) {
    for client in &clients {
        client.ending.store(true, Ordering::SeqCst);
    }
    for client in clients {
        client.thread.join().unwrap();
    }
}

impl Shared {
    /// The indices of the servers of a kind.
    fn of_kind(&self, kind: Kind) -> Vec<usize> {
        let all = 0..self.servers.len();
        all.filter(|index| self.servers[*index].kind == kind)
            .collect()
    }

    /// Counts what came of a request of a client in that pod, at that start of its workload's pods.
    fn count(&self, sender: &Sender, pod: &(String, usize), answer: &Answer) {
        let mut counts = locked(&self.counts);
        let Some(status) = answer.status else {
            *counts.away.entry(sender.clone()).or_default() += 1;
            return;
        };
        let statuses = counts.statuses.entry(sender.clone()).or_default();
        *statuses.entry(status).or_default() += 1;
        if matches!(status, 401 | 403) {
            let server = &self.servers[answer.server];
            counts.refused.push(Refusal {
                sender: sender.clone(),
                pod: pod.clone(),
                server: (server.name(), server.start()),
                at: self.began.elapsed(),
                status,
            });
        }
    }
}

impl Containers for Shared {
    fn start(self: &Arc<Self>, space: &Space, pod: &Value, environment: &Data) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (metadata, container) = (&pod["metadata"], &pod["spec"]["containers"][0]);
        let (uid, app) = (text(&metadata["uid"]), text(&metadata["labels"]["app"]));
        let place = format!("{}/{app}", space.namespace);
        let start = {
            let mut counts = locked(&self.counts);
            let starts = counts.starts.entry(place.clone()).or_default();
            *starts += 1;
            *starts
        };
        let mut servers = self.servers.iter();
        if let Some(server) = servers.find(|one| one.is_of(&space.namespace, &app)) {
            server.start_in(&uid, environment);
        }
        let named = |token: &str| {
            let all = container["env"].as_array();
            all.is_some_and(|all| all.iter().any(|one| one["name"] == token))
        };
        let calls = |kind: Kind| match app.as_str() {
            BRAIN_API_APP => kind == Kind::Embeddings,
            EMBEDDINGS_APP => false,
            _ => true,
        };
        let mut clients = locked(&self.clients);
        let Some(clients) = clients.as_mut() else {
            return;
        };
        let kinds = [
            (Kind::BrainApi, "KB_ROUTER_TOKEN"),
            (Kind::Embeddings, "EMBEDDINGS_API_KEY"),
        ];
        for (kind, token) in kinds {
            let value = environment.get(token).cloned();
            // Without an optional one it sends none.
            if !calls(kind) || !(value.is_some() || named(token)) {
                continue;
            }
            let sender = Sender {
                from: place.clone(),
                token,
            };
            let pod = (text(&metadata["name"]), start);
            let client = Client::counted(self, sender, kind, value, pod);
            clients.entry(uid.clone()).or_default().push(client);
        }
    }

    fn never_ran(&self, space: &Space, pod: &Value) {
        let metadata = &pod["metadata"];
        let app = metadata["labels"]["app"].as_str().unwrap_or_default();
        let place = format!("{}/{app}", space.namespace);
        if let Some(starts) = locked(&self.counts).starts.get_mut(&place) {
            *starts -= 1;
        }
        self.end(metadata["uid"].as_str().unwrap_or_default());
    }

    fn end(&self, uid: &str) {
        let ended = locked(&self.clients)
            .as_mut()
            .and_then(|all| all.remove(uid));
        end_all(ended.unwrap_or_default());
        for server in &self.servers {
            server.end_in(uid);
        }
    }
}

/// What a test that has failed left behind is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
