//! Removing what an import has made when the rest cannot be done, also in another process: a snapshot costs money for as long as it is there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::remote::{By, Remote};
use super::credentials::Account;
use super::ec2::Ec2;
use super::service::Service;
use crate::error::StepError;

/// How often, and with which pause, a snapshot is looked for whose id nobody has heard: what has just been made is not shown at once.
const LOOKS: (u32, Duration) = (4, Duration::from_secs(5));

/// AWS's words for keys that are none, or none any more. `AuthFailure` is not among them: so EC2 also answers a machine whose clock is wrong.
const SHUT_OUT: [&str; 4] =
    ["InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException"];

/// What an import asks for, and what it was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Import {
    pub(super) account: Account,
    /// Services of one's own.
    pub(super) ec2: Option<String>,
    pub(super) ebs: Option<String>,
    pub(super) insecure: bool,
    pub(super) tries: u32,
    /// The snapshot's description, which no other snapshot has.
    pub(super) description: String,
    /// Its id, once AWS has told it.
    pub(super) snapshot: Option<String>,
    /// The image, once it has been asked for.
    pub(super) image: Option<AskedImage>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AskedImage {
    pub(super) name: String,
    /// Its id, once AWS has told it.
    pub(super) id: Option<String>,
}

impl Remote for Import {
    const SERVICE: &'static str = "aws";

    /// The image goes first, then its snapshot. Nobody else has them: their ids are this import's alone.
    async fn give_back(&self, _: By) -> Result<Vec<String>, String> {
        let removed = async {
            let mut ec2 = Ec2::new(self.service("ec2")?, self.tries);
            self.remove(&mut ec2).await
        };
        removed.await.map_err(|error: StepError| format!("{error}. {}", self.by_hand()))
    }

    fn by_hand(&self) -> String {
        let region = &self.account.region;
        let image = match &self.image {
            Some(AskedImage { id: Some(id), .. }) => {
                format!("`aws ec2 deregister-image --region {region} --image-id {id}` removes the image, ")
            }
            Some(AskedImage { name, id: None }) => format!("the image may be there as {name:?}, "),
            None => String::new(),
        };
        let snapshot = match &self.snapshot {
            Some(id) => format!("`aws ec2 delete-snapshot --region {region} --snapshot-id {id}` the snapshot"),
            None => format!(
                "`aws ec2 describe-snapshots --region {region} --owner-ids self --filters 'Name=description,Values={}'` shows whether there is \
                 a snapshot",
                self.description.replace('\'', "'\\''")
            ),
        };
        format!("It is left to you, and may cost money (access key {}): {image}{snapshot}", self.account.keys.id)
    }

    fn without_credentials(mut self) -> Self {
        self.account.keys.secret.clear();
        self.account.keys.token = None;
        self
    }

    fn is_shut_out(error: &str) -> bool {
        SHUT_OUT.iter().any(|code| error.contains(&format!(" {code}: ")))
    }
}

impl Import {
    /// One of AWS's services, for the one who imports.
    pub(super) fn service(&self, name: &str) -> Result<Service, StepError> {
        let own = if name == "ec2" { &self.ec2 } else { &self.ebs };
        // Whoever does not check the certificate of a service of his own still sends his disk to AWS alone otherwise.
        Service::new(&self.account, name, own.as_deref(), self.insecure && own.is_some())
    }

    async fn remove(&self, ec2: &mut Ec2) -> Result<Vec<String>, StepError> {
        let mut removed = Vec::new();
        let snapshots = match &self.snapshot {
            Some(id) => vec![id.clone()],
            None => self.find(ec2).await?,
        };
        let images = match &self.image {
            None => Vec::new(),
            Some(AskedImage { id: Some(id), .. }) => vec![id.clone()],
            // Somebody else's of that name has another snapshot.
            Some(AskedImage { name, id: None }) => ec2.images_called(name, &snapshots).await?,
        };
        for id in images {
            ec2.deregister(&id).await?;
            removed.push(format!("deregistered the image {id} in {}", self.account.region));
        }
        for id in snapshots {
            ec2.delete_snapshot(&id).await?;
            removed.push(format!("removed the snapshot {id} in {}", self.account.region));
        }
        Ok(removed)
    }

    /// The snapshot of this import, whose id was never heard.
    async fn find(&self, ec2: &mut Ec2) -> Result<Vec<String>, StepError> {
        let (looks, pause) = LOOKS;
        for look in 1..=looks {
            let found = ec2.snapshots_described(&self.description).await?;
            if !found.is_empty() || look == looks {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
        }
        Ok(Vec::new())
    }
}
