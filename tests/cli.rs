//! The built program: exit codes, messages, and what happens at its ends.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).env_clear();
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    told(&command(arguments).stdin(Stdio::null()).output().unwrap())
}

fn run_with_input(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    told(&child.wait_with_output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A port that nobody listens on, given out once. It is below those that the system gives out by
/// itself, so that no connection can take it before it is used.
fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 100;
        let port = u16::try_from(FIRST + number % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The first of four free ports in a row.
fn four_ports() -> u16 {
    loop {
        let ports = [(); 4].map(|()| free_port());
        if ports.windows(2).all(|pair| pair[1] == pair[0] + 1) {
            return ports[0];
        }
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    // The shell's own: not every machine has the program.
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {}", child.id())])
        .status();
    assert!(sent.unwrap().success());
}

fn ended(child: &mut Child) -> Option<i32> {
    child
        .try_wait()
        .unwrap()
        .map(|status| status.code().unwrap_or(-1))
}

#[test]
fn five_mistakes_make_five_problems() {
    let folder = Folder::new("mistakes");
    let file = folder.file(
        "bad.toml",
        "[listen]\nhttp = \"nonsense\"\n[token_cache]\nmax_ttl = \"5 parsecs\"\nmax_entrees = 5\n\
         [[route]]\npath = \"orders\"\nupstraem = \"http://127.0.0.1:9000\"\n",
    );
    let (code, out, err) = run(&["check", &file]);
    assert_eq!(code, 78, "{err}");
    assert!(out.contains("5 errors"), "{out}");
    for place in [":2:8", ":4:11", ":5:1", ":7:8", ":8:1"] {
        assert!(
            err.contains(&format!("bad.toml{place}")),
            "{place} in {err}"
        );
    }
    for hint in [
        "did you mean `max_entries`?",
        "did you mean `upstream`?",
        "\"500ms\"",
    ] {
        assert!(err.contains(hint), "{hint} in {err}");
    }
    let (code, _, err) = run(&["run", &file]);
    assert_eq!(code, 78);
    assert!(err.contains("5 errors; nothing was started"), "{err}");
}

#[test]
fn the_seed_loads_as_it_is() {
    let folder = Folder::new("seed");
    let seed = "[keyManager]\n    serverUrl = \"https://localhost:9443\"\n    tokenContext = \"oauth2\"\n    \
                [keymanager.security.basic]\n        enabled = true\n        username = \"admin\"\n        \
                password = \"admin\"\n";
    for text in [seed.to_owned(), seed.replace("keymanager", "keyManager")] {
        let (code, out, err) = run(&["check", &folder.file("seed.toml", &text)]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("key manager localhost:9443"), "{out}");
    }
}

#[test]
fn warnings_are_told_and_may_be_denied() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("warnings");
    let secret = folder.file("secret", "s3cret\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!(
        "[keyManager]\nserverUrl = \"http://id.example.com\"\n[keymanager.security.basic]\n\
         username = \"gateway\"\npassword_file = \"{secret}\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:9000\"\n"
    );
    let file = folder.file("warn.toml", &text);
    let (code, out, err) = run(&["check", &file]);
    assert_eq!(code, 0);
    assert!(out.contains("2 warnings"), "{out}");
    assert!(
        err.contains("over plain http") && err.contains("can be read by everybody"),
        "{err}"
    );
    assert_eq!(run(&["check", "--deny-warnings", &file]).0, 78);

    let admin = text
        .replace("gateway", "admin")
        .replace("http://id", "https://id");
    let admin = admin.replace(
        &format!("password_file = \"{secret}\""),
        "password = \"admin\"",
    );
    let (_, _, err) = run(&["check", &folder.file("admin.toml", &admin)]);
    assert!(err.contains("admin/admin"), "{err}");
}

#[test]
fn secrets_are_in_no_message() {
    let folder = Folder::new("secrets");
    let file = folder.file(
        "secrets.toml",
        "[keyManager]\nserverUrl = 7\npasswort = \"hunter1\"\n[keymanager.security.basic]\n\
         username = \"a\"\npassword = \"hunter2\"\npassword_file = \"/x\"\n\
         [admin]\ntoken = \"hunter3\"\nlisten = \"0.0.0.0\"\n",
    );
    let mut check = command(&["check", &file]);
    check.env("PORTCULLIS__ADMIN__TOKEN__X", "hunter4");
    let (code, out, err) = told(&check.output().unwrap());
    assert_eq!(code, 78);
    assert!(!format!("{out}{err}").contains("hunter"), "{err}");
}

#[test]
fn variables_go_over_the_file() {
    let folder = Folder::new("variables");
    let file = folder.file(
        "env.toml",
        "[keyManager]\nserverUrl = \"https://localhost:9443\"\n[keymanager.security.basic]\n\
         username = \"a\"\n[[route]]\nname = \"orders\"\npath = \"/*\"\nupstream = \"http://127.0.0.1:9\"\n",
    );
    assert_eq!(run(&["check", &file]).0, 78, "the password is missing");
    for (name, value) in [
        ("keymanager_security_basic_password", "b"),
        ("PORTCULLIS__KEYMANAGER__SECURITY__BASIC__PASSWORD", "b"),
    ] {
        let mut check = command(&["check", &file]);
        check
            .env(name, value)
            .env("PORTCULLIS__LISTEN__HTTP", "127.0.0.1:7777")
            .env("PORTCULLIS__ROUTE__ORDERS__UPSTREAM", "http://127.0.0.1:10");
        let (code, out, err) = told(&check.output().unwrap());
        assert_eq!(code, 0, "{name}: {err}");
        assert!(out.contains("127.0.0.1:7777"), "{out}");
    }
    let mut check = command(&["check", &file]);
    check
        .env("keymanager_security_basic_password", "b")
        .env("PORTCULLIS__LISTEN__HTPP", "127.0.0.1:7777");
    let (code, _, err) = told(&check.output().unwrap());
    assert_eq!(code, 78);
    assert!(
        err.contains("PORTCULLIS__LISTEN__HTPP") && err.contains("did you mean `http`?"),
        "{err}"
    );
}

#[test]
fn what_keeps_the_gateway_from_starting_is_one_clear_line() {
    let folder = Folder::new("start");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let config = |listen: u16, key_manager: &str, password: &str| {
        format!(
            "[listen]\nhttp = \"127.0.0.1:{listen}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
             [keyManager]\nserverUrl = \"{key_manager}\"\n[keymanager.security.basic]\nusername = \"a\"\n\
             {password}\n[[route]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:9\"\n",
            free_port()
        )
    };
    let inline = "password = \"b\"";
    for (text, code, words) in [
        (
            config(taken_port, "http://127.0.0.1:9", inline),
            1,
            "cannot listen on 127.0.0.1",
        ),
        (
            config(free_port(), "http://nowhere.invalid", inline),
            69,
            "the key manager's host nowhere.invalid has no address",
        ),
        (
            config(
                free_port(),
                "http://127.0.0.1:9",
                "password_file = \"/nowhere/secret\"",
            ),
            78,
            "the secret cannot be read from /nowhere/secret",
        ),
    ] {
        let (got, _, err) = run(&["run", &folder.file("start.toml", &text)]);
        assert_eq!(got, code, "{err}");
        let lines: Vec<&str> = err.lines().filter(|line| line.contains(words)).collect();
        assert_eq!(lines.len(), 1, "{err}");
    }
    let (code, _, err) = run(&["run", "/nowhere/portcullis.toml"]);
    assert_eq!(code, 78);
    assert!(err.contains("the file cannot be read"), "{err}");
}

#[test]
fn wrong_words_on_the_command_line() {
    assert_eq!(run(&["rnu"]).0, 2);
    assert_eq!(run(&[]).0, 2);
    assert_eq!(
        run(&["introspect", "my-token"]).0,
        2,
        "no token in the arguments"
    );
    assert_eq!(run(&["--version"]).0, 0);
}

/// The demo, which ends with the test.
struct Demo {
    child: Child,
    port: u16,
}

impl Demo {
    fn start() -> Self {
        let port = four_ports();
        let child = command(&["demo", "--port", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("the demo", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        wait_for("its key manager", || {
            TcpStream::connect(("127.0.0.1", port + 1)).is_ok()
        });
        Self { child, port }
    }

    fn config(&self, folder: &Folder) -> String {
        let text = format!(
            "[keyManager]\nserverUrl = \"http://127.0.0.1:{}\"\n[keymanager.security.basic]\n\
             username = \"gateway\"\npassword = \"demo-secret\"\n\
             [[route]]\nname = \"read\"\npath = \"/r\"\nscopes = [\"orders.read\"]\nupstream = \"http://127.0.0.1:9\"\n\
             [[route]]\nname = \"write\"\npath = \"/w\"\nscopes = [\"orders.write\"]\nupstream = \"http://127.0.0.1:9\"\n",
            self.port + 1
        );
        folder.file("introspect.toml", &text)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same configuration with a key manager where nobody listens.
fn wrong_port(folder: &Folder, config: &str) -> String {
    let text = fs::read_to_string(config).unwrap();
    let start = text.find("http://127.0.0.1:").unwrap();
    let end = start + text[start..].find('"').unwrap();
    let address = format!("http://127.0.0.1:{}", free_port());
    folder.file("nobody.toml", &text.replace(&text[start..end], &address))
}

#[test]
fn introspect_tells_what_the_key_manager_says() {
    let folder = Folder::new("introspect");
    let demo = Demo::start();
    let config = demo.config(&folder);
    let ask = |token: &str, more: &[&str]| {
        let arguments = [&["introspect", "-", "--config", &config], more].concat();
        run_with_input(&arguments, &format!("{token}\n"))
    };
    let (code, out, err) = ask("demo-read", &[]);
    assert_eq!(code, 0, "{err}");
    for words in [
        "active      yes, until ",
        "claim       client_id = web-shop",
        "cached for  1m",
        "route       read: passes",
        "route       write: insufficient_scope",
    ] {
        assert!(out.contains(words), "{words} in {out}");
    }
    let (code, out, _) = ask("demo-read", &["--json"]);
    assert_eq!(code, 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["routes"]["write"], "insufficient_scope");
    assert_eq!(json["cached_for_seconds"], 60);

    for (token, expected, words) in [
        ("demo-revoked", 1, "active      no"),
        ("demo-down", 69, "it answered 5xx"),
        ("demo-html", 1, "not one of RFC 7662"),
        ("not a token", 1, "no bearer token"),
    ] {
        let (code, out, err) = ask(token, &[]);
        assert_eq!(code, expected, "{token}: {err}");
        assert!(format!("{out}{err}").contains(words), "{token}: {out}{err}");
        assert!(
            !format!("{out}{err}").contains("demo-down"),
            "the token is in the message"
        );
    }
    let (code, out, err) = run(&["check", "--online", &config]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("gave a verdict in"), "{out}");

    let wrong = fs::read_to_string(&config)
        .unwrap()
        .replace("demo-secret", "wrong");
    fs::write(&config, wrong).unwrap();
    assert_eq!(ask("demo-read", &[]).0, 77);
    let (code, _, err) = run(&["check", "--online", &config]);
    assert_eq!(code, 77, "{err}");
    assert!(
        err.contains("hint: WSO2 servers take a user who may introspect"),
        "{err}"
    );
    let nobody = wrong_port(&folder, &config);
    let (code, _, err) = run(&["check", "--online", &nobody]);
    assert_eq!(code, 69, "{err}");
    assert!(err.contains("hint: check that it runs"), "{err}");

    // A token endpoint that says no ends it at once.
    let oauth2 = format!(
        "[keyManager]\nserverUrl = \"http://127.0.0.1:{port}\"\n[keymanager.security.oauth2]\n\
         enabled = true\ntokenUrl = \"http://127.0.0.1:{port}/oauth2/token\"\n\
         [keymanager.security.oauth2.password]\nenabled = true\nclientId = \"a\"\n\
         clientSecret = \"b\"\nusername = \"c\"\npassword = \"d\"\n",
        port = demo.port + 1
    );
    let asked = Instant::now();
    let (code, _, err) = run(&["check", "--online", &folder.file("oauth2.toml", &oauth2)]);
    assert_eq!(code, 77, "{err}");
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "it went on trying"
    );
    assert!(err.contains("unsupported_grant_type"), "{err}");
    assert!(err.contains("try another credentialBearer"), "{err}");

    let token_file = folder.file("token", "demo-read\n");
    let arguments = [
        "introspect",
        "--token-file",
        &token_file,
        "--config",
        &config,
    ];
    assert_eq!(run(&arguments).0, 77);
}

#[test]
fn of_several_key_managers_one_is_asked() {
    let folder = Folder::new("several");
    let nobody = free_port();
    let table = |name: &str, more: &str| {
        format!(
            "[keyManagers.{name}]\nserverUrl = \"http://127.0.0.1:{nobody}\"\n{more}\n\
             [keymanagers.{name}.security.none]\n"
        )
    };
    let route = |path: &str, more: &str| {
        format!("[[route]]\npath = \"{path}\"\n{more}\nupstream = \"http://127.0.0.1:{nobody}\"\n")
    };
    let text = [
        table("partners", "tokenPattern = \"ptk_*\""),
        table("staff", ""),
        route("/a", ""),
        route("/b", "key_manager = \"staff\"\nscopes = [\"s\"]"),
    ];
    let config = folder.file("several.toml", &text.concat());
    let (code, out, _) = run(&["check", "--routes", &config]);
    assert_eq!(code, 0);
    assert!(out.contains("key managers partners, staff"), "{out}");
    let lines: Vec<Vec<&str>> = out
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[1][2].ends_with(", asked at staff"), "{out}");
    assert!(!lines[0][2].contains("asked at"), "{out}");
    let introspect = |token: &str, more: &[&str]| {
        let arguments = [&["introspect", "--config", &config][..], more, &["-"]].concat();
        let (code, _, said) = run_with_input(&arguments, token);
        (code, said)
    };
    // Somebody is asked about these, and is not there.
    assert_eq!(introspect("ptk_1", &[]).0, 69);
    assert_eq!(introspect("other", &["--key-manager", "staff"]).0, 69);
    for (token, more, words) in [
        ("other", &[][..], "use --key-manager"),
        (
            "other",
            &["--key-manager", "stuff"],
            "there is no [keyManagers.stuff]",
        ),
    ] {
        let (code, said) = introspect(token, more);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_gateway_under_the_demos_own_file_and_its_signals() {
    let folder = Folder::new("signals");
    let base = four_ports();
    let target = folder.0.join("demo");
    let arguments = [
        "demo",
        "--port",
        &base.to_string(),
        "--write",
        target.to_str().unwrap(),
    ];
    assert_eq!(run(&arguments).0, 0);
    assert_eq!(run(&arguments).0, 1, "what is there is not overwritten");
    let config = target.join("portcullis.toml");
    assert_eq!(
        run(&["check", "--deny-warnings", config.to_str().unwrap()]).0,
        0
    );
    for name in ["TERM", "INT"] {
        let mut child = command(&["run", config.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the gateway", || {
            get(base + 3, "/readyz").starts_with("HTTP/1.1 200")
        });
        signal(&child, "HUP");
        let answer = get(base, "/x");
        assert!(
            answer.starts_with("HTTP/1.1 404"),
            "alive after SIGHUP: {answer}"
        );
        signal(&child, name);
        wait_for("the end", || ended(&mut child).is_some());
        assert_eq!(ended(&mut child), Some(0), "SIG{name}");
    }
}

/// The answer's status line; empty while nobody gives one.
fn get(port: u16, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        let _ = stream
            .write_all(request.as_bytes())
            .and_then(|()| BufReader::new(stream).read_line(&mut answer).map(drop));
    }
    answer
}

#[test]
fn a_changed_file_is_taken_up_by_command_and_by_signal() {
    let folder = Folder::new("reload");
    let base = four_ports();
    let text = |more: &str| {
        format!(
            "[listen]\nhttp = \"127.0.0.1:{base}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
             token_file = \"{}\"\n[log]\naccess = \"off\"\n{more}",
            base + 3,
            folder.0.join("token").display(),
        )
    };
    let route = |path: &str| {
        format!("[[route]]\npath = \"{path}\"\npublic = true\nupstream = \"http://127.0.0.1:9\"\n")
    };
    folder.file("token", "s3cret");
    let config = folder.file("portcullis.toml", &text(&route("/one")));
    assert_eq!(run(&["reload", &config]).0, 1, "nobody is there to ask");
    let mut child = command(&["run", &config])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Nobody is behind the gateway: 502 tells a route from none.
    let status = |path: &str| get(base, path).get(9..12).unwrap_or_default().to_owned();
    wait_for("the gateway", || status("/one") == "502");
    assert_eq!(
        (status("/one"), status("/two")),
        ("502".into(), "404".into())
    );

    folder.file("portcullis.toml", &text(&route("/two")));
    let (code, out, err) = run(&["reload", &config]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("reloaded: 1 route in force"), "{out}");
    assert_eq!(
        (status("/one"), status("/two")),
        ("404".into(), "502".into())
    );

    folder.file("portcullis.toml", &text("[[route]]\npath = \"x\"\n"));
    let (code, _, err) = run(&["reload", &config]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("a path begins with `/`"), "{err}");
    assert_eq!(status("/two"), "502");

    let other = text(&route("/one")).replace("access = \"off\"", "access = \"json\"");
    folder.file("portcullis.toml", &other);
    let (code, _, err) = run(&["reload", &config]);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("[log] changed"), "{err}");
    assert_eq!(status("/one"), "404");

    folder.file("portcullis.toml", &text(&route("/one")));
    signal(&child, "HUP");
    wait_for("the signal's reload", || status("/one") == "502");
    signal(&child, "TERM");
    wait_for("the end", || ended(&mut child).is_some());
}

/// A gateway without a single refused connection while another takes its place, five times over.
#[test]
fn a_new_process_takes_over_and_nobody_notices() {
    let folder = Folder::new("upgrade");
    let base = four_ports();
    let config = folder.file(
        "portcullis.toml",
        &format!(
            "[listen]\nhttp = \"127.0.0.1:{base}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
             [log]\naccess = \"off\"\n[process]\nupgrade_socket = \"{}\"\n\
             [response_cache]\ndisk_path = \"{}\"\n",
            base + 3,
            folder.0.join("upgrade.sock").display(),
            // Both have a part of it while both live.
            folder.0.join("cache").display(),
        ),
    );
    let start = |arguments: &[&str]| {
        command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let is_ready = || get(base + 3, "/readyz").starts_with("HTTP/1.1 200");
    let mut running = start(&["run", &config]);
    wait_for("the first gateway", is_ready);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    loop {
                        let asked = Instant::now();
                        let answer = get(base, "/x");
                        // Who is silent for a second is not waited for by a process that goes.
                        let was_silent = asked.elapsed() > Duration::from_millis(500);
                        assert!(
                            answer.starts_with("HTTP/1.1 404") || answer.is_empty() && was_silent,
                            "{answer:?} after {count}"
                        );
                        count += 1;
                        if over.load(Ordering::Relaxed) {
                            break count;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..5 {
            let next = start(&["run", "--upgrade", &config]);
            signal(&running, "QUIT");
            wait_for("the old process to go", || ended(&mut running).is_some());
            assert_eq!(ended(&mut running), Some(0));
            running = next;
            assert!(
                is_ready(),
                "the new process was ready before the old one went"
            );
        }
        over.store(true, Ordering::Relaxed);
        for caller in callers {
            assert!(caller.join().unwrap() > 0);
        }
    });
    signal(&running, "TERM");
    wait_for("the end", || ended(&mut running).is_some());
}

#[test]
fn a_new_process_that_fails_leaves_the_old_one_as_it_was() {
    let folder = Folder::new("no-upgrade");
    let base = four_ports();
    let text = |more: &str| {
        format!(
            "[listen]\nhttp = \"127.0.0.1:{base}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
             [log]\naccess = \"off\"\n[process]\nupgrade_socket = \"{}\"\n{more}",
            base + 3,
            folder.0.join("upgrade.sock").display(),
        )
    };
    let config = folder.file("portcullis.toml", &text(""));
    let broken = folder.file(
        "broken.toml",
        &text(
            "[[route]]\npath = \"/x\"\npublic = true\nupstream = \"http://no.such.host.invalid\"\n",
        ),
    );
    let mut running = command(&["run", &config])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the gateway", || {
        get(base + 3, "/readyz").starts_with("HTTP/1.1 200")
    });
    signal(&running, "QUIT");
    wait_for("it to wait for another", || {
        folder.0.join("upgrade.sock").exists()
    });
    let (code, _, err) = run(&["run", "--upgrade", &broken]);
    assert_eq!(code, 1, "{err}");
    wait_for("it to give up waiting", || {
        !folder.0.join("upgrade.sock").exists()
    });
    assert!(get(base, "/x").starts_with("HTTP/1.1 404"));
    assert_eq!(ended(&mut running), None);
    signal(&running, "TERM");
    wait_for("the end", || ended(&mut running).is_some());
}
