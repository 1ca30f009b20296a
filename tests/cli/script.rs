//! The preview's script, run for real by sh, with a kubectl that records how it was called.

use crate::folder::{Folder, INPUTS, PROGRAM, Run, SENTINEL, TOKENS};
use std::fs;
use std::path::Path;

/// Records its arguments, one in each pair of angle brackets, and what it reads.
pub const KUBECTL: &str = r#"
for argument; do printf '<%s>' "$argument"; done >> "$HOME/calls"
echo >> "$HOME/calls"
case "$*" in *--from-env-file=/dev/stdin*) cat >> "$HOME/calls" ;; esac
"#;

/// The shells that have to be on a machine for these tests. On many, sh is dash.
pub const SHELLS: [&str; 2] = ["sh", "bash"];

/// A folder with the recording kubectl and the preview for these arguments in the file `script`.
pub fn prepared(arguments: &[&str]) -> Folder {
    let folder = Folder::new();
    folder.tool("kubectl", KUBECTL);
    write_script(&folder, arguments);
    folder
}

fn write_script(folder: &Folder, arguments: &[&str]) {
    let output = folder
        .command(PROGRAM)
        .envs(INPUTS)
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    folder.write("script", output.stdout);
}

pub fn calls(folder: &Folder) -> String {
    fs::read_to_string(folder.home().join("calls")).unwrap()
}

fn value(folder: &Folder, file: &str, name: &str) -> String {
    let text = folder.read(file);
    let prefix = format!("{name}=\"");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap();
    line.trim_end_matches('"').to_owned()
}

#[test]
fn it_is_valid_posix() {
    let long = &[
        "--create-namespace",
        "--without-api-keys",
        "--tokens-file=it's my \"$file\"",
    ];
    for arguments in [&[] as &[&str], long] {
        let folder = prepared(arguments);
        for shell in SHELLS {
            let run = folder.end(folder.command(shell).args(["-n", "script"]));
            assert_eq!(run, Run::answered(""), "{shell} {arguments:?}");
        }
    }
}

#[test]
fn it_mints_a_private_file_and_gives_kubectl_the_values_on_stdin() {
    let folder = prepared(&["-n", "brain", "--create-namespace"]);
    assert_eq!(folder.sh("umask 000; sh script"), Run::answered(""));
    assert_eq!(folder.mode("local"), 0o700);
    assert_eq!(folder.mode("local/.k8s-tokens"), 0o600);
    let [router, embeddings] = TOKENS.map(|(name, _)| value(&folder, "local/.k8s-tokens", name));
    for token in [&router, &embeddings] {
        let hex = token
            .chars()
            .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        assert!(hex && token.len() == 64);
    }
    assert_ne!(router, embeddings);
    let [postgres, llm_key, llm_base, model, anthropic, github] = INPUTS.map(|(_, value)| value);
    let expected = format!(
        "<create><namespace><brain>\n\
         <-n><brain><create><secret><generic><agentibrain-router-secrets><--from-env-file=/dev/stdin>\n\
         KB_ROUTER_TOKEN={router}\n\
         EMBEDDINGS_API_KEY={embeddings}\n\
         <-n><brain><create><secret><generic><embeddings-secrets><--from-env-file=/dev/stdin>\n\
         POSTGRES_URL={postgres}\n\
         LLM_API_KEY={llm_key}\n\
         LLM_API_BASE={llm_base}\n\
         LLM_EMBED_MODEL={model}\n\
         EMBEDDINGS_API_KEYS={embeddings}\n\
         API_KEYS={embeddings}\n\
         <-n><brain><create><secret><generic><agenticore-secrets><--from-env-file=/dev/stdin>\n\
         ANTHROPIC_API_KEY={anthropic}\n\
         GITHUB_TOKEN={github}\n"
    );
    assert!(
        calls(&folder) == expected,
        "kubectl was not called as expected"
    );
    // The program reads what the script wrote.
    let shown = folder
        .sh(r#"eval "$("$PROGRAM" tokens)" && . ./local/.k8s-tokens && echo "$KB_ROUTER_TOKEN""#);
    assert_eq!(shown, Run::answered("<token>\n"));
}

#[test]
fn it_can_be_piped_into_sh_and_keeps_a_file_that_exists() {
    let folder = Folder::with_tokens();
    folder.tool("kubectl", KUBECTL);
    let before = folder.read("local/.k8s-tokens");
    let run = folder.sh(r#""$PROGRAM" --create-namespace -n brain | sh"#);
    assert_eq!(run, Run::answered(""));
    assert_eq!(folder.read("local/.k8s-tokens"), before);
    let calls = calls(&folder);
    for (name, value) in TOKENS {
        assert!(calls.contains(&format!("{name}={value}\n")), "{name}");
    }
    assert_eq!(calls.matches("<create>").count(), 4);
}

#[test]
fn a_path_is_taken_as_it_is() {
    for path in [
        "it's my \"$HOME\" `id` $(touch planted)/t;x",
        "-dash/-t",
        "bare",
        "a/b/c/t",
    ] {
        let option = format!("--tokens-file={path}");
        let folder = prepared(&[&option]);
        assert_eq!(
            folder.sh("umask 000; sh script"),
            Run::answered(""),
            "{path}"
        );
        assert_eq!(folder.mode(path), 0o600, "{path}");
        assert!(!folder.path("planted").exists());
        assert!(!folder.path("local").exists());
        let shown = folder.run(&["tokens", &option]);
        assert_eq!((shown.code, shown.err.as_str()), (0, ""), "{path}");
    }
}

#[test]
fn a_value_is_passed_on_as_it_is() {
    let folder = prepared(&[]);
    let odd = "a $(touch planted) `touch planted` $HOME \\ \"'; EOF # %s";
    let run = folder.end(
        folder
            .command("sh")
            .envs(INPUTS)
            .env("POSTGRES_URL", odd)
            .arg("script"),
    );
    assert_eq!(run, Run::answered(""));
    assert!(calls(&folder).contains(&format!("\nPOSTGRES_URL={odd}\n")));
    assert!(!folder.path("planted").exists());
}

#[test]
fn pasting_it_leaves_the_shell_as_it_was() {
    let folder = prepared(&[]);
    let state = r#"umask; echo "$-"; echo "${KB_ROUTER_TOKEN-unset}"; command -v mint; pwd"#;
    for shell in SHELLS {
        let text = format!("umask 012; ({state}) > before; . ./script; ({state}) > after");
        let run = folder.end(folder.command(shell).envs(INPUTS).args(["-c", &text]));
        assert_eq!(run, Run::answered(""), "{shell}");
        let before = folder.read("before");
        assert!(before.starts_with("0012\n"), "{before}");
        assert_eq!(folder.read("after"), before, "{shell}");
    }
}

#[test]
fn a_failure_stops_it_and_not_the_shell_that_it_was_pasted_into() {
    let folder = prepared(&[]);
    folder.tool("kubectl", "echo no >&2; exit 9\n");
    let run = folder.sh(". ./script; echo \"$? and alive\"");
    assert_eq!(
        run,
        Run {
            code: 0,
            out: "9 and alive\n".into(),
            err: "no\n".into()
        }
    );
}

/// The inputs come first: what is not exported is named before anything is made.
#[test]
fn a_missing_export_is_named_before_anything_is_made() {
    for (missing, level) in [
        ("POSTGRES_URL", true),
        ("ANTHROPIC_API_KEY", true),
        ("LOG_LEVEL", false),
    ] {
        let folder = Folder::new();
        folder.tool("kubectl", KUBECTL);
        folder.write("inputs.env", "LOG_LEVEL=DEBUG\n");
        write_script(&folder, &["--create-namespace", "--env-file=inputs.env"]);
        let before = folder.everything();
        let mut command = folder.command("sh");
        command.envs(INPUTS).env_remove(missing);
        command.envs(level.then_some(("LOG_LEVEL", "DEBUG")));
        let run = folder.end(command.arg("script")).check_value();
        assert!(run.code > 0 && run.out.is_empty(), "{run}");
        let named = format!("{missing}: is not exported");
        assert!(run.err.contains(&named), "{run}");
        assert_eq!(folder.everything(), before, "{missing}");
    }
}

/// One that is empty is as good as none; the program takes the file afterwards.
#[test]
fn a_missing_token_is_appended_and_the_rest_of_the_file_stays() {
    let [(router, kept), (embeddings, other)] = TOKENS;
    for text in [
        format!("# mine\n{router}='{kept}'\nOTHER=\"s3ntinel\"\n"),
        format!("export {router}={kept}"),
        format!("{embeddings}=\n{router}=\"{kept}\"\n"),
    ] {
        let folder = prepared(&["-n", "brain"]);
        folder.write("local/.k8s-tokens", &text);
        // What is exported under the name of a token is not the token.
        let mut command = folder.command("sh");
        command.envs(INPUTS).envs(TOKENS).arg("script");
        assert_eq!(folder.end(&mut command), Run::answered(""));
        let minted = value(&folder, "local/.k8s-tokens", embeddings);
        assert!(minted != other && minted.len() == 64);
        let expected = format!("{text}\n{embeddings}=\"{minted}\"\n");
        assert!(folder.read("local/.k8s-tokens") == expected);
        assert_eq!(folder.mode("local/.k8s-tokens"), 0o600);
        let given = format!("{router}={kept}\n{embeddings}={minted}\n");
        assert!(calls(&folder).contains(&given));
        assert_eq!(folder.run(&["tokens", "--format=dotenv"]).code, 0);
        // A second run finds both.
        assert_eq!(folder.sh("sh script"), Run::answered(""));
        assert!(folder.read("local/.k8s-tokens") == expected);
    }
}

/// Two at once: the one that comes second does not replace the file of the first.
#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    let folder = prepared(&[]);
    let mkdir = which("mkdir").unwrap();
    let late = "echo OTHER=theirs > local/.k8s-tokens";
    folder.tool("mkdir", &format!("{mkdir} \"$@\"\n{late}\n"));
    let run = folder.sh("sh script");
    assert!(run.code > 0 && run.out.is_empty(), "{run}");
    assert_eq!(folder.read("local/.k8s-tokens"), "OTHER=theirs\n");
    assert!(!folder.home().join("calls").exists());
}

/// kubectl, or a plug-in of it, that reads stdin must not eat the rest of the script.
#[test]
fn a_kubectl_that_reads_stdin_gets_only_what_is_for_it() {
    let greedy = "cat > \"$HOME/read.$$\"\n\
                  case \"$*\" in *\"get namespaces\"*) echo namespace/found ;; esac\n\
                  printf '%s\\n' \"$*\" >> \"$HOME/calls\"\n";
    let folder = prepared(&["--create-namespace", "--fleet-selector=a"]);
    folder.tool("kubectl", greedy);
    assert_eq!(folder.sh("sh < script"), Run::answered(""));
    assert_eq!(calls(&folder).lines().count(), 6, "{}", calls(&folder));
    for entry in fs::read_dir(folder.home()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "calls" {
            let text = fs::read_to_string(path).unwrap();
            assert!(!text.contains("kubectl"), "{text}");
        }
    }
}

impl Run {
    /// Fails where a value is shown; for programs other than ours.
    fn check_value(self) -> Self {
        assert!(!self.shows(SENTINEL), "a value is shown:\n{self}");
        self
    }
}

/// Every program on the PATH records its arguments, and no other program is there.
#[test]
fn no_process_gets_a_value_as_an_argument() {
    let folder = prepared(&["--create-namespace"]);
    for name in ["sh", "od", "tr", "cat", "mkdir"] {
        let real = which(name).unwrap();
        let record = "printf '%s\\n' \"$0 $*\" >> \"$HOME/arguments\"";
        folder.tool(name, &format!("{record}\nexec {real} \"$@\"\n"));
    }
    let kubectl = "printf '%s\\n' \"$0 $*\" >> \"$HOME/arguments\"\n";
    let consume = "case \"$*\" in *stdin*) cat >/dev/null ;; esac\n";
    folder.tool("kubectl", &format!("{kubectl}{consume}"));
    let sh = which("sh").unwrap();
    let run = folder.end(
        folder
            .command(sh)
            .envs(INPUTS)
            .env("PATH", folder.tools())
            .arg("script"),
    );
    assert_eq!(run, Run::answered(""));
    let arguments = fs::read_to_string(folder.home().join("arguments")).unwrap();
    assert_eq!(arguments.matches("/kubectl ").count(), 4, "{arguments}");
    assert_no_value(&folder, &arguments);
}

/// The same as the shell itself tells it, so also of what is called by its path: a value is in the
/// words of no command but `:`, which is the shell's own.
#[test]
fn no_command_that_the_shell_runs_gets_a_value_as_a_word() {
    let folder = prepared(&["--create-namespace"]);
    let sh = which("sh").unwrap();
    // The script gives itself to sh, by name.
    let traced = format!("exec {sh} -x \"$@\" 2>> \"$HOME/trace\"\n");
    folder.tool("sh", &traced);
    assert_eq!(folder.sh("sh script"), Run::answered(""));
    let trace = fs::read_to_string(folder.home().join("trace")).unwrap();
    let lines = trace
        .lines()
        .map(|line| line.trim_start_matches('+').trim_start());
    let kubectl = lines.clone().filter(|line| line.starts_with("kubectl "));
    assert_eq!(kubectl.count(), 4, "the script itself is traced: {trace}");
    let (own, others): (Vec<_>, Vec<_>) = lines.partition(|line| starts_no_process(line));
    assert_no_value(&folder, &others.join("\n"));
    let own = own.join("\n");
    let (name, kept) = (
        TOKENS[0].0,
        value(&folder, "local/.k8s-tokens", TOKENS[0].0),
    );
    assert!(own.contains(SENTINEL), "a value that is a word is traced");
    assert!(own.contains(&format!("{name}={kept}")));
}

/// Tells whether a line of a trace is the command `:` or a lone assignment.
fn starts_no_process(line: &str) -> bool {
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some(":"), _) => true,
        (Some(word), None) => word
            .split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')),
        _ => false,
    }
}

fn assert_no_value(folder: &Folder, text: &str) {
    assert!(!text.contains(SENTINEL));
    for (name, _) in TOKENS {
        assert!(
            !text.contains(&value(folder, "local/.k8s-tokens", name)),
            "{name}"
        );
    }
}

fn which(name: &str) -> Option<String> {
    ["/usr/local/bin", "/usr/bin", "/bin"]
        .map(|folder| format!("{folder}/{name}"))
        .into_iter()
        .find(|path| Path::new(path).exists())
}
