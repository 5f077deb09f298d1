//! Deploys of a stack.yml.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use hob_engine::build::{Template, Templates};
use hob_image::ImageRef;
use hob_model::{
    DEFAULT_NAMESPACE, FunctionName, Manifest, openfaas::FunctionDeployment, wire::ImageDeploy,
};

use super::{Deployed, MANIFEST, Report, SettingArgs, image, send, summary};
use crate::{
    cli::{
        Context,
        build::{OrderArgs, build},
        progress::Progress,
        session::{Session, function_path},
    },
    exit::{Failure, report},
    output::{self, Format},
    pack,
    stack::{Additions, Function, Stack, StackArgs, usual_file},
};

/// What makes any folder a function, whatever its language.
const FUNCTION_FILES: [&str; 2] = [MANIFEST, "Procfile"];

/// What a deploy of a stack.yml says on the command line.
#[derive(Debug, Args)]
pub(super) struct StackDeployArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// Deploy the images that the stack.yml names, as if no folder were here
    #[arg(long)]
    skip_build: bool,
    /// Constraint of functions of which the stack.yml has none
    #[arg(long, value_name = "TEXT", requires = "yaml")]
    constraint: Vec<String>,
    /// Note that the root is read-only, which it is for every function
    #[arg(long, requires = "yaml")]
    readonly: bool,
}

/// A function of the stack and how it is deployed.
struct Plan {
    name: FunctionName,
    deployment: FunctionDeployment,
    what: What,
}

enum What {
    /// The server builds this folder.
    Folder(PathBuf),
    /// The server makes the image of the Dockerfile in this folder.
    Dockerfile(PathBuf),
    /// The image is somewhere.
    Image,
}

// === impl StackDeployArgs ===

impl StackDeployArgs {
    /// Whether a stack.yml is to be deployed: one was named, or the folder has nothing else.
    pub(super) fn is_meant(&self) -> bool {
        let is_chosen = self.stack.is_chosen() || self.skip_build;
        is_chosen || (usual_file(Path::new("")).is_some() && !is_function(Path::new("")))
    }

    pub(super) fn run(
        self,
        session: &Session,
        settings: &SettingArgs,
        format: Format,
        context: &Context,
    ) -> anyhow::Result<()> {
        let stack = self.stack.read(&context.env)?;
        let additions = Additions {
            env: settings.env()?,
            labels: settings.labels()?,
            annotations: settings.annotations()?,
            secrets: settings.secrets().to_vec(),
            constraints: self.constraint,
            read_only: self.readonly,
            namespace: session.asked_namespace().map(str::to_owned),
        };
        for note in &stack.notes {
            eprintln!("warning: {note}");
        }
        // Mistakes in the file are told before the first function is deployed.
        let plans = stack.functions.iter().map(|(name, function)| {
            let deployment = stack.deployment(name, function, &additions);
            let plan = |deployment| plan(&stack, function, deployment, self.skip_build);
            deployment.and_then(plan).with_context(|| stack.place(name))
        });
        let plans = plans.collect::<anyhow::Result<Vec<_>>>()?;
        let progress = Progress::new(context.terminal);
        context.wait(deploy_all(session, &plans, format, &progress))
    }
}

/// Whether a folder is a function, which then is meant and not its stack.yml.
fn is_function(folder: &Path) -> bool {
    let signs = Templates::built_in().iter().flat_map(Template::signs);
    let mut files = signs.chain(FUNCTION_FILES);
    files.any(|file| folder.join(file).is_file())
}

/// Finds the folder of a function, if it is to be built.
fn plan(
    stack: &Stack,
    function: &Function,
    deployment: FunctionDeployment,
    skip_build: bool,
) -> anyhow::Result<Plan> {
    let namespace = deployment.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let name = format!("{}.{namespace}", deployment.service);
    let name: FunctionName = name
        .parse()
        .map_err(|error: hob_model::NameError| Failure::failed(error.to_string()))?;
    let skip_build = skip_build || function.skip_build.unwrap_or_default();
    let handler = function.handler.as_deref().filter(|_| !skip_build);
    let folder = handler.and_then(|handler| stack.find(handler));
    let what = match folder {
        Some(folder) if function.is_dockerfile() => What::Dockerfile(folder),
        Some(folder) => What::Folder(folder),
        None => What::Image,
    };
    if deployment.image.is_empty() && !matches!(what, What::Folder(_)) {
        let cure = match handler {
            Some(handler) => {
                format!("its folder `{handler}` does not exist, and it has no `image`")
            }
            None => "it has no `image`".to_owned(),
        };
        return Err(Failure::failed(cure).into());
    }
    warn_of_build_keys(&name, function, &what)?;
    Ok(Plan {
        name,
        deployment,
        what,
    })
}

/// Says what of the keys for a template's Dockerfile is not heeded.
fn warn_of_build_keys(name: &FunctionName, function: &Function, what: &What) -> anyhow::Result<()> {
    let mut keys = Vec::new();
    let is_there = |there: bool, key| there.then_some(key);
    keys.extend(is_there(function.build_args.is_some(), "build_args"));
    keys.extend(is_there(function.build_secrets.is_some(), "build_secrets"));
    keys.extend(is_there(function.build_options.is_some(), "build_options"));
    if keys.is_empty() {
        return Ok(());
    }
    let keys = keys.join(", ");
    match what {
        What::Image => {}
        What::Folder(folder) => eprintln!(
            "warning: {keys} of `{name}` are for Dockerfiles and are passed by: hob builds {}",
            folder.display()
        ),
        What::Dockerfile(_) => {
            return Err(Failure::failed(format!(
                "{keys} of a Dockerfile are not known to `hob deploy`: build it by `faas-cli up --publish --remote-builder`, then deploy with --skip-build"
            ))
            .into());
        }
    }
    Ok(())
}

/// One after the other; one that fails keeps no other from its turn.
async fn deploy_all(
    session: &Session,
    plans: &[Plan],
    format: Format,
    progress: &Progress,
) -> anyhow::Result<()> {
    let gateway = session.gateway().await?;
    let mut reports = Vec::new();
    let mut failed = 0;
    for plan in plans {
        let done = deploy(session, plan, progress).await;
        progress.finish();
        reports.push(match done {
            Ok(done) => {
                let url = format!("{gateway}{}", done.function.path);
                if format == Format::Text {
                    output::line(&summary(&done, &url))?;
                }
                Report::of(&done, url)
            }
            Err(error) => {
                failed += 1;
                let error = error.context(format!("`{}`", plan.name));
                report(&error);
                Report {
                    name: plan.name.clone(),
                    done: None,
                    error: Some(format!("{error:#}")),
                }
            }
        });
    }
    if format == Format::Json {
        output::json(&reports)?;
    } else if plans.len() > 1 {
        let count = output::count(plans.len(), "function");
        output::line(&format!("{} of {count} deployed", plans.len() - failed))?;
    }
    if failed > 0 {
        let count = output::count(plans.len(), "function");
        return Err(Failure::failed(format!("{failed} of {count} could not be deployed")).into());
    }
    Ok(())
}

async fn deploy(session: &Session, plan: &Plan, progress: &Progress) -> anyhow::Result<Deployed> {
    let client = &session.client;
    match &plan.what {
        What::Folder(folder) => {
            let (over, archive) = (Some(&plan.deployment), pack::pack(folder)?);
            let path = function_path(&plan.name, "");
            return send(client, &path, over, archive, progress).await;
        }
        What::Dockerfile(folder) => {
            let image: ImageRef = plan.deployment.image.parse()?;
            let query = OrderArgs::default().query(&image);
            build(client, &plan.name, folder, &query, progress).await?;
        }
        What::Image => {}
    }
    let asked = ImageDeploy {
        image: plan.deployment.image.clone(),
        manifest: Manifest::default(),
        openfaas: Some(Box::new(plan.deployment.clone())),
    };
    let path = function_path(&plan.name, "/image");
    image::send(client, &path, &asked, progress).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_hob_can_build_is_a_function() {
        for (file, expected) in [
            ("hob.toml", true),
            ("Procfile", true),
            ("handler.py", true),
            ("go.mod", true),
            ("dist/index.html", true),
            ("src/main/java/Handler.java", true),
            ("stack.yml", false),
            ("requirements.txt", false),
            ("template/python3/handler.py", false),
        ] {
            let folder = tempfile::tempdir().expect("folder");
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("folder");
            std::fs::write(path, "").expect("written");
            assert_eq!(is_function(folder.path()), expected, "{file}");
        }
    }
}
