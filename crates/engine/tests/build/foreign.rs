//! Functions that bring a template of their own, or a build, that would reach outside of them.

use std::{fs, path::Path};

use hob_model::port::BuildError;

use crate::workshop::Workshop;

const MANIFEST: (&str, &str) = ("hob.toml", "language = \"./template\"");
const HEAD: &str = "name = \"own\"\ndescription = \"x\"\n";
const HANDLER: &str = "[handler]\nfiles = [\"handler.x\"]\nargv = [\"true\"]\n";

#[test]
fn a_template_leads_nowhere_else() {
    let workshop = Workshop::new();
    let precious = workshop.data().join("precious");
    fs::create_dir_all(&precious).unwrap();
    let precious = precious.to_str().unwrap();
    let dependencies = |folder: &str| {
        format!(
            "[dependencies]\nfiles = [\"handler.x\"]\nfolder = \"{folder}\"\ninstall = \"true\"\n"
        )
    };
    let cases = [
        (dependencies(precious), "right inside"),
        (dependencies("../../../precious"), "right inside"),
        (dependencies("a/b"), "right inside"),
        (dependencies("."), "right inside"),
        (
            "[build]\nsettings = { X = [\"/etc/shadow\"] }\n".into(),
            "not lent",
        ),
        (
            "[build]\nsettings = { X = [\"~/.ssh/id_ed25519\"] }\n".into(),
            "not lent",
        ),
        ("[build]\nfolders = [\"~/.ssh\"]\n".into(), "not lent"),
        ("[build]\nfolders = [\"/\"]\n".into(), "not lent"),
        ("[build]\npath = [\"/usr/../root\"]\n".into(), "not lent"),
        ("[build]\npath = [\"$CACHE/..\"]\n".into(), "not lent"),
        ("[static]\nfiles = [\"/etc/passwd\"]\n".into(), "leads out"),
        ("[server]\nfiles = [\"../../x\"]\n".into(), "leads out"),
        (
            "[[tools]]\nany = [\"../../root/x\"]\npackage = \"x\"\n".into(),
            "is a path",
        ),
    ];
    for (number, (recipe, words)) in cases.into_iter().enumerate() {
        let recipe = format!("{HEAD}{recipe}{HANDLER}");
        let files = [
            MANIFEST,
            ("handler.x", ""),
            ("template/template.toml", &*recipe),
        ];
        let folder = workshop.folder(&format!("case-{number}"), &files);
        let error = workshop.build(&folder).error();
        assert!(
            matches!(error, BuildError::Refused(_)),
            "{recipe}: {error:?}"
        );
        assert!(error.to_string().contains(words), "{recipe}: {error}");
    }
    for name in ["../../x", "/etc/x", "a/b", ""] {
        let recipe = format!("name = \"{name}\"\ndescription = \"x\"\n{HANDLER}");
        let files = [
            MANIFEST,
            ("handler.x", ""),
            ("template/template.toml", &*recipe),
        ];
        let error = workshop.build(&workshop.folder("name", &files)).error();
        assert!(
            error.to_string().contains("no name for a language"),
            "{error}"
        );
    }
    assert!(Path::new(precious).is_dir());
    workshop.assert_no_leftovers();
}

#[test]
fn a_template_may_use_what_is_there_for_everybody() {
    let workshop = Workshop::new();
    let recipe = format!(
        "{HEAD}[build]\npath = [\"/opt/x/bin\", \"~/.cargo/bin\"]\nsettings = {{ X = [\"~/.npmrc\"] }}\n{HANDLER}"
    );
    let files = [
        MANIFEST,
        ("handler.x", ""),
        ("template/template.toml", &*recipe),
    ];
    workshop.revision(&workshop.folder("fine", &files));
}

/// Their digest is taken from the cache, and other bundles have the same files.
#[test]
fn a_build_cannot_replace_dependencies_from_the_cache() {
    let workshop = Workshop::new();
    let recipe = format!(
        "{HEAD}[dependencies]\nfiles = [\"list\"]\nfolder = \"deps\"\n\
         install = \"mkdir deps; echo good >deps/word\"\n\
         [handler]\nfiles = [\"handler.x\"]\nargv = [\"true\"]\nbuild = '''\n\
         (echo evil >deps/word; rm -f deps/word; mv deps away; rm -rf deps; ln -s / deps) 2>/dev/null || true\n'''\n"
    );
    let files = [
        MANIFEST,
        ("handler.x", ""),
        ("list", ""),
        ("template/template.toml", &*recipe),
    ];
    let revision = workshop.revision(&workshop.folder("replaced", &files));
    let deps = workshop.bundle(&revision).join("deps");
    assert!(fs::symlink_metadata(&deps).unwrap().is_dir());
    assert_eq!(fs::read_to_string(deps.join("word")).unwrap(), "good\n");
}

/// A page below a link of the dependencies would make any folder of the machine a site.
#[test]
fn a_site_has_no_links_out_in_its_dependencies() {
    let workshop = Workshop::new();
    let recipe = format!(
        "{HEAD}[dependencies]\nfiles = [\"list\"]\nfolder = \"deps\"\n\
         install = \"mkdir deps; ln -s /etc deps/pub\"\n[static]\nfiles = [\"deps/pub/passwd\"]\n"
    );
    let files = [MANIFEST, ("list", ""), ("template/template.toml", &*recipe)];
    let error = workshop.build(&workshop.folder("site", &files)).error();
    assert!(
        error.to_string().contains("link out of the folder"),
        "{error}"
    );
}

#[test]
fn what_another_function_or_setting_installed_is_not_taken_over() {
    let workshop = Workshop::new();
    let recipe = format!(
        "{HEAD}[dependencies]\nfiles = [\"list\"]\nfolder = \"deps\"\n\
         install = \"mkdir deps; echo $WORD >deps/word\"\n{HANDLER}"
    );
    let word = |word: &str| {
        let manifest = format!("{}\n[env]\nWORD = \"{word}\"\n", MANIFEST.1);
        let files = [
            ("hob.toml", &*manifest),
            ("handler.x", ""),
            ("list", ""),
            ("template/template.toml", &*recipe),
        ];
        let revision = workshop.revision(&workshop.folder("words", &files));
        fs::read_to_string(workshop.bundle(&revision).join("deps/word")).unwrap()
    };
    assert_eq!(word("one"), "one\n");
    assert_eq!(word("two"), "two\n");
    let kept = workshop.data().join("cache/dependencies");
    let functions = fs::read_dir(kept).unwrap().count();
    assert_eq!(functions, 2, "one folder for each list and setting");
}

/// A hole costs its maker nothing, and hob days to read.
#[test]
fn a_build_leaves_no_endless_files() {
    let workshop = Workshop::new();
    let files = [
        ("handler.sh", "cat"),
        (
            "hob.toml",
            "build = \"truncate -s 100T hole || truncate -s 9G hole\"",
        ),
    ];
    let error = workshop.build(&workshop.folder("holes", &files)).error();
    assert!(error.to_string().contains("larger than 8 GiB"), "{error}");
}

/// Deeper than any path can say: it fails, and is cleaned up all the same.
#[test]
fn a_build_leaves_no_bottomless_folders() {
    let workshop = Workshop::new();
    let dig = "import os\nfor _ in range(20000):\n    os.mkdir('d')\n    os.chdir('d')\n";
    let files = [
        ("handler.sh", "cat"),
        ("dig.py", dig),
        ("hob.toml", "build = \"python3 dig.py\""),
    ];
    let error = workshop.build(&workshop.folder("deep", &files)).error();
    assert!(matches!(error, BuildError::Host(_)), "{error}");
    workshop.assert_no_leftovers();
}
