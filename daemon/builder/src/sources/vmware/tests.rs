//! The end of a build for VMware on files alone: nothing is lost by a failure, and nothing is left by a build that fails.

use std::path::Path;

use super::{disks, finish, machine, places};
use crate::export::GuestDisk;
use crate::plan::{SourcePlan, VmwarePlan};
use crate::plan_tests::component::{Body, running, source};
use crate::steps::output_directory;
use crate::steps::output_directory::tests::Job;

/// The plan of a source of `kind` with these options, as HCL, beside those that it needs.
fn plan(kind: &str, out: &Path, options: &[(&'static str, &str)]) -> VmwarePlan {
    let definition = running().find(|definition| definition.schema.kind == kind).unwrap();
    let mut body = Body::from([
        ("vm_name", "\"guest\"".to_owned()),
        ("output_directory", format!("{:?}", out.display().to_string())),
        ("ssh_username", "\"u\"".to_owned()),
    ]);
    body.extend(options.iter().map(|(name, value)| (*name, (*value).to_owned())));
    match source(definition, &body) {
        SourcePlan::Vmware(plan) => *plan,
        other => panic!("{other:?}"),
    }
}

/// Writes a machine that is off, as a build has it before it ends.
fn write_machine(plan: &VmwarePlan) {
    let work = places::work(plan);
    std::fs::create_dir(&work).unwrap();
    let vmx =
        "scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"disk.vmdk\"\nmemsize = \"512\"\n";
    std::fs::write(places::work_vmx(plan), vmx).unwrap();
    for name in ["disk.vmdk", "disk-s001.vmdk", "guest.vmsd", "vmware.log"] {
        std::fs::write(work.join(name), name).unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_that_fails_loses_no_disk_however_often_it_is_tried() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    // There is no such program, or it knows no such machine.
    let plan = plan("vmware-iso", &out, &[("skip_compaction", "true"), ("snapshot_name", "\"done\"")]);
    let context = job.context(false);
    let held = output_directory::prepare(&out, &[], &context).await.unwrap();
    write_machine(&plan);
    for _ in 0..3 {
        finish::finish(&plan, &held.directory, &context).await.unwrap_err();
        for name in ["disk.vmdk", "disk-s001.vmdk"] {
            assert_eq!(std::fs::read_to_string(places::work(&plan).join(name)).unwrap(), name);
        }
    }
}

#[tokio::test]
async fn what_has_been_moved_goes_with_a_build_that_fails_after_it() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let plan = plan("vmware-iso", &out, &[("skip_compaction", "true")]);
    let context = job.context(false);
    let held = output_directory::prepare(&out, &[], &context).await.unwrap();
    write_machine(&plan);
    // As a snapshot leaves it, with a directory of its own.
    std::fs::create_dir_all(places::finished(&plan).join("guest-snapshot-1")).unwrap();
    for name in ["guest.vmx", "disk.vmdk", "disk-s001.vmdk", "guest-snapshot-1/disk.vmdk"] {
        std::fs::write(places::finished(&plan).join(name), name).unwrap();
    }
    finish::finish(&plan, &held.directory, &context).await.unwrap();
    assert!(out.join("guest-snapshot-1/disk.vmdk").is_file() && out.join("disk-s001.vmdk").is_file());
    context.clean_up(None).await;
    assert!(!out.exists(), "{:?}", std::fs::read_dir(&out).map(|entries| entries.flatten().collect::<Vec<_>>()));
}

#[test]
fn a_disk_that_is_taken_out_at_the_end_is_not_exported() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let plan = plan("vmware-iso", &out, &[("vmx_data_post", "{ \"scsi0:1.present\" = \"FALSE\" }")]);
    write_machine(&plan);
    let vmx = std::fs::read_to_string(places::work_vmx(&plan)).unwrap();
    let second = "scsi0:1.present = \"TRUE\"\nscsi0:1.fileName = \"disk-1.vmdk\"\n";
    std::fs::write(places::work_vmx(&plan), vmx + second).unwrap();
    let names = |disks: Vec<GuestDisk>| {
        disks.into_iter().map(|disk| disk.path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(disks::readable(&plan)), ["disk.vmdk", "disk-1.vmdk"]);
    assert_eq!(names(disks::exported(&plan)), ["disk.vmdk"]);
    assert_eq!(machine::describe(&plan).disks.len(), 1);
}
