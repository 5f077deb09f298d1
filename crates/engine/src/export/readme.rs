//! `README.md`.

use std::fmt::Write;

use hob_model::Run;

use super::{Exported, run_script::command};

/// What `run.sh` serves plain files with.
const SERVER_OF_FILES: &str = "python3";

pub(super) fn text(exported: &Exported<'_>) -> String {
    let name = exported.name();
    let revision = &exported.function.revision;
    // A server of plain files takes no POST.
    let (what, body) = match &revision.run {
        Run::Process { .. } | Run::Image(_) => ("program is", " -d hello"),
        Run::Static { .. } => ("files are", ""),
    };
    let mut text = format!(
        "# {name}\n\nA {} function, revision {}, that needs no hob. The {what} in `function/`.\n\n\
         ## Run it\n\n    PORT=8080 ./run.sh\n    curl http://127.0.0.1:8080/{body}\n\n\
         `run.sh` sets the environment and starts this in `function/`:\n\n    {}\n",
        revision.language,
        revision.short(),
        command(&revision.run).replace('\n', "\n    ")
    );
    tools(exported, &mut text);
    environment(exported, &mut text);
    let _ = write!(
        text,
        "\n## As a container\n\n    docker build -t {name} . && docker run --rm -p 127.0.0.1:8080:8080 {name}\n\n\
         or, with its limits and secrets, `docker compose up --build`.\n\n\
         ## As a service\n\n    sudo mkdir -p /opt/{name}\n    sudo cp -r run.sh function /opt/{name}/\n    sudo cp {name}.service /etc/systemd/system/\n    \
         sudo systemctl enable --now {name}\n"
    );
    text
}

fn tools(exported: &Exported<'_>, text: &mut String) {
    let Some(template) = &exported.template else {
        return;
    };
    let tools = template.recipe.tools.iter().filter(|tool| tool.runs);
    let mut packages: Vec<_> = tools.map(|tool| tool.package.as_str()).collect();
    if matches!(exported.function.revision.run, Run::Static { .. }) {
        packages.push(SERVER_OF_FILES);
    }
    if !packages.is_empty() {
        let _ = writeln!(
            text,
            "\nThe machine needs: `apt-get install {}`.",
            packages.join(" ")
        );
    }
}

fn environment(exported: &Exported<'_>, text: &mut String) {
    let settings = &exported.function.revision.settings;
    if !settings.env.is_empty() {
        let names: Vec<_> = settings
            .env
            .keys()
            .map(|name| format!("`{name}`"))
            .collect();
        let _ = writeln!(
            text,
            "\n## Environment\n\n`run.sh` sets {}.",
            names.join(", ")
        );
    }
    let secrets: Vec<_> = exported.secrets().map(|name| format!("`{name}`")).collect();
    if !secrets.is_empty() {
        let _ = writeln!(
            text,
            "\n## Secrets\n\nNot in this folder. The program reads {} as files in `$HOB_SECRETS`: put them into `secrets/` \
             here, or for the service into `/etc/{}/secrets/`.",
            secrets.join(", "),
            exported.name()
        );
    }
}
