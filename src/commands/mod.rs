//! One file per command: gather, decide (in `domain`), then render or act.

pub mod apply;
pub mod diff;
pub mod externalsecrets;
pub mod manual;
pub mod migrate;
pub mod populate;
pub mod preview;
pub mod rbac;
pub mod rotate;
pub(crate) mod shared;
pub mod sync;
pub mod tokens;
pub mod usage;
pub mod verify;

use crate::cli::{self, Changes, Cli, Command, Global, StoreLayout, TokensCommand};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{NamespaceState, Observations, Observed};
use crate::domain::cluster::snapshot::Keeping;
use crate::domain::eso::store_entry::Layout;
use crate::domain::hint_context::Reach;
use crate::domain::plan::resolve::Filed;
use crate::domain::plan::{FiledTokens, Plan, Wish};
use crate::domain::rotation::{BadState, Rotation};
use crate::domain::table::{self, InputRule, ROUTER};
use crate::domain::values::inputs::Inputs;
use crate::domain::values::token::PerToken;
use crate::domain::values::tokens_file::TokensFile;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::kube::kubeconfig::Selection;
use crate::io::kube::observe::{Fleet, Found};
use crate::io::local::environment;
use crate::io::local::git;
use crate::render::json::Body;
use crate::ui::{Format, Ui};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::Path;

/// What a command answers. Of `tokens show` that is the tokens, so `Debug` shows no text.
pub struct Answer {
    /// For people.
    pub text: String,
    /// What comes after it, on stderr.
    pub next: Option<String>,
    /// For `-o json`.
    pub body: Body,
    /// Whether all is well.
    pub verdict: Verdict,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("body", &self.body)
            .field("verdict", &self.verdict)
            .finish()
    }
}

/// Whether all is well.
#[derive(Debug)]
pub enum Verdict {
    /// Exit code 0.
    Yes,
    /// Exit code 1: the answer is no.
    No,
    /// There is an answer, and a failure beside it.
    Failed(Failure),
}

/// The command's name in documents.
pub fn name_of(cli: &Cli) -> &'static str {
    match &cli.command {
        None if cli.bootstrap.apply => "apply",
        None => "preview",
        Some(Command::Diff(_)) => "diff",
        Some(Command::Tokens(tokens)) => match tokens.command {
            Some(TokensCommand::Recover { .. }) => "tokens recover",
            _ => "tokens show",
        },
        Some(Command::Verify(_)) => "verify",
        Some(Command::Rotate(_)) => "rotate",
        Some(Command::Populate(_)) => "populate",
        Some(Command::Migrate(_)) => "migrate",
        Some(Command::Sync(_)) => "sync",
        Some(Command::ExternalSecrets(_)) => "externalsecrets",
        Some(Command::Rbac(_)) => "rbac",
        Some(Command::Completions { .. }) => "completions",
        Some(Command::Man) => "man",
    }
}

/// Runs the command.
///
/// # Errors
/// Where there is no answer.
pub fn run(cli: &Cli, ui: Ui) -> Result<Answer, Failure> {
    let (global, bootstrap) = (&cli.global, &cli.bootstrap);
    let yaml = match &cli.command {
        None => !bootstrap.apply,
        Some(Command::Populate(populate)) => !populate.apply,
        Some(Command::Migrate(migrate)) => !migrate.apply && !migrate.rollback,
        Some(command) => matches!(command, Command::Rbac(_) | Command::ExternalSecrets(_)),
    };
    if global.output == Format::Yaml && !yaml {
        return Err(Failure::usage(
            "-o yaml goes with the previews, with rbac and with externalsecrets",
        )
        .hint("leave it out, or use -o json"));
    }
    let shows = cli.command.is_none() && global.output == Format::Yaml;
    if bootstrap.show_values && !shows {
        return Err(
            Failure::usage("--show-values goes with -o yaml").hint(format!(
                "add -o yaml; `{} tokens` prints the tokens",
                environment::program()
            )),
        );
    }
    let of_main = bootstrap.apply
        || bootstrap.create_namespace
        || bootstrap.restart
        || bootstrap.fleet != cli::Fleet::default()
        || bootstrap.changes != Changes::default();
    if let (Some(_), true) = (&cli.command, of_main) {
        return Err(
            Failure::usage("an option of the main command stands before another command")
                .hint("put the options behind the command that they belong to"),
        );
    }
    match &cli.command {
        None if bootstrap.apply => block_on(apply::run(global, bootstrap, ui)),
        None => preview::run(global, bootstrap, ui),
        Some(Command::Diff(diff)) => block_on(diff::run(global, diff, ui)),
        Some(Command::Tokens(tokens)) => match &tokens.command {
            None => tokens::show(global, tokens.show, ui),
            Some(TokensCommand::Show(show)) => tokens::show(global, *show, ui),
            Some(TokensCommand::Recover { apply }) => block_on(tokens::recover(global, *apply, ui)),
        },
        Some(Command::Verify(verify)) => block_on(verify::run(global, verify, ui)),
        Some(Command::Rotate(rotate)) => block_on(rotate::run(global, rotate, ui)),
        Some(Command::Populate(populate)) => block_on(populate::run(global, populate, ui)),
        Some(Command::Migrate(migrate)) => block_on(migrate::run(global, migrate, ui)),
        Some(Command::Sync(sync)) => block_on(sync::run(global, sync, ui)),
        Some(Command::ExternalSecrets(options)) => externalsecrets::run(global, options),
        Some(Command::Rbac(rbac)) => rbac::run(global, rbac),
        Some(Command::Completions { shell }) => Ok(manual::completions(*shell)),
        Some(Command::Man) => manual::man(),
    }
}

/// One thread serves: the requests of a run share one connection.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::unable("cannot start")
                .because(error)
                .hint("see whether the limits of this process (ulimit -n) are too low")
        })?
        .block_on(future)
}

/// What the operator wants, from the options and the inputs.
///
/// # Errors
/// Inputs that cannot be read or are malformed, and an `--update` without a value.
fn wish(global: &Global, changes: &Changes) -> Result<Wish, Failure> {
    Ok(Wish {
        home: global.namespace.clone(),
        fleet: BTreeSet::new(),
        inputs: inputs(global, &changes.update, |_| false)?,
        update: changes.update.iter().copied().collect(),
        prefer: changes.prefer.map(Into::into),
        force_conflicts: changes.force_conflicts,
        with_api_keys: changes.with_api_keys,
    })
}

/// The inputs. Each that is to change a value needs one, here or `elsewhere`.
///
/// # Errors
/// Inputs that cannot be read or are malformed, and an `--update` without a value.
fn inputs(
    global: &Global,
    update: &[&'static str],
    elsewhere: impl Fn(&str) -> bool,
) -> Result<Inputs, Failure> {
    let inputs: Inputs = environment::inputs(global.env_file.as_deref())?;
    let unset = table::inputs()
        .find(|(name, _)| update.contains(name) && inputs.get(name).is_none() && !elsewhere(name));
    if let Some((name, rule)) = unset {
        let how = match rule {
            InputRule::EnvFileOnly => format!("set {name} in the file of --env-file"),
            _ => format!("export {name}, or set it in the file of --env-file"),
        };
        return Err(
            Failure::usage(format!("--update {name}: {name} has no value"))
                .hint(format!("{how}; an empty value never replaces a live one")),
        );
    }
    Ok(inputs)
}

/// Where the bundles are in the store.
///
/// # Errors
/// Two paths for one entry, or two entries in one place.
fn layout(options: &StoreLayout) -> Result<Layout, Failure> {
    let renamed: BTreeMap<_, _> = options.path.iter().cloned().collect();
    if renamed.len() < options.path.len() {
        return Err(Failure::usage("--path names an entry twice")
            .hint("give each of router, embeddings and agenticore one path"));
    }
    Layout::new(&options.prefix, renamed).ok_or_else(|| {
        Failure::usage("--path puts two entries in one place").hint("give each a path of its own")
    })
}

/// The fleet that the options name or select.
fn fleet(options: &cli::Fleet) -> Fleet {
    Fleet {
        named: options.fleet_namespace.iter().cloned().collect(),
        selector: options.fleet_selector.clone(),
    }
}

/// The fleet namespaces that can be worked with. One that goes away and was only selected is left
/// out, and that is said.
///
/// # Errors
/// One that is named and is absent or going away (exit code 3).
fn usable_fleet(
    found: &Found,
    fleet: &Fleet,
    reach: &Reach,
    ui: Ui,
) -> Result<BTreeSet<Namespace>, Failure> {
    let mut usable = BTreeSet::new();
    for (name, state) in &found.fleet {
        let trouble = match state {
            NamespaceState::Active | NamespaceState::Forbidden => None,
            NamespaceState::Absent => Some("does not exist"),
            NamespaceState::Terminating => Some("is being deleted"),
        };
        match trouble {
            None => drop(usable.insert(name.clone())),
            Some(trouble)
                if fleet.named.contains(name) && *state == NamespaceState::Terminating =>
            {
                return Err(Failure::unable(format!("fleet namespace {name} {trouble}"))
                    .hint("wait until it is gone, or leave it out"));
            }
            Some(trouble) if fleet.named.contains(name) => {
                return Err(
                    Failure::unable(format!("fleet namespace {name} {trouble}")).hint(format!(
                        "create it ({} create namespace {name}), or leave it out",
                        reach.kubectl
                    )),
                );
            }
            Some(trouble) => ui.warn(&format!("fleet namespace {name} {trouble}: left out")),
        }
    }
    Ok(usable)
}

/// What a tokens file holds, before this run has minted anything.
fn filed(file: Option<&TokensFile>) -> FiledTokens {
    let found = |file: &TokensFile, name| match file.tokens().get(name) {
        Some(token) => Filed::Found(token.clone()),
        None => Filed::Absent,
    };
    FiledTokens {
        exists: file.is_some(),
        tokens: file
            .map(|file| PerToken::from_fn(|name| found(file, name)))
            .unwrap_or_default(),
    }
}

/// What the options say about the cluster.
fn selection(global: &Global) -> Selection {
    Selection {
        kubeconfig: global.kubeconfig.clone(),
        context: global.context.clone(),
    }
}

/// Connects to the cluster of the options. `command` is what `rbac` calls the command.
async fn connect(
    global: &Global,
    ui: Ui,
    command: &'static str,
    reach: &Reach,
) -> Result<Cluster, Failure> {
    Cluster::connect(
        &selection(global),
        global.request_timeout.0,
        ui,
        command,
        reach.clone(),
    )
    .await
}

/// The failure of a plan that a person has to decide on.
fn refusal(plan: &Plan, reach: &Reach) -> Failure {
    let mut failure = Failure::undecided();
    for refusal in &plan.refusals {
        failure = failure.cause(refusal.message()).hint(refusal.hint(reach));
    }
    failure
}

/// Refuses while a rotation is open, in the cluster or in the store. `started` tells whether this
/// run has written already.
///
/// # Errors
/// One that is open, and a state that this program did not write (exit code 1; 3 where it has).
fn refuse_rotation(
    open: Result<Option<Rotation>, BadState>,
    started: bool,
    reach: &Reach,
) -> Result<(), Failure> {
    let what = match open {
        Ok(None) => return Ok(()),
        Ok(Some(rotation)) => format!("{} since {}", rotation.told(), rotation.at),
        Err(bad) => format!("whether a rotation is open is not known: {bad}"),
    };
    let failure = match started {
        false => Failure::no(format!("refused, and nothing has been written: {what}")),
        true => Failure::unable(format!("others wrote while this ran, and now {what}")),
    };
    Err(failure.hint(format!("{} rotate --status", reach.program)))
}

/// The router Secret of the home namespace, among what was found.
fn home_router<'a>(found: &'a Observations, home: &Namespace) -> Option<&'a Observed> {
    found.get(&SecretRef {
        namespace: home.clone(),
        name: ROUTER.secret,
    })
}

/// Warns where git would take the tokens file along.
fn say_if_git_would_take_it(path: &Path, ui: Ui) {
    let shown = path.display();
    match git::keeping(path) {
        Keeping::Away => {}
        Keeping::Unknown => {
            ui.warn(&format!("git does not tell whether it ignores {shown}"));
        }
        Keeping::NotIgnored => {
            ui.warn(&format!(
                "git does not ignore {shown}: add it to .gitignore"
            ));
        }
        Keeping::Tracked => ui.warn(&format!(
            "git tracks {shown}: take it out with `git rm --cached {shown}`, ignore it, and, if it was \
             ever pushed, rotate the tokens with `{} rotate --apply`",
            environment::program()
        )),
    }
}
