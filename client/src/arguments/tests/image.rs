//! Work on images.

use super::parse;
use crate::arguments::{Command, ImageCommand};

#[test]
fn qemu_imgs_flags_are_taken() {
    let line = "convert -p -W -U -c -f raw a.raw -O qcow2 -o cluster_size=64k,compression_type=zstd -o x=a=b -";
    let Command::Convert(convert) = parse(line).unwrap() else { panic!("{line}") };
    assert_eq!(convert.source.format.as_deref(), Some("raw"));
    assert_eq!(convert.output_format, ["qcow2"]);
    let options: Vec<_> = convert.options.iter().flat_map(|options| &options.0).collect();
    assert_eq!((&*options[1].name, &*options[1].value), ("compression_type", "zstd"));
    assert_eq!((&*options[2].name, &*options[2].value), ("x", "a=b"));
    assert!(convert.compress && convert.paths == ["a.raw", "-"]);
    let line = "convert -f raw -o subformat=fixed,force_size -O vpc a.raw a.vhd";
    let Command::Convert(convert) = parse(line).unwrap() else { panic!("{line}") };
    let options = &convert.options[0].0;
    assert_eq!((&*options[1].name, &*options[1].value), ("force_size", "on"));
    let line = "image info --output=json --backing-chain -U -f qcow2 a";
    assert!(matches!(parse(line).unwrap(), Command::Image(ImageCommand::Info { output, .. }) if output.json()));
    let line = "image check -U -q -f qcow2 --output json a";
    assert!(matches!(parse(line).unwrap(), Command::Image(ImageCommand::Check { quiet: true, .. })));
    let line = "image compare -f raw -F qcow2 -s -p a b";
    assert!(matches!(parse(line).unwrap(), Command::Image(ImageCommand::Compare { strict: true, .. })));
}

#[test]
fn machines_are_described_in_words() {
    let line = "convert a.raw --disk b.raw --cpus 2 --memory 2G --nic virtio:lan --nic e1000 --hwversion 19 --secure-boot m.ova";
    let Command::Convert(convert) = parse(line).unwrap() else { panic!("{line}") };
    assert_eq!((convert.machine.cpus, convert.machine.memory), (Some(2), Some(2048)));
    assert_eq!(convert.machine.nic, ["virtio:lan", "e1000"]);
    assert_eq!((convert.disk, convert.paths), (vec!["b.raw".to_owned()], vec!["a.raw".to_owned(), "m.ova".to_owned()]));
    assert!(convert.machine.secure_boot && convert.machine.hardware_version == Some(19));
}

#[test]
fn mistakes_are_named() {
    assert!(parse("convert").unwrap_err().contains("<path>"));
    assert!(parse("convert -o =fixed a b").unwrap_err().contains("is not key=value"));
    for (option, way) in [
        ("b.qcow2", "outputs are named without a flag, behind the image to read"),
        ("/tmp/b", "outputs are named without a flag, behind the image to read"),
        ("qcow2", "`-O qcow2` names the format of the outputs"),
        ("VMDK", "`-O VMDK` names the format of the outputs"),
        ("subformat", "`-o subformat=VALUE` sets an option"),
        ("out.vmdk:subformat", "`-o out.vmdk:subformat=VALUE` sets an option"),
        ("subformat=fixed,quick", "`-o quick=VALUE` sets an option"),
    ] {
        let error = parse(&format!("convert -o {option} a b")).unwrap_err();
        let part = option.rsplit(',').next().unwrap();
        assert!(error.contains(&format!("`{part}` is not key=value; {way}")), "{option}: {error}");
    }
    let Command::Convert(convert) = parse("convert -o a.vhd:force_size a.raw a.vhd").unwrap() else { panic!() };
    assert_eq!((&*convert.options[0].0[0].name, &*convert.options[0].0[0].value), ("a.vhd:force_size", "on"));
    assert!(parse("convert --memory lots a b").unwrap_err().contains("such as `2G`"));
    assert!(parse("convert --threads 0 a b").is_err());
    assert!(parse("image compare a").is_err());
}
