//! One connection to the proxy: who may log in, and what its commands become in the guest.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_communicators::{CommandStreams, Communicator, CommunicatorError, Exit};
use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session as Connection, VerifiedPublicKey};
use russh::{Channel, ChannelId, Pty};
use tokio_util::sync::CancellationToken;

/// What a command's status is where the guest has told none.
const NO_STATUS: u32 = 255;

/// What connections share.
pub(super) struct Served {
    pub(super) guest: Arc<dyn Communicator>,
    /// Who may log in.
    pub(super) key: PublicKey,
    /// What runs in the guest for the subsystem `sftp`.
    pub(super) sftp_command: String,
}

/// One client.
pub(super) struct Session {
    served: Arc<Served>,
    /// Cancelled with the connection.
    ended: CancellationToken,
    logged_in: Arc<AtomicBool>,
    /// Channels without a command so far.
    idle: HashMap<ChannelId, Channel<Msg>>,
}

impl Session {
    pub(super) fn new(served: Arc<Served>, ended: CancellationToken, logged_in: Arc<AtomicBool>) -> Self {
        Self { served, ended, logged_in, idle: HashMap::new() }
    }

    fn judge(&self, key: &PublicKey) -> Auth {
        if key.key_data() == self.served.key.key_data() { Auth::Accept } else { Auth::reject() }
    }

    /// Runs `command` in the guest, with the channel's streams as its own.
    fn run(&mut self, id: ChannelId, command: String, connection: &mut Connection) -> Result<(), russh::Error> {
        let Some(channel) = self.idle.remove(&id) else { return connection.channel_failure(id) };
        connection.channel_success(id)?;
        let (served, ended) = (self.served.clone(), self.ended.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = run(&served, &command, channel) => {}
                () = ended.cancelled() => {}
            }
        });
        Ok(())
    }
}

/// Runs a command to its end, and tells its status.
async fn run(served: &Served, command: &str, channel: Channel<Msg>) {
    let (mut read, write) = channel.split();
    let output = Box::pin(write.make_writer());
    let errors = Box::pin(write.make_writer_ext(Some(1)));
    let streams = CommandStreams { input: Box::pin(read.make_reader()), output, errors };
    let status = match served.guest.converse(command, streams).await {
        Ok(Exit::Code(code)) => u32::from_ne_bytes(code.to_ne_bytes()),
        Ok(exit @ Exit::Signal(_)) => u32::try_from(exit.code()).unwrap_or(NO_STATUS),
        Ok(Exit::Disconnected) => NO_STATUS,
        Err(error) => {
            tell(&write, &error).await;
            NO_STATUS
        }
    };
    // Where the client has gone, nobody minds.
    let _ = write.exit_status(status).await;
    let _ = write.eof().await;
    let _ = write.close().await;
}

/// Says on the command's standard error why it did not run.
async fn tell(write: &russh::ChannelWriteHalf<Msg>, error: &CommunicatorError) {
    let words = format!("kiln: {error}\n");
    let _ = write.extended_data_bytes(1, words.into_bytes()).await;
}

impl Handler for Session {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(key.public_key))
    }

    async fn auth_succeeded(&mut self, _session: &mut Connection) -> Result<(), Self::Error> {
        self.logged_in.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Connection,
    ) -> Result<(), Self::Error> {
        self.idle.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Connection) -> Result<(), Self::Error> {
        self.idle.remove(&channel);
        Ok(())
    }

    /// Taken, and no more: the guest has its own idea of terminals.
    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Connection,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Connection,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Connection,
    ) -> Result<(), Self::Error> {
        let command = String::from_utf8_lossy(data).into_owned();
        self.run(channel, command, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Connection,
    ) -> Result<(), Self::Error> {
        if name != "sftp" {
            return session.channel_failure(channel);
        }
        let command = self.served.sftp_command.clone();
        self.run(channel, command, session)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Connection) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}
