//! qemu-img's flags.

use super::parse;
use crate::arguments::{Command, ImageCommand};

fn refusal(line: &str) -> Option<String> {
    let Command::Convert(convert) = parse(line).unwrap() else { panic!("{line}") };
    convert.qemu.refuse().err().map(|error| {
        let mut text = Vec::new();
        error.print(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    })
}

#[test]
fn what_makes_no_difference_is_taken() {
    let line = "convert -p -q -U -W -C -m 16 -t none -T directsync -S 4k -l snapshot.name=a -f qcow2 -O raw a b";
    assert_eq!(refusal(line), None);
    let Command::Convert(convert) = parse(line).unwrap() else { panic!("{line}") };
    assert!(convert.snapshot.as_deref() == Some("a") && !convert.qemu.is_unsafe());
    let Command::Convert(convert) = parse("convert -t unsafe -l 3 a b").unwrap() else { panic!("{line}") };
    assert!(convert.snapshot.as_deref() == Some("3") && convert.qemu.is_unsafe());
    let line = "image map -s 1M -l 64k -U --output=json a";
    let Command::Image(ImageCommand::Map { start_offset, max_length, .. }) = parse(line).unwrap() else {
        panic!("{line}")
    };
    assert_eq!((start_offset, max_length), (1 << 20, Some(65536)));
    assert!(matches!(parse("image compare -s -p -q -T none -U a b").unwrap(), Command::Image(_)));
}

#[test]
fn what_would_be_something_else_is_refused_with_a_way() {
    for (flag, way) in [
        ("-n", "--force"),
        ("-n --target-is-zero", "dd of="),
        ("-S 0", "fallocate"),
        ("-r 10M", "pv -L"),
        ("--salvage", "ddrescue"),
        ("--bitmaps", "qemu-img"),
        ("--image-opts", "-f FORMAT"),
        ("--object secret,id=a", "decrypt"),
        ("-B base", "qemu-img create"),
    ] {
        let text = refusal(&format!("convert {flag} a b")).unwrap();
        assert!(text.contains("hint: ") && text.contains(way), "{flag}: {text}");
    }
    let Command::Image(ImageCommand::Check { repair, .. }) = parse("image check -r all a").unwrap() else { panic!() };
    assert!(repair.refuse().is_err());
}
