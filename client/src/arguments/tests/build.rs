//! Packer's flags.

use kiln_protocol::OnError;

use super::parse;
use crate::arguments::{BuildArguments, Command};

fn build(line: &str) -> Result<BuildArguments, String> {
    match parse(line)? {
        Command::Build(arguments) => Ok(arguments),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn every_flag_of_packer_is_taken() {
    let arguments = build(
        "build -color=false -debug -except=a,b -only c -only=d -force=t -on-error=run-cleanup-provisioner -parallel-builds=-3 \
         -timestamp-ui -var a=b=c -var=d= -var-file=x.hcl -var-file y.json -warn-on-undeclared-var=true -use-sequential-evaluation \
         -ignore-prerelease-plugins -skip-enforcement -config-type=hcl2 t.pkr.hcl",
    )
    .unwrap();
    assert_eq!(arguments.color, Some(false));
    assert!(arguments.debug && arguments.force && arguments.timestamp_ui && arguments.warn_on_undeclared_var);
    assert_eq!(arguments.template_flags.except, ["a", "b"]);
    assert_eq!(arguments.template_flags.only, ["c", "d"]);
    assert_eq!(arguments.on_error, OnError::RunCleanupProvisioner);
    assert_eq!(arguments.parallel_builds, -3);
    let variables: Vec<_> = arguments.template_flags.var.iter().map(|set| (&*set.0.name, &*set.0.value)).collect();
    assert_eq!(variables, [("a", "b=c"), ("d", "")]);
    assert_eq!(arguments.template_flags.var_file.len(), 2);
}

#[test]
fn mistakes_are_named() {
    assert!(build("build -var ab t").unwrap_err().contains("No '=' value in arg: ab"));
    assert!(build("build -force=maybe t").unwrap_err().contains("neither true nor false"));
    assert!(build("build -on-error=panic t").unwrap_err().contains("one of cleanup"));
    assert!(build("build -forse t").unwrap_err().contains("--forse"));
    assert!(build("build").is_err() && build("build a b").is_err());
}

#[test]
fn values_of_variables_stay_out_of_debug_output() {
    let arguments = build("build -var password=hunter2 t").unwrap();
    assert!(!format!("{arguments:?}").contains("hunter2"));
}
