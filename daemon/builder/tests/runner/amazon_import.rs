//! amazon-import: against a service that stands in for AWS and holds every checksum, and against moto, whose snapshot is read back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_builder::{Fault, Sweep, sweep};
use kiln_disk_formats::{
    ConvertOptions, NoProgress, OpenPolicy, Output, OutputKind, Qcow2Options, VmdkOptions, convert, open,
};

use super::aws_service::{AwsService, BLOCK};
use super::world::World;

/// A template whose artifact is the file `disk`, imported with `options`.
pub(super) fn template(world: &World, disk: &str, options: &str) -> String {
    let root = world.path("").display().to_string();
    format!(
        "source \"file\" \"note\" {{\n content = \"abc\"\n target = \"{root}files/note.txt\"\n}}\nbuild {{\n sources = [\"file.note\"]\n \
         post-processors {{\n post-processor \"artifice\" {{\n files = [\"{root}{disk}\"]\n keep_input_artifact = true\n }}\n \
         post-processor \"amazon-import\" {{\n region = \"eu-north-1\"\n{options}\n }}\n }}\n}}\n"
    )
}

pub(super) fn at(url: &str, more: &str) -> String {
    format!(
        "custom_endpoint_ec2 = \"{url}\"\ncustom_endpoint_ebs = \"{url}\"\naccess_key = \"AKIDEXAMPLE\"\nsecret_key = \"the-secret-key\"\n\
         {more}"
    )
}

/// A disk of 40 MiB and a bit with data here and there; what it holds is returned.
pub(super) fn make_disk(world: &World) -> Vec<u8> {
    let mut bytes = vec![0; (40 << 20) + 1536];
    for (at, length) in [(0, 512), (3 * BLOCK - 1, 2), (20 << 20, 3 * BLOCK), (bytes.len() - 700, 700)] {
        for (index, byte) in bytes[at..at + length].iter_mut().enumerate() {
            *byte = u8::try_from((at + index) % 251).unwrap() | 1;
        }
    }
    std::fs::write(world.path("disk.raw"), &bytes).unwrap();
    bytes
}

/// The blocks as a disk again.
fn whole(blocks: &BTreeMap<u64, Vec<u8>>, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length.next_multiple_of(BLOCK)];
    for (index, block) in blocks {
        let at = usize::try_from(*index).unwrap() * BLOCK;
        bytes[at..at + BLOCK].copy_from_slice(block);
    }
    bytes.truncate(length);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_of_any_format_becomes_an_image_with_all_that_the_options_say() {
    let world = World::new();
    let expected = make_disk(&world);
    let source = open(&world.path("disk.raw"), None, &OpenPolicy::deny()).unwrap();
    let kinds = [
        ("disk.qcow2", OutputKind::Qcow2(Qcow2Options::default())),
        ("disk.vmdk", OutputKind::Vmdk(VmdkOptions::default())),
    ];
    let outputs = kinds.map(|(name, kind)| Output::new(world.path(name), kind));
    convert(&*source, &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    for disk in ["disk.raw", "disk.qcow2", "disk.vmdk"] {
        let service = AwsService::start();
        let more = "ami_name = \"web 1\"\nami_description = \"d\"\nami_users = [\"111\", \"222\"]\nami_groups = [\"all\"]\n\
                    ami_org_arns = [\"arn:o\"]\nami_ou_arns = [\"arn:u\"]\nsnapshot_users = [\"333\"]\ntags = { Name = \"a&b\" }\n\
                    boot_mode = \"uefi\"\narchitecture = \"arm64\"\nimds_support = \"v2.0\"\ntpm_support = \"v2.0\"\nvolume_size = 8\n\
                    volume_type = \"gp2\"\nroot_device_name = \"/dev/sda1\"\nena_support = false\ntoken = \"the-session-token\"";
        let outcome = world.run(&template(&world, disk, &at(&service.url, more))).await;
        assert_eq!(outcome.exit_code, 0, "{disk}: {}", world.text());
        assert!(service.completed(), "{disk}");
        let blocks = service.blocks();
        assert!(whole(&blocks, expected.len()) == expected, "{disk}: the snapshot is the disk");
        assert!(blocks.len() < 12, "{disk}: {} blocks", blocks.len());
        let begun = &service.begun()[0];
        assert_eq!((&begun["VolumeSize"], &begun["Tags"][0]["Value"]), (&1.into(), &"a&b".into()));
        let form = &service.forms("RegisterImage")[0];
        for (name, value) in [
            ("Name", "web 1"),
            ("Description", "d"),
            ("Architecture", "arm64"),
            ("BootMode", "uefi"),
            ("EnaSupport", "false"),
            ("ImdsSupport", "v2.0"),
            ("TpmSupport", "v2.0"),
            ("RootDeviceName", "/dev/sda1"),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", "snap-77"),
            ("BlockDeviceMapping.1.Ebs.VolumeSize", "8"),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp2"),
            ("TagSpecification.1.Tag.1.Value", "a&b"),
        ] {
            assert_eq!(form.get(name).map(String::as_str), Some(value), "{name}");
        }
        let shared = &service.forms("ModifyImageAttribute")[0];
        let values: Vec<&str> = shared.values().map(String::as_str).collect();
        for value in ["111", "222", "all", "arn:o", "arn:u", "ami-1234"] {
            assert!(values.contains(&value), "{value}: {shared:?}");
        }
        assert_eq!(service.forms("ModifySnapshotAttribute")[0]["CreateVolumePermission.Add.1.UserId"], "333");
        assert!(service.tokens().iter().all(|token| token.as_deref() == Some("the-session-token")));
        let events = format!("{:?}", world.events.lock().unwrap());
        assert!(!events.contains("the-secret-key") && !events.contains("the-session-token"), "{events}");
        assert!(world.text().contains("Registered ami-1234 in eu-north-1"), "{}", world.text());
        make_disk(&world);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_is_waited_out_and_what_fails_takes_its_snapshot_along() {
    let world = World::new();
    make_disk(&world);
    let keep = "keep_input_artifact = true\n";
    let service = AwsService::start();
    service.fail("PUT /snapshots/snap-77/blocks/", 400, "RequestThrottledException", 5);
    service.fail("POST /snapshots/completion", 503, "ServiceUnavailable", 1);
    // The keys of the profile, in a file of the template's.
    let profile = "[p]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = the-secret-key\n";
    std::fs::write(world.path("credentials"), profile).unwrap();
    let credentials = world.path("credentials");
    let options = format!(
        "custom_endpoint_ec2 = \"{0}\"\ncustom_endpoint_ebs = \"{0}\"\nprofile = \"p\"\nshared_credentials_file = {credentials:?}\n\
         ami_encrypt = true\nami_kms_key = \"arn:k\"\n{keep}",
        service.url
    );
    let outcome = world.run(&template(&world, "disk.raw", &options)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(service.completed() && service.forms("DeleteSnapshot").is_empty());
    let begun = &service.begun()[0];
    assert_eq!((&begun["Encrypted"], &begun["KmsKeyArn"]), (&true.into(), &"arn:k".into()));
    assert!(service.forms("RegisterImage")[0]["Name"].starts_with("kiln-import-note-"));
    assert_eq!(service.forms("RegisterImage")[0]["BootMode"], "legacy-bios");
    for (line, status, code, is_registered) in [
        ("PUT /snapshots/snap-77/blocks/40", 400, "ValidationException", false),
        ("RegisterImage", 400, "InvalidAMIName.Duplicate", false),
        ("ModifyImageAttribute", 403, "UnauthorizedOperation", true),
    ] {
        let service = AwsService::start();
        service.fail(line, status, code, 100);
        let more = format!("{keep}ami_users = [\"1\"]");
        let outcome = world.run(&template(&world, "disk.raw", &at(&service.url, &more))).await;
        assert_eq!(outcome.exit_code, 1, "{line}");
        assert!(world.text().contains(code), "{line}: {}", world.text());
        assert_eq!(service.forms("DeleteSnapshot").len(), 1, "{line}");
        assert_eq!(service.forms("DeregisterImage").len(), usize::from(is_registered), "{line}");
        assert!(world.path("disk.raw").exists());
        assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_imported_is_told() {
    let service = AwsService::start();
    let world = World::new();
    make_disk(&world);
    std::fs::write(world.path("note.txt"), "no disk").unwrap();
    std::fs::File::create(world.path("empty.raw")).unwrap().set_len(1 << 20).unwrap();
    for (disk, options, words) in [
        ("note.txt", at(&service.url, ""), "no disk image to import"),
        ("empty.raw", at(&service.url, ""), "the disk is empty"),
        ("disk.raw", at(&service.url, "tpm_support = \"v9\""), "must be one of v2.0"),
        ("disk.raw", at(&service.url, "ami_name = \"a#b\""), "AWS takes 3 to 128"),
        ("disk.raw", at(&service.url, "ami_encrypt = true\nami_groups = [\"all\"]"), "Nobody else can start it"),
        ("disk.raw", "access_key = \"A\"".to_owned(), "Missing secret_key"),
        ("disk.raw", at(&service.url, "").replace("AKIDEXAMPLE", "SOMEBODY"), "MissingAuthenticationToken"),
    ] {
        let outcome = world.run(&template(&world, disk, &options)).await;
        assert_eq!(outcome.exit_code, 1, "{options}");
        assert!(world.text().contains(words), "{words}: {}", world.text());
    }
    assert!(service.forms("RegisterImage").is_empty());
    let mut world = World::new();
    make_disk(&world);
    world.fault = Some(Fault { step: "post-processor 2 (amazon-import)", cancel: true });
    assert!(world.run(&template(&world, "disk.raw", &at(&service.url, ""))).await.cancelled);
    assert!(world.path("disk.raw").exists());
}

/// moto's server, which `./x test` installs; none (said aloud) where it is not there.
struct Moto(Child, String);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::print_stderr, reason = "the test runner's output is where this belongs")]
fn moto() -> Option<Moto> {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/moto/bin/moto_server");
    let program = std::env::var_os("KILN_MOTO").map_or(made, PathBuf::from);
    if !program.is_file() {
        assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs {}", program.display());
        eprintln!("ignored: needs moto's server ({})", program.display());
        return None;
    }
    // A port that is free now may be another's when moto has started: then another is tried.
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(&program);
        child.args(["-H", "127.0.0.1", "-p", &free.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut moto = Moto(child.spawn().unwrap(), format!("http://127.0.0.1:{free}"));
        while moto.0.try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", free)).is_ok() {
                return Some(moto);
            }
            assert!(Instant::now() < until, "moto does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(Instant::now() < until, "moto ends at once");
    }
}

/// Reads the snapshot of the newest image back through boto3, which moto has brought along, as the disk that it is.
const READ_BACK: &str = "
import boto3, sys
url, size = sys.argv[1], int(sys.argv[2])
arguments = dict(region_name='eu-north-1', endpoint_url=url, aws_access_key_id='AKIDEXAMPLE', aws_secret_access_key='the-secret-key')
ec2, ebs = boto3.client('ec2', **arguments), boto3.client('ebs', **arguments)
image = next(i for i in ec2.describe_images(Owners=['self'])['Images'] if i['Name'] == 'from kiln')
assert image['State'] == 'available', image
snapshots = [s for s in ec2.describe_snapshots(OwnerIds=['self'])['Snapshots'] if s['Description'].startswith('from kiln')]
assert [s['State'] for s in snapshots] == ['completed'], snapshots
disk = bytearray((size + 524287) // 524288 * 524288)
listed = ebs.list_snapshot_blocks(SnapshotId=snapshots[0]['SnapshotId'])
assert not listed.get('NextToken')
for block in listed['Blocks']:
    data = ebs.get_snapshot_block(SnapshotId=snapshots[0]['SnapshotId'], BlockIndex=block['BlockIndex'], BlockToken=block['BlockToken'])
    bytes_ = data['BlockData'].read()
    assert len(bytes_) == 524288
    disk[block['BlockIndex'] * 524288:(block['BlockIndex'] + 1) * 524288] = bytes_
sys.stdout.buffer.write(bytes(disk[:size]))
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_in_moto_has_a_snapshot_that_is_the_disk() {
    let Some(moto) = moto() else { return };
    let world = World::new();
    let expected = make_disk(&world);
    let more = "ami_name = \"from kiln\"\ntags = { Name = \"web\" }\nami_users = [\"123456789012\"]";
    let outcome = world.run(&template(&world, "disk.raw", &at(&moto.1, more))).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let read = boto(READ_BACK, &[&moto.1, &expected.len().to_string()]);
    assert!(read == expected, "what is read back is the disk");
}

/// What a script of boto3's writes, which moto has brought along.
fn boto(script: &str, arguments: &[&str]) -> Vec<u8> {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/moto/bin/moto_server");
    let program = std::env::var_os("KILN_MOTO").map_or(made, PathBuf::from);
    let ran = Command::new(program.with_file_name("python3")).args(["-c", script]).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

/// What an import asks for whose worker dies before it has heard an answer, and then what is there of it.
const LOST: &str = "
import base64, boto3, hashlib, sys
arguments = dict(region_name='eu-north-1', endpoint_url=sys.argv[1], aws_access_key_id='AKIDEXAMPLE', aws_secret_access_key='the-secret-key')
ec2, ebs = boto3.client('ec2', **arguments), boto3.client('ebs', **arguments)
if sys.argv[2] == 'make':
    for description, name in [('lost (imported by Kiln as 1)', 'lost'), ('kept (imported by Kiln as 2)', 'kept')]:
        snapshot = ebs.start_snapshot(VolumeSize=1, Description=description)['SnapshotId']
        device = {'DeviceName': '/dev/xvda', 'Ebs': {'SnapshotId': snapshot}}
        ec2.register_image(Name=name, Architecture='x86_64', RootDeviceName='/dev/xvda', BlockDeviceMappings=[device])
snapshots = [s['Description'] for s in ec2.describe_snapshots(OwnerIds=['self'])['Snapshots'] if 'Kiln' in s['Description']]
images = [i['Name'] for i in ec2.describe_images(Owners=['self'])['Images'] if i['Name'] in ('lost', 'kept')]
if sys.argv[2] == 'id':
    print(ec2.describe_images(Filters=[{'Name': 'name', 'Values': ['lost']}])['Images'][0]['ImageId'], end='')
else:
    print(sorted(snapshots), sorted(images))
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_id_nobody_has_heard_is_found_in_moto_and_goes() {
    let Some(moto) = moto() else { return };
    let text = |mode: &str| String::from_utf8(boto(LOST, &[&moto.1, mode])).unwrap();
    let all = "['kept (imported by Kiln as 2)', 'lost (imported by Kiln as 1)'] ['kept', 'lost']\n";
    assert_eq!(text("make"), all);
    // As a worker leaves it that has died. (moto's images do not say which snapshot they are of, so the image's id is known here.)
    let job = tempfile::tempdir().unwrap();
    let note = job.path().join("remote-1.json");
    let held = serde_json::json!({"held": true, "kind": "remote", "what": "the snapshot of lost", "note": note});
    std::fs::write(job.path().join("resources.ndjson"), format!("{held}\n")).unwrap();
    let account = serde_json::json!({
        "keys": {"id": "AKIDEXAMPLE", "secret": "the-secret-key", "token": null}, "region": "eu-north-1",
    });
    let left = serde_json::json!({
        "service": "aws", "account": account, "ec2": moto.1, "ebs": moto.1, "insecure": false, "tries": 1,
        "description": "lost (imported by Kiln as 1)", "snapshot": null, "image": {"name": "lost", "id": text("id")},
    });
    std::fs::write(&note, left.to_string()).unwrap();
    let swept = sweep(job.path()).unwrap();
    assert_eq!((swept.removed.len(), swept.failed), (1, Vec::<String>::new()));
    assert_eq!(text("look"), "['kept (imported by Kiln as 2)'] ['kept']\n");
    assert!(!note.exists());
}
