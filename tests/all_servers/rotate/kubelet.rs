//! Who starts the pods of a namespace whose chart is installed by hand, all the time.
//!
//! As with a kubelet, a container's environment is read before the pod runs, and a pod that is being
//! deleted is there until nothing runs in it any more: a finalizer sees to that.

use super::follow::{Change, Follower};
use crate::sandbox::SANDBOX;
use crate::space::{Data, Space};
use crate::workloads::{BY_HAND, bind, environment, pod_of, run_since, stick_object};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const FINALIZER: &str = "tests.invalid/runs";

/// What runs in the pods.
pub trait Containers: Send + Sync + 'static {
    /// Starts what runs in a pod.
    fn start(self: &Arc<Self>, space: &Space, pod: &Value, environment: &Data);
    /// Ends what runs in the pod of that uid, if something does.
    fn end(&self, uid: &str);
    /// Ends what was started in a pod that never got its node: it counts as not started.
    fn never_ran(&self, _space: &Space, pod: &Value) {
        self.end(text(&pod["metadata"]["uid"]));
    }
}

/// It ends when this is dropped, and what runs goes on.
pub struct Kubelet<C> {
    space: Arc<Space>,
    containers: Arc<C>,
    _follower: Follower,
}

impl<C: Containers> Kubelet<C> {
    /// Starts the pods of the namespace from now on.
    pub fn start(space: &Space, containers: &Arc<C>) -> Self {
        let (space, containers) = (Arc::new(space.other_operator()), Arc::clone(containers));
        let mut node = Node {
            space: Arc::clone(&space),
            containers: Arc::clone(&containers),
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
        };
        let path = format!("/api/v1/namespaces/{}/pods", space.namespace);
        Self {
            space,
            containers,
            _follower: Follower::start(path, move |change| node.see(change)),
        }
    }

    /// Starts the container of a workload's pod again, as a kubelet does with one that has ended by
    /// itself: the pod stays, and the environment is read anew.
    pub fn crash(&self, workload: &str) {
        let pod = pod_of(&self.space, workload).expect("a pod");
        self.containers.end(text(&pod["metadata"]["uid"]));
        let environment = environment(&self.space, &pod["spec"]).unwrap();
        self.containers.start(&self.space, &pod, &environment);
        let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
        run_since(&self.space, text(&pod["metadata"]["name"]), &now, true);
    }
}

struct Node<C> {
    space: Arc<Space>,
    containers: Arc<C>,
    /// The uids of the pods that it has taken on, and of those that it has had end.
    begun: BTreeSet<String>,
    ended: BTreeSet<String>,
}

impl<C: Containers> Node<C> {
    fn see(&mut self, change: Change) {
        match change {
            Change::One(pod) => self.look(pod),
            Change::Gone(pod) => self.containers.end(text(&pod["metadata"]["uid"])),
            Change::All(pods) => {
                let uid = |pod: &Value| text(&pod["metadata"]["uid"]).to_owned();
                let there: BTreeSet<_> = pods.iter().map(uid).collect();
                for uid in self.begun.difference(&there) {
                    self.containers.end(uid);
                }
                pods.into_iter().for_each(|pod| self.look(pod));
            }
        }
    }

    fn look(&mut self, pod: Value) {
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        if spec["schedulerName"] != BY_HAND {
            return;
        }
        let uid = text(&metadata["uid"]).to_owned();
        let (space, containers) = (Arc::clone(&self.space), Arc::clone(&self.containers));
        if !metadata["deletionTimestamp"].is_null() {
            if has_finalizer(&pod) && self.ended.insert(uid) {
                thread::spawn(move || finish(&space, &pod, &containers));
            }
        } else if spec["nodeName"].is_null() && self.begun.insert(uid) {
            thread::spawn(move || begin(&space, &pod, &containers));
        }
    }
}

/// Takes a pod on.
fn begin(space: &Space, pod: &Value, containers: &Arc<impl Containers>) {
    if !set_finalizer(space, pod, "finalizers") {
        return;
    }
    let Some(environment) = await_environment(space, pod) else {
        return;
    };
    // It may run before anyone sees that it does.
    containers.start(space, pod, &environment);
    if !bind(space, pod) {
        containers.never_ran(space, pod);
    }
}

/// Lets a pod go.
fn finish(space: &Space, pod: &Value, containers: &Arc<impl Containers>) {
    if !pod["spec"]["nodeName"].is_null() {
        thread::sleep(lingers(pod));
    }
    containers.end(text(&pod["metadata"]["uid"]));
    set_finalizer(space, pod, "$deleteFromPrimitiveList/finalizers");
}

/// How long a pod runs on that is being deleted: a tenth of its grace period.
fn lingers(pod: &Value) -> Duration {
    let period = pod["spec"]["terminationGracePeriodSeconds"].as_u64();
    Duration::from_secs(period.unwrap()) / 10
}

/// What the pod starts with, once it has what it needs; `None` where it is gone before.
fn await_environment(space: &Space, pod: &Value) -> Option<Data> {
    let path = place(space, pod);
    loop {
        let message = match environment(space, &pod["spec"]) {
            Ok(environment) => return Some(environment),
            Err(message) => message,
        };
        let (status, now) = SANDBOX.request("GET", &path, "application/json", &Value::Null);
        let metadata = &now["metadata"];
        let stays = metadata["uid"] == pod["metadata"]["uid"];
        if status != 200 || !stays || !metadata["deletionTimestamp"].is_null() {
            return None;
        }
        stick_object(space, &now, &message);
        thread::sleep(Duration::from_millis(200));
    }
}

/// Adds the finalizer, or takes it away; gives whether the pod is still there.
fn set_finalizer(space: &Space, pod: &Value, list: &str) -> bool {
    // Of a StatefulSet the next pod has the same name.
    let uid = &pod["metadata"]["uid"];
    let body = json!({ "metadata": { "uid": uid, list: [FINALIZER] } });
    let patch = "application/strategic-merge-patch+json";
    let (status, answer) = SANDBOX.request("PATCH", &place(space, pod), patch, &body);
    // 422 is how it answers to a new finalizer of what is being deleted.
    assert!(matches!(status, 200 | 404 | 409 | 422), "{answer}");
    status == 200
}

fn has_finalizer(pod: &Value) -> bool {
    let all = pod["metadata"]["finalizers"].as_array();
    all.is_some_and(|all| all.iter().any(|one| one == FINALIZER))
}

fn place(space: &Space, pod: &Value) -> String {
    let name = text(&pod["metadata"]["name"]);
    format!("/api/v1/namespaces/{}/pods/{name}", space.namespace)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
