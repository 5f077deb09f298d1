//! What `faas-cli deploy` would send for a function.

use std::collections::BTreeMap;

use hob_model::openfaas::{FunctionDeployment, FunctionResources};

use super::{
    Function, Stack, read_file,
    schema::{EnvironmentFile, Resources, Template, Texts, yaml},
};
use crate::exit::Failure;

/// A function that is built by a Dockerfile of its own; it has no template.
const DOCKERFILE: &str = "dockerfile";

/// What the command line says of all functions.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    /// Above what the file says.
    pub(crate) env: BTreeMap<String, String>,
    /// Above what the file says.
    pub(crate) labels: BTreeMap<String, String>,
    /// Above what the file says.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Besides those of the file.
    pub(crate) secrets: Vec<String>,
    /// Where the file says none.
    pub(crate) constraints: Vec<String>,
    /// Whether every function has a read-only root.
    pub(crate) read_only: bool,
    /// In place of what the file says.
    pub(crate) namespace: Option<String>,
}

impl Function {
    /// Whether its folder holds a Dockerfile and no handler.
    pub(crate) fn is_dockerfile(&self) -> bool {
        let lang = self.lang.as_deref();
        lang.is_some_and(|lang| lang.eq_ignore_ascii_case(DOCKERFILE))
    }
}

impl Stack {
    /// The body of `faas-cli`'s request, key for key: what is deployed by one tool is unchanged to
    /// the other.
    ///
    /// # Errors
    /// When a file that it names cannot be read.
    pub(crate) fn deployment(
        &self,
        name: &str,
        function: &Function,
        additions: &Additions,
    ) -> anyhow::Result<FunctionDeployment> {
        let mut env = texts(&function.environment);
        env.extend(self.environment_files(function)?);
        env.extend(additions.env.clone());
        let mut secrets = additions.secrets.clone();
        let own = function.secrets.iter().flatten();
        secrets.extend(
            own.filter(|name| !additions.secrets.contains(name))
                .cloned(),
        );
        let constraints = function
            .constraints
            .as_ref()
            .unwrap_or(&additions.constraints);
        let namespace = additions.namespace.as_ref().or(function.namespace.as_ref());
        Ok(FunctionDeployment {
            service: name.to_owned(),
            image: function.image.clone().unwrap_or_default(),
            namespace: namespace.filter(|name| !name.is_empty()).cloned(),
            env_process: self.process(function)?,
            env_vars: (!env.is_empty()).then_some(env),
            constraints: (!constraints.is_empty()).then(|| constraints.clone()),
            secrets: (!secrets.is_empty()).then_some(secrets),
            labels: Some(merged(&function.labels, &additions.labels)),
            annotations: Some(merged(&function.annotations, &additions.annotations)),
            limits: function.limits.as_ref().and_then(resources),
            requests: function.requests.as_ref().and_then(resources),
            read_only_root_filesystem: additions.read_only
                || function.readonly_root_filesystem.unwrap_or_default(),
            ..FunctionDeployment::default()
        })
    }

    /// What all files together say, the later above the earlier.
    fn environment_files(&self, function: &Function) -> anyhow::Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for name in function.environment_file.iter().flatten() {
            let path = self.find(name);
            let path = path
                .ok_or_else(|| Failure::failed(format!("environment_file {name}: no such file")))?;
            let file: EnvironmentFile = yaml(&read_file(&path)?)
                .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
            all.extend(texts(&file.environment));
        }
        Ok(all)
    }

    /// What the watchdog starts, by the function or by its template where that was fetched.
    fn process(&self, function: &Function) -> anyhow::Result<Option<String>> {
        let own = function
            .fprocess
            .clone()
            .filter(|process| !process.is_empty());
        let lang = function.lang.as_deref().filter(|lang| !lang.is_empty());
        let (None, Some(lang), false) = (&own, lang, function.is_dockerfile()) else {
            return Ok(own);
        };
        let Some(path) = self.find(&format!("template/{lang}/template.yml")) else {
            return Ok(None);
        };
        let template: Template = yaml(&read_file(&path)?)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        Ok(template.fprocess.filter(|process| !process.is_empty()))
    }
}

fn texts(texts: &Option<Texts>) -> BTreeMap<String, String> {
    let pairs = texts.iter().flatten();
    pairs
        .map(|(name, text)| (name.clone(), text.clone().unwrap_or_default()))
        .collect()
}

fn merged(own: &Option<Texts>, over: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = texts(own);
    all.extend(over.clone());
    all
}

/// Left out where nothing is in it.
fn resources(asked: &Resources) -> Option<FunctionResources> {
    let mut resources = FunctionResources::default();
    resources
        .memory
        .push_str(asked.memory.as_deref().unwrap_or_default());
    resources
        .cpu
        .push_str(asked.cpu.as_deref().unwrap_or_default());
    (resources != FunctionResources::default()).then_some(resources)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::stack::schema::parse;

    const FULL: &str = "\
provider: {name: openfaas}
functions:
  full:
    lang: python3
    image: full:1
    namespace: dev
    environment: {A: yaml, B: yaml, C: yaml}
    environment_file: [first.yml, second.yml]
    secrets: [own, both]
    constraints: [\"node=1\"]
    labels: {team: yaml, kind: yaml}
    annotations: {topic: cron-function}
    limits: {memory: 20m, cpu: \"\"}
    requests: {memory: \"\"}
    readonly_root_filesystem: true
  bare:
    image: bare:1
";

    fn stack(folder: &Path) -> Stack {
        let files = [
            ("first.yml", "environment: {B: first, C: first}"),
            ("second.yml", "environment:\n  C: second\n  D: 1.0\n"),
            (
                "template/python3/template.yml",
                "language: python3\nfprocess: python3 index.py\n",
            ),
        ];
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("folder");
            std::fs::write(path, text).expect("written");
        }
        let said = parse(FULL).expect("reads");
        Stack {
            functions: said.functions,
            notes: said.notes,
            shown: "stack.yml".into(),
            folder: Some(folder.to_owned()),
        }
    }

    fn json(name: &str, additions: &Additions) -> serde_json::Value {
        let folder = tempfile::tempdir().expect("folder");
        let stack = stack(folder.path());
        let function = stack.functions.iter().find(|(known, _)| known == name);
        let function = &function.expect("known").1;
        let deployment = stack.deployment(name, function, additions).expect("made");
        serde_json::to_value(deployment).expect("json")
    }

    #[test]
    fn it_is_what_faas_cli_sends() {
        assert_eq!(
            json("bare", &Additions::default()),
            serde_json::json!({
                "service": "bare", "image": "bare:1", "labels": {}, "annotations": {},
            })
        );
        assert_eq!(
            json("full", &Additions::default()),
            serde_json::json!({
                "service": "full", "image": "full:1", "namespace": "dev",
                "envProcess": "python3 index.py",
                "envVars": {"A": "yaml", "B": "first", "C": "second", "D": "1.0"},
                "secrets": ["own", "both"], "constraints": ["node=1"],
                "labels": {"team": "yaml", "kind": "yaml"},
                "annotations": {"topic": "cron-function"},
                "limits": {"memory": "20m"}, "readOnlyRootFilesystem": true,
            })
        );
    }

    #[test]
    fn the_command_line_goes_above_the_file() {
        let map = |key: &str| BTreeMap::from([(key.to_owned(), "flag".to_owned())]);
        let additions = Additions {
            env: map("C"),
            labels: map("team"),
            annotations: map("more"),
            secrets: vec!["flag".into(), "both".into()],
            constraints: vec!["flag".into()],
            read_only: true,
            namespace: Some("prod".into()),
        };
        let full = json("full", &additions);
        assert_eq!(full["envVars"]["C"], "flag");
        assert_eq!(
            full["labels"],
            serde_json::json!({"team": "flag", "kind": "yaml"})
        );
        assert_eq!(full["annotations"]["more"], "flag");
        assert_eq!(full["secrets"], serde_json::json!(["flag", "both", "own"]));
        assert_eq!(full["constraints"], serde_json::json!(["node=1"]));
        assert_eq!(full["namespace"], "prod");
        let bare = json("bare", &additions);
        assert_eq!(bare["constraints"], serde_json::json!(["flag"]));
        assert_eq!(bare["readOnlyRootFilesystem"], true);
    }
}
