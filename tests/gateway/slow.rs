//! Clients that take or send next to nothing are cut off, and what was meant for them is thrown away.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::support::{Harness, PATIENCE, RawServer, read_head, wait_for};

/// Gives as many bytes as the path says.
fn upstream() -> RawServer {
    RawServer::start(|_, mut stream| {
        std::thread::spawn(move || {
            while let Some(head) = read_head(&mut stream) {
                let target = head.split(' ').nth(1).unwrap();
                let length: usize = target[1..].parse().unwrap();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                // Who asked may be gone.
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&vec![b'x'; length]);
            }
        });
    })
}

/// A connection whose system takes a few kilobytes and no more, and which does not read.
fn reader(harness: &Harness, bytes: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&harness.gateway.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let request = format!("GET /{bytes} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn who_takes_or_sends_nothing_is_cut_off() {
    let server = upstream();
    // A short time for headers means frequent looks.
    let harness = Harness::with(&format!(
        "[listen.limits]\nheader_timeout = \"2s\"\n\
         [[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://{}\"\n",
        server.address
    ));
    // With the first the gateway waits itself; what the second has to take is the system's already.
    let mut readers = [reader(&harness, 4 << 20), reader(&harness, 64 << 10)];
    let mut good = reader(&harness, 256 << 10);
    let mut sender = TcpStream::connect(harness.gateway).unwrap();
    sender
        .write_all(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
        .unwrap();
    // Slow, but not too slow: a kilobyte four times a second.
    let begun = Instant::now();
    let mut taken = 0;
    while begun.elapsed() < Duration::from_secs(12) {
        taken += good.read(&mut [0; 1024]).unwrap();
        std::thread::sleep(Duration::from_millis(250));
    }
    for (reason, count) in [("slow_reader", 2), ("slow_body", 1)] {
        let series = format!(
            "portcullis_downstream_connections_closed_total{{listener=\"{}\",reason=\"{reason}\"}} {count}\n",
            harness.gateway
        );
        wait_for(reason, || harness.admin("/metrics").body.contains(&series));
    }
    for reader in &mut readers {
        let mut got = Vec::new();
        let fault = reader.read_to_end(&mut got).unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::ConnectionReset, "{}", got.len());
        assert!(got.len() < 16 << 10, "{}", got.len());
    }
    while taken < 256 << 10 {
        let more = good.read(&mut [0; 65536]).unwrap();
        assert!(more > 0, "it ended after {taken} bytes");
        taken += more;
    }
    let log = harness.log(4);
    let large = log.iter().find(|line| line["url.path"] == "/4194304");
    let written = large.unwrap()["bytes_out"].as_u64().unwrap();
    assert!(written < 1 << 20, "the system held {written} bytes");
}
