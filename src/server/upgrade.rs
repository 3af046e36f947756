//! A new process takes the place of this one, and no connection is refused on the way: the listening
//! sockets go over by a Unix socket (`SCM_RIGHTS`), and the old process drains once the new one says
//! that it is ready. A new one that fails to start leaves the old one as it was.

use std::{
    fs,
    io::{IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, PermissionsExt},
            net::UnixStream,
        },
    },
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
    process::getuid,
};
use tokio::net::UnixListener;

use crate::listener::Inherited;

/// Most sockets that are handed on; far below what one message may carry (253).
const MAX_SOCKETS: usize = 128;
/// How long either process waits for the other.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the new process says when it takes connections.
const READY: u8 = b'!';

/// Waits for a new process at `path`, gives it the sockets, and returns once it is ready.
///
/// # Errors
/// Nobody came in time, or who came went away again: then this process goes on.
pub async fn hand_over(path: &Path, sockets: Vec<(SocketAddr, OwnedFd)>) -> anyhow::Result<()> {
    let waiting = Waiting::at(path)?;
    let (stream, _) = tokio::time::timeout(PATIENCE, waiting.listener.accept())
        .await
        .context("no new process came: start it with `portcullis run --upgrade`")??;
    let caller = stream.peer_cred()?.uid();
    let ours = getuid().as_raw();
    ensure!(
        caller == ours || caller == 0,
        "a process of user {caller} asked for the sockets of user {ours}"
    );
    let stream = stream.into_std()?;
    let given = move || give(&stream, &sockets);
    tokio::task::spawn_blocking(given).await?
}

/// The Unix socket, for its owner alone, removed in the end.
struct Waiting<'a> {
    path: &'a Path,
    listener: UnixListener,
}

impl<'a> Waiting<'a> {
    fn at(path: &'a Path) -> anyhow::Result<Self> {
        let at = || format!("the upgrade socket {}", path.display());
        if let Some(folder) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(folder).with_context(at)?;
        }
        // One that an earlier process left.
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path).with_context(at)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(at)?;
        Ok(Self { path, listener })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = fs::remove_file(self.path);
    }
}

fn give(mut stream: &UnixStream, sockets: &[(SocketAddr, OwnedFd)]) -> anyhow::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ensure!(
        sockets.len() <= MAX_SOCKETS,
        "more than {MAX_SOCKETS} listeners"
    );
    let borrowed: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let message = SendAncillaryMessage::ScmRights(&borrowed);
    let mut space = vec![MaybeUninit::uninit(); message.size()];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ensure!(
        ancillary.push(message),
        "more sockets than a message carries"
    );
    // Without a byte beside them they would not be delivered.
    sendmsg(
        stream,
        &[IoSlice::new(&[READY])],
        &mut ancillary,
        SendFlags::empty(),
    )
    .context("the sockets cannot be sent")?;
    let mut word = [0];
    match stream.read(&mut word) {
        Ok(1) if word == [READY] => Ok(()),
        Ok(_) => bail!("the new process went away before it was ready"),
        Err(fault) => Err(fault).context("the new process did not become ready in time"),
    }
}

/// What the old process left to this one.
pub struct Legacy {
    pub sockets: Inherited,
    /// Through it the old process hears that this one is ready.
    stream: UnixStream,
}

impl Legacy {
    /// Takes the sockets from the process that waits at `path`, or will soon.
    ///
    /// # Errors
    /// None does in time, or what it sends is not what it should be.
    pub fn take(path: &Path) -> anyhow::Result<Self> {
        let stream = connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0];
        recvmsg(
            &stream,
            &mut [IoSliceMut::new(&mut word)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
        .context("the old process sent nothing")?;
        let sockets: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                _ => None,
            })
            .flatten()
            .collect();
        ensure!(!sockets.is_empty(), "the old process sent no sockets");
        let sockets = Inherited::new(sockets).context("what the old process sent")?;
        Ok(Self { sockets, stream })
    }

    /// Tells the old process that it may go. Nothing is lost where it has gone already.
    pub fn ready(mut stream: UnixStream) {
        if let Err(fault) = stream.write_all(&[READY]) {
            tracing::warn!(%fault, "the old process is not there any more");
        }
    }

    /// The sockets, and how to say that they are in use.
    pub fn split(self) -> (Inherited, UnixStream) {
        (self.sockets, self.stream)
    }
}

fn connect(path: &Path) -> anyhow::Result<UnixStream> {
    const PAUSE: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(fault) => {
                return Err(fault).with_context(|| {
                    format!(
                        "no process hands its sockets over at {}: send SIGQUIT to the old one, and \
                         let both have the same `process.upgrade_socket`",
                        path.display()
                    )
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::listener::bind;

    fn place(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("portcullis-{}", std::process::id()));
        folder.join(name)
    }

    #[tokio::test]
    async fn sockets_go_over_and_take_connections() {
        let path = place("go-over");
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let new = std::thread::spawn({
            let path = path.clone();
            move || {
                let (mut sockets, stream) = Legacy::take(&path).unwrap().split();
                let socket = bind(address, &mut sockets).unwrap();
                Legacy::ready(stream);
                socket
            }
        });
        hand_over(&path, vec![(address, socket.into())])
            .await
            .unwrap();
        let taken = new.join().unwrap();
        taken.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        taken.accept().unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_new_process_that_goes_away_changes_nothing() {
        let path = place("goes-away");
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let kept = socket.try_clone().unwrap();
        let new = std::thread::spawn({
            let path = path.clone();
            move || drop(Legacy::take(&path).unwrap())
        });
        let result = hand_over(&path, vec![(address, socket.into())]).await;
        assert!(result.is_err());
        new.join().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        kept.accept().unwrap();
    }
}
