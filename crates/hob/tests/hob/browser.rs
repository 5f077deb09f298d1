//! What a page in a real browser may do: call the functions that let its origin, and never hob.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hob_testkit::{assert_eventually, has_programs};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench::{Bench, write};

/// Longest wait for a word of the browser.
const PATIENCE: Duration = Duration::from_secs(30);

/// Chromium without a window, in which a test opens pages.
struct Browser {
    child: Child,
    door: SocketAddr,
    /// What it remembers; goes with it.
    _profile: TempDir,
}

impl Browser {
    /// Every name ends on this machine.
    fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let log = fs::File::create(profile.path().join("log")).unwrap();
        let child = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-port=0",
                "--host-resolver-rules=MAP *.test 127.0.0.1",
                "about:blank",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut browser = Self {
            child,
            door: SocketAddr::from(([127, 0, 0, 1], 0)),
            _profile: profile,
        };
        browser.find_door();
        browser
    }

    fn find_door(&mut self) {
        let profile = self._profile.path().to_owned();
        let port = || port_in(&profile);
        assert_eventually!(port().is_some(), "chromium tells its port");
        self.door.set_port(port().unwrap());
    }

    /// Opens a page in a tab of its own.
    fn open(&self, url: &str) {
        self.ask("PUT", &format!("/json/new?{url}"));
    }

    /// What the page at `url` has found out, which it writes into its title.
    #[track_caller]
    fn found(&self, url: &str) -> Value {
        self.open(url);
        let found = || {
            // The list of tabs is made for pages.
            let title = self.title(url)?.replace("&quot;", "\"");
            serde_json::from_str::<Value>(&title).ok()
        };
        assert_eventually!(found().is_some(), "the page {url} has its answers");
        found().unwrap()
    }

    /// The title of the tab that was opened with `url`; `None` before there is one.
    fn title(&self, url: &str) -> Option<String> {
        let tabs: Value = serde_json::from_str(&self.ask("GET", "/json/list")).unwrap();
        let mut tabs = tabs.as_array().unwrap().iter();
        let title = tabs.find(|tab| tab["url"] == url)?["title"].as_str()?;
        (!title.is_empty()).then(|| title.to_owned())
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let stream = TcpStream::connect(self.door).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = BufReader::new(stream);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        let mut lines = stream.by_ref().lines().map(Result::unwrap);
        let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        assert!(
            head.first().is_some_and(|line| line.contains(" 200 ")),
            "{head:?}"
        );
        let length = head.iter().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("content-length:")?.trim().parse().ok()
        });
        let mut body = vec![0; length.unwrap()];
        stream.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

fn port_in(profile: &Path) -> Option<u16> {
    let text = fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
    text.lines().next()?.parse().ok()
}

/// A page that asks each of `questions`, a name and the arguments of `fetch`, and writes what became
/// of them into its title.
fn page(questions: &[(&str, String)]) -> String {
    let asked: String = questions
        .iter()
        .map(|(name, arguments)| format!("  await ask('{name}', () => fetch({arguments}));\n"))
        .collect();
    format!(
        "<!doctype html><link rel=icon href=data:,><script>
const found = {{}};
async function ask(name, call) {{
  try {{
    const answer = await call();
    found[name] = `${{answer.type}} ${{answer.status}} ${{(await answer.text()).trim()}}`;
  }} catch (error) {{
    found[name] = error.name;
  }}
}}
(async () => {{
{asked}  document.title = JSON.stringify(found);
}})();
</script>\n"
    )
}

#[test]
fn a_page_calls_the_functions_that_let_it_and_never_hob() {
    if !has_programs(&["python3", "chromium"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let port = hob.address().port();
    let api = format!("http://api.test:{port}/hello");
    let home = hob.url();

    let folder = bench.python(
        "api",
        "return f'{req.method} {req.path} {req.headers.get(\"x-mine\")}'",
    );
    let manifest = format!("domain = \"api.test\"\ncors = [\"http://good.test:{port}\"]\n");
    write(&folder.join("hob.toml"), &manifest);
    bench.deploy(&folder);

    // With a method and a header that no page may send to others unasked.
    let call = format!("'{api}', {{ method: 'PUT', headers: {{ 'X-Mine': 'yes' }} }}");
    let plain = format!("'{api}'");
    let read = format!("'{home}/hob/v1/functions', {{ credentials: 'include' }}");
    let change = format!(
        "'{home}/hob/v1/functions/api/scale', {{ method: 'POST', mode: 'no-cors', \
         credentials: 'include', body: '{{\"replicas\":3}}' }}"
    );
    let own = "'/hob/v1/functions', { credentials: 'include' }".to_owned();
    let questions = [
        ("call", call),
        ("plain", plain),
        ("read", read),
        ("change", change),
        ("own", own),
    ];
    for name in ["good", "evil"] {
        let site = bench.site(name, &page(&questions));
        let manifest = format!("domain = \"{name}.test\"\n");
        write(&site.join("hob.toml"), &manifest);
        bench.deploy(&site);
    }

    let browser = Browser::start();
    // The browser learns the password, as of somebody who looks at the API by hand.
    let login = home.replace("//", &format!("//admin:{}@", hob.password())) + "/hob/v1/status";
    browser.open(&login);
    assert_eventually!(browser.title(&login).is_some(), "the status is shown");

    // On hosts that are functions' as a whole there is no hob.
    let nothing = |site: &str| format!("basic 404 function `{site}` has no such file");
    let good = browser.found(&format!("http://good.test:{port}/"));
    assert_eq!(good["call"], "cors 200 PUT /hello yes");
    assert_eq!(good["plain"], "cors 200 GET /hello None");
    let evil = browser.found(&format!("http://evil.test:{port}/"));
    assert_eq!(evil["call"], "TypeError");
    assert_eq!(evil["plain"], "TypeError");
    for (name, found) in [("good", good), ("evil", evil)] {
        assert_eq!(found["read"], "TypeError");
        // It was sent, and nobody tells the page what came of it.
        assert_eq!(found["change"], "opaque 0 ");
        assert_eq!(found["own"], nothing(name));
    }
    // Pages in the house of hob are functions' too. That they get 403 and not 401 says that the
    // browser sent the password.
    let found = browser.found(&format!("{home}/function/evil/"));
    for name in ["read", "own"] {
        let refused = "basic 403 requests from web pages are refused";
        let answer = found[name].as_str().unwrap();
        assert!(answer.starts_with(refused), "{answer}");
    }
    let changed = found["change"].as_str().unwrap();
    assert!(changed.starts_with("basic 403 "), "{changed}");

    let detail = hob.cli(["describe", "api", "-o", "json"]).json();
    assert_eq!(detail["replicas"], json!(1));
}
