//! EC2's query API, as far as an image needs it: forms in, XML out.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use super::image::Image;
use super::service::{Ask, Service};
use super::sigv4::hex;
use super::xml::{element, elements};
use crate::context::BuildContext;
use crate::error::StepError;

/// The version of the API.
const VERSION: &str = "2016-11-15";

/// Pauses between two looks at something that is not ready: the first, and the longest.
const PACE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// The service.
pub(super) struct Ec2 {
    service: Service,
    tries: u32,
}

type Form = Vec<(String, String)>;

impl Ec2 {
    pub(super) fn new(service: Service, tries: u32) -> Self {
        Self { service, tries }
    }

    /// Whether AWS has refused what it was asked for last: then it has not done it.
    pub(super) fn has_refused(&self) -> bool {
        self.service.has_refused()
    }

    /// The snapshots of this account that have this description.
    pub(super) async fn snapshots_described(&mut self, description: &str) -> Result<Vec<String>, StepError> {
        let form = own(&[("description", description)]);
        let answer = self.ask("DescribeSnapshots", form, true).await?;
        Ok(elements(&answer, "snapshotId"))
    }

    /// The images of this account that are called `name`, when they are of one of `snapshots`.
    pub(super) async fn images_called(&mut self, name: &str, snapshots: &[String]) -> Result<Vec<String>, StepError> {
        let answer = self.ask("DescribeImages", own(&[("name", name)]), true).await?;
        let is_of_them = elements(&answer, "snapshotId").iter().any(|id| snapshots.contains(id));
        Ok(if is_of_them { elements(&answer, "imageId") } else { Vec::new() })
    }

    async fn ask(&mut self, action: &str, form: Form, repeatable: bool) -> Result<String, StepError> {
        let fixed = [("Action".to_owned(), action.to_owned()), ("Version".to_owned(), VERSION.to_owned())];
        let parts: Vec<String> =
            fixed.into_iter().chain(form).map(|(name, value)| format!("{name}={}", encoded(&value))).collect();
        let body = parts.join("&");
        let ask = Ask {
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8"))],
            body_digest: hex(&Sha256::digest(&body)),
            body: Bytes::from(body),
            repeatable,
        };
        let reply = self.service.ask(&ask, self.tries).await.map_err(|error| {
            let hint = error.hint().map(str::to_owned);
            StepError::new(format!("{action} failed: {error}")).with_hint_maybe(hint)
        })?;
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }

    /// Waits until the snapshot is whole.
    pub(super) async fn wait_for_snapshot(
        &mut self,
        build: &BuildContext,
        id: &str,
        limit: Duration,
    ) -> Result<(), StepError> {
        let form = vec![("SnapshotId.1".to_owned(), id.to_owned())];
        self.wait(build, "DescribeSnapshots", form, ("status", "completed", "error"), &format!("snapshot {id}"), limit)
            .await
    }

    /// Waits until machines can be made of the image.
    pub(super) async fn wait_for_image(
        &mut self,
        build: &BuildContext,
        id: &str,
        limit: Duration,
    ) -> Result<(), StepError> {
        let form = vec![("ImageId.1".to_owned(), id.to_owned())];
        self.wait(build, "DescribeImages", form, ("imageState", "available", "failed"), &format!("image {id}"), limit)
            .await
    }

    async fn wait(
        &mut self,
        build: &BuildContext,
        action: &str,
        form: Form,
        (name, good, bad): (&str, &str, &str),
        what: &str,
        limit: Duration,
    ) -> Result<(), StepError> {
        let _told = build.waiting(what, Some(limit));
        let until = Instant::now() + limit;
        let (mut pause, longest) = PACE;
        loop {
            // What has just been made may not be known everywhere yet.
            let state = match self.ask(action, form.clone(), true).await {
                Ok(answer) => element(&answer, name).unwrap_or_default(),
                Err(error) if error.to_string().contains(".NotFound") => "not found".to_owned(),
                Err(error) => return Err(error),
            };
            if state == good {
                return Ok(());
            }
            if state == bad {
                return Err(StepError::new(format!("AWS says that the {what} has failed")));
            }
            if Instant::now() >= until {
                let words = format!("the {what} is {state:?} after {} minutes, not {good}", limit.as_secs() / 60);
                return Err(StepError::new(words));
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Registers the image; returns its id. Not asked again without knowing: names are given once.
    pub(super) async fn register(&mut self, image: &Image, snapshot: &str) -> Result<String, StepError> {
        let answer = self.ask("RegisterImage", registration(image, snapshot), false).await?;
        element(&answer, "imageId").filter(|id| !id.is_empty()).ok_or_else(|| {
            StepError::new(format!("AWS has registered the image {} and does not say its id", image.name))
        })
    }

    /// Lets others use the image and the snapshot.
    pub(super) async fn share(&mut self, ami: &str, snapshot: &str, image: &Image) -> Result<(), StepError> {
        let permissions = [
            ("UserId", &image.users),
            ("Group", &image.groups),
            ("OrganizationArn", &image.organizations),
            ("OrganizationalUnitArn", &image.units),
        ];
        let mut form: Form = Vec::new();
        for (kind, names) in permissions {
            for name in names {
                form.push((format!("LaunchPermission.Add.{}.{kind}", form.len() + 1), name.clone()));
            }
        }
        if !form.is_empty() {
            form.insert(0, ("ImageId".to_owned(), ami.to_owned()));
            self.ask("ModifyImageAttribute", form, true).await?;
        }
        let mut form: Form = Vec::new();
        for user in &image.snapshot_users {
            form.push((format!("CreateVolumePermission.Add.{}.UserId", form.len() + 1), user.clone()));
        }
        if !form.is_empty() {
            form.insert(0, ("SnapshotId".to_owned(), snapshot.to_owned()));
            form.insert(1, ("Attribute".to_owned(), "createVolumePermission".to_owned()));
            self.ask("ModifySnapshotAttribute", form, true).await?;
        }
        Ok(())
    }

    /// Deregisters an image, when it is there.
    pub(super) async fn deregister(&mut self, ami: &str) -> Result<(), StepError> {
        gone(self.ask("DeregisterImage", vec![("ImageId".to_owned(), ami.to_owned())], true).await)
    }

    /// Removes a snapshot, when it is there.
    pub(super) async fn delete_snapshot(&mut self, id: &str) -> Result<(), StepError> {
        gone(self.ask("DeleteSnapshot", vec![("SnapshotId".to_owned(), id.to_owned())], true).await)
    }
}

fn gone(removed: Result<String, StepError>) -> Result<(), StepError> {
    match removed {
        // `InvalidSnapshot.NotFound`, `InvalidAMIID.NotFound`, and what was deregistered twice.
        Err(error) if [".NotFound", "InvalidAMIID.Unavailable"].iter().any(|code| error.to_string().contains(code)) => {
            Ok(())
        }
        removed => removed.map(drop),
    }
}

/// What of this account is asked for.
fn own(filters: &[(&str, &str)]) -> Form {
    let mut form = vec![("Owner.1".to_owned(), "self".to_owned())];
    for ((name, value), number) in filters.iter().zip(1..) {
        form.push((format!("Filter.{number}.Name"), (*name).to_owned()));
        form.push((format!("Filter.{number}.Value.1"), (*value).to_owned()));
    }
    form
}

fn registration(image: &Image, snapshot: &str) -> Form {
    let mut form: Form = Vec::new();
    let mut add = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
    add("Name", &image.name);
    if let Some(description) = &image.description {
        add("Description", description);
    }
    add("Architecture", &image.architecture);
    add("RootDeviceName", &image.root_device);
    add("VirtualizationType", "hvm");
    add("BootMode", &image.boot_mode);
    add("EnaSupport", if image.ena { "true" } else { "false" });
    if let Some(imds) = &image.imds {
        add("ImdsSupport", imds);
    }
    if let Some(tpm) = &image.tpm {
        add("TpmSupport", tpm);
    }
    let device = "BlockDeviceMapping.1";
    add(&format!("{device}.DeviceName"), &image.root_device);
    add(&format!("{device}.Ebs.SnapshotId"), snapshot);
    add(&format!("{device}.Ebs.VolumeSize"), &image.root_size.to_string());
    add(&format!("{device}.Ebs.VolumeType"), &image.volume_type);
    add(&format!("{device}.Ebs.DeleteOnTermination"), "true");
    if !image.tags.is_empty() {
        add("TagSpecification.1.ResourceType", "image");
        for ((key, value), number) in image.tags.iter().zip(1..) {
            add(&format!("TagSpecification.1.Tag.{number}.Key"), key);
            add(&format!("TagSpecification.1.Tag.{number}.Value"), value);
        }
    }
    form
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_registered_with_all_that_it_has() {
        let image = Image {
            name: "web 1".to_owned(),
            description: Some("d".to_owned()),
            architecture: "arm64".to_owned(),
            boot_mode: "uefi".to_owned(),
            root_device: "/dev/xvda".to_owned(),
            volume_size: 3,
            root_size: 8,
            volume_type: "gp3".to_owned(),
            ena: true,
            imds: Some("v2.0".to_owned()),
            tpm: Some("v2.0".to_owned()),
            tags: vec![("Name".to_owned(), "a&b".to_owned())],
            ..Image::default()
        };
        let form = registration(&image, "snap-1");
        let value = |name: &str| form.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        for (name, expected) in [
            ("Name", "web 1"),
            ("Description", "d"),
            ("Architecture", "arm64"),
            ("BootMode", "uefi"),
            ("EnaSupport", "true"),
            ("ImdsSupport", "v2.0"),
            ("TpmSupport", "v2.0"),
            ("RootDeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", "snap-1"),
            ("BlockDeviceMapping.1.Ebs.VolumeSize", "8"),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
            ("TagSpecification.1.Tag.1.Value", "a&b"),
        ] {
            assert_eq!(value(name), Some(expected), "{name}");
        }
        assert_eq!(encoded("a&b c/é"), "a%26b%20c%2F%C3%A9");
    }
}
