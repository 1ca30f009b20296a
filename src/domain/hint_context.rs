//! How a person reaches the same cluster, namespace and file from a shell, for hints that can be
//! pasted. A hint that leads elsewhere is worse than none.

/// What carries an open rotation on and begins none: it knows its fleet and copies itself.
const CARRY_ON: &str = "rotate --continue --apply";

/// Programs with the options that lead there. Each text is quoted for a shell.
#[derive(Clone, Debug, Default)]
pub struct HintContext {
    /// The home namespace.
    pub home: String,
    /// This program: `k8s-bootstrap -n brain --context c`.
    pub program: String,
    /// The main command with all that was given: `k8s-bootstrap -n brain --apply --force-conflicts`.
    pub apply: String,
    /// The tokens file, as a shell can source it.
    pub tokens_file: String,
    /// The fleet options, each with a space before it.
    pub fleet: String,
    /// kubectl: `kubectl --context c`.
    pub kubectl: String,
    /// Options for helm, each with a space before it: ` --kube-context c`.
    pub helm: String,
}

impl HintContext {
    /// Carries on the rotation that is open.
    pub fn carry_on(&self) -> String {
        format!("{} {CARRY_ON}", self.program)
    }

    /// This program, for another home namespace.
    pub fn elsewhere(&self, namespace: &str) -> String {
        let (here, there) = (format!("-n {}", self.home), format!("-n {namespace}"));
        self.program.replacen(&here, &there, 1)
    }

    /// Another command of this program, for the same fleet.
    pub fn command(&self, name: &str) -> String {
        format!("{} {name}{}", self.program, self.fleet)
    }
}
