//! An SSH server in this process that does as it is told: passwords, hostile file names, commands that die.

use std::borrow::Cow;
use std::sync::Arc;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, Config, Handler, Msg, Response, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server is to do.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) password: Option<&'static str>,
    pub(crate) keyboard_interactive: Option<&'static str>,
    /// Rejects so many logins before one is taken.
    pub(crate) reject_first: usize,
    /// Sent as the output of any command; the channel is then closed with this status.
    pub(crate) answer: Option<(Vec<u8>, u32)>,
}

pub(crate) struct ScriptedServer {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedServer {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, script)
    }

    pub(crate) fn serve(listener: TcpListener, script: Script) -> Self {
        let port = listener.local_addr().unwrap().port();
        let config = config(&script);
        let rejections = Arc::new(std::sync::atomic::AtomicUsize::new(script.reject_first));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve_one(Arc::clone(&config), stream, script.clone(), Arc::clone(&rejections));
            }
        });
        Self { port, task }
    }
}

fn config(script: &Script) -> Arc<Config> {
    let mut methods = MethodSet::empty();
    if script.password.is_some() {
        methods.push(MethodKind::Password);
    }
    if script.keyboard_interactive.is_some() {
        methods.push(MethodKind::KeyboardInteractive);
    }
    Arc::new(Config {
        keys: vec![PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()],
        methods,
        auth_rejection_time: std::time::Duration::from_millis(10),
        nodelay: true,
        ..Config::default()
    })
}

fn serve_one(config: Arc<Config>, stream: TcpStream, script: Script, rejections: Arc<std::sync::atomic::AtomicUsize>) {
    tokio::spawn(async move {
        if let Ok(session) = russh::server::run_stream(config, stream, Guest { script, rejections }).await {
            let _ = session.await;
        }
    });
}

struct Guest {
    script: Script,
    rejections: Arc<std::sync::atomic::AtomicUsize>,
}

impl Guest {
    fn judge(&self, right: bool) -> Auth {
        use std::sync::atomic::Ordering::SeqCst;
        let still_rejecting = self.rejections.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if right && !still_rejecting { Auth::Accept } else { Auth::reject() }
    }
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self.judge(self.script.password == Some(password)))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            return Ok(Auth::Partial {
                name: Cow::Borrowed("login"),
                instructions: Cow::Borrowed(""),
                prompts: Cow::Owned(vec![(Cow::Borrowed("Password: "), false)]),
            });
        };
        let answer = response.next();
        let right = answer.as_deref() == self.script.keyboard_interactive.map(str::as_bytes);
        Ok(self.judge(right))
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        if let Some((output, status)) = self.script.answer.clone() {
            session.data(channel, output)?;
            session.exit_status_request(channel, status)?;
            session.eof(channel)?;
            session.close(channel)?;
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}
