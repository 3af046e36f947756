//! The first minute: each line of the demo's banner gives what it promises.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Shorter than an answer is cached in the demo.
const KEPT: Duration = Duration::from_secs(8);

/// A line to paste, and the status that it promises.
struct Promise {
    command: String,
    status: u16,
}

#[test]
fn each_line_gives_what_it_promises() {
    let (mut demo, mut out) = start();
    let promises = read_banner(&mut out);
    assert!(
        promises.len() >= 10,
        "the banner has {} lines",
        promises.len()
    );
    let began = Instant::now();
    for promise in &promises {
        assert_eq!(
            paste(&promise.command),
            promise.status,
            "{}",
            promise.command
        );
    }
    let good = promises
        .iter()
        .find(|promise| promise.status == 200 && promise.command.contains("Bearer demo-read"))
        .unwrap();
    // The last line has revoked it; the answer that was cached lives on for a while, then ends.
    let status = paste(&good.command);
    assert!(
        status == 200 || began.elapsed() > KEPT,
        "{status} at once after its revocation"
    );
    let deadline = Instant::now() + PATIENCE;
    while paste(&good.command) == 200 {
        assert!(Instant::now() < deadline, "a revoked token passes for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(paste(&good.command), 401);

    // The shell's own: not every machine has the program.
    let interrupt = Command::new("sh")
        .args(["-c", &format!("kill -INT {}", demo.id())])
        .status();
    assert!(interrupt.unwrap().success());
    let asked = Instant::now();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert!(asked.elapsed() < PATIENCE, "Ctrl-C leaves at once");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("Requests passed with a token"), "{rest}");
    for promise in promises {
        if let Some((_, token)) = promise.command.split_once("Bearer ") {
            let token = token.trim_end_matches(['\'']).split('\'').next().unwrap();
            assert!(!rest.contains(token), "{token} is in the log");
        }
    }
}

fn start() -> (Child, BufReader<ChildStdout>) {
    // Below those that the system gives out by itself.
    let port = (0..1_000)
        .map(|number| 18_000 + (std::process::id() + number) % 500 * 4)
        .map(|port| u16::try_from(port).unwrap())
        .find(|port| (0..4).all(|offset| TcpListener::bind(("127.0.0.1", port + offset)).is_ok()))
        .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["demo", "--port", &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Reads up to the last promise.
fn read_banner(out: &mut impl BufRead) -> Vec<Promise> {
    let mut promises = Vec::new();
    let mut command = String::new();
    loop {
        let mut line = String::new();
        assert!(
            out.read_line(&mut line).unwrap() > 0,
            "the banner ends early"
        );
        let line = line.trim();
        if line.starts_with("curl ") {
            line.clone_into(&mut command);
        } else if let Some(promise) = line.strip_prefix("→ ") {
            let status = promise.split(':').next().unwrap().parse().unwrap();
            promises.push(Promise {
                command: std::mem::take(&mut command),
                status,
            });
            if line.contains("then 401") {
                return promises;
            }
        }
    }
}

/// Does what the `curl` line says, as far as the banner's lines go, and returns the status.
fn paste(command: &str) -> u16 {
    let words = split(command);
    let mut method = "GET";
    let mut headers = String::new();
    let mut body = "";
    let mut url = "";
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-i" => {}
            "-X" => method = words.next().unwrap(),
            "-H" => headers.push_str(&format!("{}\r\n", words.next().unwrap())),
            "-d" => {
                method = "POST";
                body = words.next().unwrap();
                headers.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
            }
            word => url = word,
        }
    }
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Words as a shell would see them, with single quotes.
fn split(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in command.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
