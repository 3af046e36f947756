//! Production and sandbox keys choose the upstream.

use portcullis::demo::Reply;

use crate::support::{Answer, Harness, RawServer, wait_for};

/// An upstream that says who it is.
fn server(answer: &'static [u8]) -> RawServer {
    RawServer::answering(answer, false)
}

const LIVE: &[u8] =
    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nlive";
const TRIAL: &[u8] =
    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\ntrial";

fn body(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body.as_str())
}

#[test]
fn without_subscriptions_every_key_is_one_of_production() {
    let live = server(LIVE);
    let harness = Harness::with(&format!(
        "[[route]]\npath = \"/live\"\nupstream = \"http://{0}\"\nsandbox_upstream = \"http://127.0.0.1:9\"\n\
         [[route]]\npath = \"/sandbox\"\nsandbox_upstream = \"http://{0}\"\n",
        live.address,
    ));
    harness.key_manager.set("a", Reply::active("shop", ""));
    assert_eq!(body(&harness.get("/live", "a")), (200, "live"));
    let refused = harness.get("/sandbox", "a");
    assert_eq!(refused.refusal().1, "no_production_endpoint");
}

#[test]
fn the_kind_of_key_chooses_the_upstream() {
    let (live, trial) = (server(LIVE), server(TRIAL));
    let folder = std::env::temp_dir().join(format!("portcullis-sandbox-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("clients.json");
    let apis = r#""apis":[{"name":"Pizza","version":"1"}]"#;
    let clients = format!(
        r#"{{"client":[{{"client_id":"live",{apis}}},{{"client_id":"trial","key_type":"SANDBOX",{apis}}}]}}"#
    );
    std::fs::write(&path, clients).unwrap();
    let route = |path: &str, upstreams: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\napi = {{ name = \"Pizza\", version = \"1\" }}\n{upstreams}\n\
             response_cache = {{ default_ttl = \"1m\" }}\n"
        )
    };
    let production = format!("upstream = \"http://{}\"\n", live.address);
    let sandbox = format!("sandbox_upstream = \"http://{}\"\n", trial.address);
    let harness = Harness::with(
        &[
            format!("[subscriptions]\nvalidate = true\nfile = {path:?}\n"),
            route("/both", &format!("{production}{sandbox}")),
            route("/live", &production),
            route("/trial", &sandbox),
        ]
        .concat(),
    );
    wait_for("the list", || harness.admin("/readyz").status == 200);
    std::fs::remove_dir_all(&folder).unwrap();
    for client in ["live", "trial"] {
        harness.key_manager.set(client, Reply::active(client, ""));
    }
    // The second time from the response cache, where the two are kept apart.
    for _ in 0..2 {
        for client in ["live", "trial"] {
            assert_eq!(body(&harness.get("/both", client)), (200, client));
            let own = format!("/{client}");
            assert_eq!(body(&harness.get(&own, client)), (200, client));
        }
    }
    for (path, client, reason) in [
        ("/trial", "live", "no_production_endpoint"),
        ("/live", "trial", "no_sandbox_endpoint"),
    ] {
        assert_eq!(
            harness.get(path, client).refusal(),
            (403, reason.to_owned())
        );
    }
}
