//! Every language's own runtime lives under the seccomp filter and finds its files.

use std::process::Command;

use hob_model::{EndReason, Isolation};
use hob_sandbox::Access;

use crate::{
    Test,
    yard::{Yard, has},
};

pub(crate) const TESTS: &[Test] = &[
    ("languages::python", python),
    ("languages::node", node),
    ("languages::java", java),
    ("languages::bash", bash),
    ("languages::go", go),
];

fn both(test: &str, argv: &[&str], expected: &str) {
    for isolation in [Isolation::Container, Isolation::Process] {
        let mut yard = Yard::new(test);
        yard.isolation = isolation;
        let mut spec = yard.spec(argv);
        let home = yard.bind("home", "/data", Access::ReadWrite);
        spec.binds = vec![home];
        let (end, text) = yard.run_spec(spec);
        assert_eq!(
            (end.reason, text.trim()),
            (EndReason::Ok, expected),
            "{isolation}"
        );
    }
}

fn python() {
    let script = "import socket,threading,subprocess,asyncio,multiprocessing,ssl,os\n\
        s=socket.create_server(('127.0.0.1',0)); t=threading.Thread(target=print,args=('thread',)); t.start(); t.join()\n\
        ssl.create_default_context(); asyncio.run(asyncio.sleep(0)); os.cpu_count(); os.urandom(1)\n\
        print(subprocess.run(['echo','child'],capture_output=True,text=True).stdout, end='')";
    if has("/usr/bin/python3") {
        both(
            "python",
            &["/usr/bin/python3", "-c", script],
            "thread\nchild",
        );
    }
}

fn node() {
    let script = "const h=require('http');const s=h.createServer((q,r)=>r.end('served'));\
        s.listen(0,'127.0.0.1',()=>h.get({port:s.address().port,host:'127.0.0.1'},r=>r.on('data',d=>{console.log(''+d);\
        require('child_process').execFile('echo',['child'],(e,o)=>{console.log(o.trim());s.close();process.exit()})})));\
        new (require('worker_threads').Worker)('1',{eval:true});require('fs').promises.readFile('/etc/hosts')";
    if has("/usr/bin/node") {
        both("node", &["/usr/bin/node", "-e", script], "served\nchild");
    }
}

fn java() {
    if !has("/usr/bin/java") || !has("/usr/bin/javac") {
        return;
    }
    let yard = Yard::new("java");
    let code = yard.bind("code", "/function", Access::ReadOnly);
    let source = "public class Hello { public static void main(String[] a) throws Exception { \
        Thread t = new Thread(() -> System.out.println(\"thread\")); t.start(); t.join(); \
        new java.net.ServerSocket(0).close(); java.net.InetAddress.getLocalHost(); \
        System.out.println(new String(new ProcessBuilder(\"echo\", \"child\").start().getInputStream().readAllBytes()).trim()); } }";
    std::fs::write(code.source.join("Hello.java"), source).unwrap();
    let built = Command::new("javac")
        .arg("Hello.java")
        .current_dir(&code.source)
        .status()
        .unwrap();
    assert!(built.success());
    let mut spec = yard.spec(&["java", "-cp", "/function", "Hello"]);
    spec.binds = vec![code];
    let (end, text) = yard.run_spec(spec);
    assert_eq!(
        (end.reason, text.as_str()),
        (EndReason::Ok, "thread\nchild\n")
    );
}

fn bash() {
    let script = "x=$(echo sub); cat <<< $x; echo a b | while read p q; do echo $q; done; exec 3<>/dev/null; ulimit -n > /dev/null";
    both("bash", &["bash", "-c", script], "sub\nb");
}

fn go() {
    if !has("go") {
        return;
    }
    let yard = Yard::new("go");
    let code = yard.bind("code", "/function", Access::ReadOnly);
    let source = "package main\nimport (\"fmt\";\"net\";\"os/exec\";\"sync\")\nfunc main() {\n l, e := net.Listen(\"tcp\", \"127.0.0.1:0\"); if e != nil { panic(e) }; l.Close()\n \
        var w sync.WaitGroup; w.Add(1); go func() { fmt.Println(\"routine\"); w.Done() }(); w.Wait()\n \
        o, e := exec.Command(\"echo\", \"child\").Output(); if e != nil { panic(e) }; fmt.Print(string(o)) }\n";
    std::fs::write(code.source.join("main.go"), source).unwrap();
    let mut build = Command::new("go");
    build
        .args(["build", "-o", "hello", "main.go"])
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0");
    assert!(build.current_dir(&code.source).status().unwrap().success());
    let mut spec = yard.spec(&["/function/hello"]);
    spec.binds = vec![code];
    let (end, text) = yard.run_spec(spec);
    assert_eq!(
        (end.reason, text.as_str()),
        (EndReason::Ok, "routine\nchild\n")
    );
}
